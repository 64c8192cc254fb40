"""A normal run prints nothing of other libraries: what is on stderr is ours."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from checkpoints import write_tiny_model

PREDICT = """
import sys
import numpy as np
import aid
predictor = aid.Predictor.from_pretrained(sys.argv[1], sys.argv[2], understand=False)
predictor(np.full((64, 64, 3), 120, np.uint8), "push")
"""


@pytest.fixture
def model(tmp_path, tiny_backbone, tiny_config):
    """A tiny model that reads no states."""
    config = replace(tiny_config, dqformer=replace(tiny_config.dqformer, use_states=False))
    return write_tiny_model(tmp_path / "model", tiny_backbone, config)


def stderr_of(*arguments):
    """What Python prints on stderr in a process of its own, which must succeed."""
    environment = {name: value for name, value in os.environ.items() if "VERBOSITY" not in name}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_prediction_in_python_prints_nothing(model, tiny_backbone):
    assert stderr_of("-c", PREDICT, model, tiny_backbone) == ""


def test_the_diffusers_pipeline_and_lora_load_without_notices(model, tiny_backbone):
    code = "import sys, aid, peft; aid.AIDPipeline.from_pretrained(*sys.argv[1:])"
    assert stderr_of("-c", code, model, tiny_backbone) == ""


def test_an_evaluation_prints_nothing_on_stderr(model, tiny_backbone, tiny_manifest, tmp_path):
    arguments = ["--data", tiny_manifest, "--model", model, "--backbone", tiny_backbone]
    card = ["--out", tmp_path / "card", "--num_videos", 2, "--device", "cpu"]
    assert stderr_of("-m", "aid.cli", "evaluate", *arguments, *card) == ""


def test_other_warnings_of_the_same_libraries_stay():
    code = """
import logging, aid
for name in aid.NOTICES:
    logging.getLogger(name).warning("another notice of %s", name)
"""
    assert stderr_of("-c", code).count("another notice") == 2
