"""A tiny model that predicts, and a frame for it."""

from dataclasses import replace

import numpy as np
import pytest
from checkpoints import write_tiny_model

from aid.config import ConditionConfig
from aid.predict import Predictor


@pytest.fixture(scope="module")
def folder(tiny_backbone, tiny_config, tmp_path_factory):
    """A checkpoint that is told each video's own frames a second; do not write into it."""
    config = replace(tiny_config, condition=ConditionConfig(fps=None))
    return write_tiny_model(tmp_path_factory.mktemp("model") / "aid", tiny_backbone, config)


@pytest.fixture(scope="module")
def predictor(folder, tiny_backbone):
    return Predictor.from_pretrained(folder, tiny_backbone, "cpu")


@pytest.fixture(scope="module")
def frame():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def two_folder(tiny_backbone, tiny_config, tmp_path_factory):
    """A checkpoint of two given frames at 4 frames a second; do not write into it."""
    config = replace(tiny_config, condition=ConditionConfig(num_given_frames=2, fps=None))
    folder = tmp_path_factory.mktemp("two") / "aid"
    return write_tiny_model(folder, tiny_backbone, config, state_writer="none")


@pytest.fixture(scope="module")
def two(two_folder, tiny_backbone):
    return Predictor.from_pretrained(two_folder, tiny_backbone, "cpu")
