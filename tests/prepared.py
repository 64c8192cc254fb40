"""Caches of the tiny manifest: made here, or by a process of its own."""

import json

from safetensors.torch import load_file

from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig
from aid.data.cache import Cache
from aid.data.manifest import read_manifest
from aid.prepare import prepare

GREY = ConditionConfig()

SCRIPT = """
import os, signal, sys
from pathlib import Path
from aid.cli import main
from aid.data import store as store_module
from aid.prepare import cache_folder as cache_folder_module, run as run_module

cache_folder_module.SHARD = run_module.SHARD = 2
data, out, backbone = sys.argv[1:4]

def arguments():
    return ["prepare", "--data", data, "--out", out, "--backbone", backbone,
            "--model.num_frames", "3"]

def make(*more):
    code = main([*arguments(), *more])
    if code:
        sys.exit(code)

"""
"""What a process of its own runs to prepare the tiny manifest, two videos a shard."""


def make(data, out, backbone, condition=GREY, num_frames=3, states=None, **options):
    states = states or choose_state_writer("replay", read_manifest(data))
    prepare(
        data, out, backbone, condition=condition, num_frames=num_frames, states=states, **options
    )
    return Cache(out)


def shards(folder, kind):
    """The tensors of a kind of shards, in order."""
    listed = json.loads((folder / "cache.json").read_text())[kind]
    return [load_file(folder / name) for name, _ in listed]


def contents(folder):
    """Every byte of a cache."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
