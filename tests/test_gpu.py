"""The whole path on a real GPU in both half precisions; test_standin.py takes it without one."""

import json
import math

import numpy as np
import pytest
import torch
from checkpoints import differ, write_tiny_model
from PIL import Image
from safetensors.torch import load_file
from standin_path import RECIPE, SAID, STATES

from aid.cli import main
from aid.models.backbone import load_backbone
from aid.optim.state import read_values
from aid.predict import Predictor
from aid.video import read_video

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="needs a GPU that PyTorch's CUDA can use"
    ),
]


def aid(*arguments):
    assert main([*map(str, arguments)]) == 0


def train_on(device, precision, room, data, backbone):
    """Prepares and trains there; returns the run's losses and folder."""
    room.mkdir()
    recipe, cache, run = room / "recipe.yaml", room / "cache", room / "run"
    recipe.write_text(RECIPE)
    there = ["--backbone", backbone, "--device", device, "--precision", precision]
    aid("prepare", "--config", recipe, "--data", data, "--out", cache, *there)
    aid("train", "--config", recipe, "--cache", cache, "--held_out", cache, "--out", run, *there)
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line], run


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_videos_become_a_model_and_its_score_on_a_gpu(
    precision, tiny_manifest, tiny_backbone, tmp_path
):
    losses, run = train_on("cuda", precision, tmp_path / "gpu", tiny_manifest, tiny_backbone)
    expected, _ = train_on("cpu", "float32", tmp_path / "cpu", tiny_manifest, tiny_backbone)
    assert losses == pytest.approx(expected, rel=0.1)
    assert json.loads((run / "run.json").read_text())["device"].startswith("cuda")
    saved = load_file(run / "state/trainer.safetensors")
    assert {t.dtype for t in saved.values() if t.is_floating_point()} == {torch.float32}
    scaler = read_values(run / "state").get("scaler")
    assert (scaler is not None) == (precision == "float16")
    assert scaler is None or (math.isfinite(scaler["scale"]) and scaler["scale"] > 1)
    frame = tmp_path / "frame.png"
    Image.fromarray(read_video(tiny_manifest / "videos/0.mp4")[0]).save(frame)
    there = ["--backbone", tiny_backbone, "--device", "cuda", "--precision", precision]
    there += ["--model", run / "checkpoint"]
    said = ["--states", json.dumps(STATES), "--out", tmp_path / "predicted.mp4"]
    aid("predict", frame, SAID, *said, *there)
    assert len(read_video(tmp_path / "predicted.mp4")) == 3
    aid("predict", frame, SAID, *said, *there, "--offload")
    aid(
        "evaluate", "--data", tiny_manifest, "--limit", 2, "--out", tmp_path / "card",
        "--extractor", "tabletop-r3d", "--states_from", "none", *there,
    )  # fmt: skip
    assert (tmp_path / "card/report.json").is_file()


@pytest.mark.parametrize(
    ("precision", "largest"), [("float32", 2), ("bfloat16", 32), ("float16", 32)]
)
def test_a_prediction_of_the_gpu_is_that_of_the_cpu(
    precision, largest, tiny_backbone, tiny_config, tmp_path
):
    model = write_tiny_model(tmp_path / "model", tiny_backbone, tiny_config, state_writer="none")
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    videos = [
        Predictor.from_pretrained(model, tiny_backbone, device, precision=asked)(
            frame, SAID, states=STATES
        ).frames
        for device, asked in (("cpu", "float32"), ("cuda", precision))
    ]
    assert differ(*videos) <= largest


def test_the_gpu_encodes_what_the_cpu_encodes(tiny_backbone, generator):
    frames = torch.rand(2, 3, 3, 64, 64, generator=generator) * 2 - 1
    cpu, gpu = (load_backbone(tiny_backbone, ("vae",)).to(device) for device in ("cpu", "cuda"))
    torch.testing.assert_close(
        gpu.encode(frames.cuda()).cpu(), cpu.encode(frames), atol=1e-3, rtol=1e-3
    )
