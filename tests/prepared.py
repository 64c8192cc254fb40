"""What a process of its own runs to prepare the tiny manifest, two videos a shard."""

SCRIPT = """
import os, signal, sys
from pathlib import Path
from aid.cli import main
from aid.data import store as store_module
from aid.prepare import claim as claim_module, run as run_module

claim_module.SHARD = run_module.SHARD = 2
data, out, backbone = sys.argv[1:4]

def arguments():
    return ["prepare", "--data", data, "--out", out, "--backbone", backbone,
            "--model.num_frames", "3"]

def make(*more):
    code = main([*arguments(), *more])
    if code:
        sys.exit(code)

"""
