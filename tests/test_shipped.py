"""The model that comes with the package: it is there, small, and runs the demo."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from aid import Predictor
from aid.models.backbone import backbone_hash
from aid.models.checkpoint import read_info
from aid.predict import find_model
from aid.tabletop import ASSETS
from aid.tabletop.demo import make_demo
from aid.tabletop.r3d import CLASSES, TabletopR3D

FRAME = ASSETS / "frames" / "scene-1.png"


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_pretrained("tabletop")


def test_model_and_frames_are_at_most_40_megabytes():
    assert 1e6 < sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 40e6


def test_the_checkpoint_names_the_backbone_beside_it():
    checkpoint, backbone = find_model("tabletop")
    assert read_info(checkpoint).backbone_hash == backbone_hash(backbone)


def test_it_predicts_sixteen_frames_that_move_and_depend_on_the_seed(predictor):
    first, second = (
        predictor(FRAME, "nudge the red can to the left", seed=seed, num_steps=2).frames
        for seed in (0, 1)
    )
    assert first.shape == (16, 64, 64, 3)
    assert np.array_equal(first[0], np.asarray(Image.open(FRAME).convert("RGB")))
    assert not np.array_equal(first[0], first[-1])
    assert not np.array_equal(first[1:], second[1:])


def test_the_instruction_changes_the_video(predictor):
    frame = np.asarray(Image.open(FRAME).convert("RGB"))
    instructions = ["nudge the red can to the left", "move the orange ball onto the green plate"]
    sampler = predictor.sampler_with(num_steps=2)
    first, second = predictor.predict_many([frame] * 2, instructions, [0, 0], sampler=sampler)
    assert not np.array_equal(first, second)


def test_the_stock_pipeline_loads_the_shipped_backbone():
    from diffusers import StableVideoDiffusionPipeline

    pipeline = StableVideoDiffusionPipeline.from_pretrained(ASSETS / "backbone")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        Image.open(FRAME), height=64, width=64, num_frames=4, num_inference_steps=2,
        generator=torch.Generator().manual_seed(0), output_type="np",
    ).frames  # fmt: skip
    assert frames.shape == (1, 4, 64, 64, 3)
    assert np.isfinite(frames).all()


def test_the_demo_predicts_videos_of_every_shipped_frame(predictor, tmp_path):
    make_demo(predictor, tmp_path / "demo", None, num_steps=1, seed=0)
    sheets = list((tmp_path / "demo").rglob("*.png"))
    assert len(list((tmp_path / "demo").rglob("*.mp4"))) == 16
    assert len(sheets) >= 5


def test_the_shipped_extractor_is_small_and_classifies_tasks_above_chance():
    folder = ASSETS / "r3d"
    assert (folder / "r3d.safetensors").stat().st_size <= 2e6
    extractor = TabletopR3D()
    frames = torch.rand(2, 15, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = extractor.features(frames)
    assert features.shape == (2, extractor.dim) and features.isfinite().all()
    config = json.loads((folder / "config.json").read_text())
    assert config["held_out"] == "test" != config["data"]
    assert all(config["accuracy"][q] > 1.5 / len(words) for q, words in CLASSES.items())
