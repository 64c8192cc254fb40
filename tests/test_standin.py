"""The whole path on a stand-in for an accelerator: every tensor is where it is used.

A process of its own takes it (`standin_path.py`), because the device changes torch for good.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import differ, write_tiny_model
from PIL import Image
from safetensors.numpy import load_file as numpy_file
from safetensors.torch import load_file
from standin_path import RECIPE, SAID, STAGES, STATES

from aid.ablate.methods import RIVALS
from aid.cli import main
from aid.config import LoraConfig
from aid.predict import Predictor


@pytest.fixture(scope="module")
def walked(tmp_path_factory, tiny_manifest, tiny_backbone, tiny_config):
    """The folder of the walk, its model, and what every stage said."""
    room = tmp_path_factory.mktemp("standin")
    config = replace(tiny_config, lora=LoraConfig(rank=2))
    model = write_tiny_model(room / "model", tiny_backbone, config, state_writer="none")
    script = Path(__file__).with_name("standin_path.py")
    done = subprocess.run(
        [sys.executable, script, *map(str, (room, tiny_manifest, tiny_backbone, model))],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    lines = (line for line in done.stdout.splitlines() if line.startswith("STAGE "))
    told = {
        one["stage"]: one for one in (json.loads(line.removeprefix("STAGE ")) for line in lines)
    }
    assert tuple(told) == STAGES
    return room, model, told, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_runs_on_the_device(walked, stage):
    _, _, told, log = walked
    assert told[stage]["error"] is None, f"{told[stage]['error']}\n{log[-6000:]}"


def test_the_device_refuses_what_an_accelerator_refuses(walked):
    told = walked[2]["device"]
    assert told["taken"] == []
    assert told["gradient"] == "standin:0"
    assert told["back"] == [[1.0] * 3] * 2
    assert told["shapes"] == [[4], [2, 2]]


def test_a_cache_of_the_device_is_that_of_the_cpu(walked, tiny_manifest, tiny_backbone, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    flags = ["--config", recipe, "--data", tiny_manifest, "--backbone", tiny_backbone]
    flags += ["--out", tmp_path / "cache", "--device", "cpu"]
    assert main(["prepare", *map(str, flags)]) == 0
    files = sorted(path.name for path in (tmp_path / "cache").rglob("*.safetensors"))
    assert files
    for name in files:
        (own,) = (tmp_path / "cache").rglob(name)
        (theirs,) = (walked[0] / "cache").rglob(name)
        ours = load_file(own)
        for key, tensor in load_file(theirs).items():
            torch.testing.assert_close(tensor, ours[key], atol=1e-3, rtol=1e-3)


def test_accelerate_trains_on_the_device(walked):
    told = walked[2]["train"]
    assert told["device"].startswith("standin")
    assert len(told["losses"]) == 2
    assert told["sheet"], "the checks were drawn there, too"


@pytest.mark.parametrize("stage", ["pipeline", "studio"])
def test_videos_of_the_device_are_those_of_the_cpu(walked, stage, tiny_backbone):
    room, model, told, _ = walked
    if stage == "pipeline":
        assert told["pipeline"]["trained"] == ["standin"]
    frame = np.asarray(Image.open(room / "frame.png"))
    predictor = Predictor.from_pretrained(model, tiny_backbone, "cpu")
    expected = predictor(frame, SAID, states=STATES).frames
    assert differ(numpy_file(room / f"{stage}.safetensors")["video"], expected) <= 1


def test_rivals_are_trained_and_drawn_on_the_device(walked):
    drawn = walked[2]["rivals"]["drawn"]
    assert set(drawn) == set(RIVALS)
    assert all(device == "standin:0" and shape[0] == 1 for device, *shape in drawn.values())


def test_a_backbone_is_pretrained_on_the_device(walked):
    assert {"vae", "unet", "text_encoder", "image_encoder"} < set(walked[2]["pretrain"]["parts"])


@pytest.mark.parametrize("stage", ["predict", "evaluate", "score", "compare"])
def test_commands_on_the_device_write_their_files(walked, stage):
    assert walked[2][stage]["is_there"]
