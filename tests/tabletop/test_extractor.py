import json
import shutil
from dataclasses import replace

import pytest
import torch

from aid.config import LoopConfig
from aid.data.manifest import read_manifest, write_manifest
from aid.tabletop.extractor import train_extractor
from aid.tabletop.r3d import CLASSES, TabletopR3D, task_labels
from aid.types import VideoRow
from aid.video import read_video, to_float

LOOP = LoopConfig(
    steps=2, batch_size=2, learning_rate=1e-3, warmup_steps=1, log_every=1, check_every=2,
    save_every=1,
)  # fmt: skip


@pytest.fixture
def split(tiny_manifest, tmp_path):
    """The tiny videos with a task, as `aid tabletop` notes it; the last one failed."""
    task = {"family": "push", "object": "red ball", "target": None, "direction": "left"}
    rows = read_manifest(tiny_manifest)
    rows = [
        replace(row, world={"task": task, "success": number < len(rows) - 1})
        for number, row in enumerate(rows)
    ]
    shutil.copytree(tiny_manifest / "videos", tmp_path / "videos")
    write_manifest(tmp_path, rows)
    return tmp_path


def test_a_task_has_a_class_for_every_question():
    task = {"family": "put", "object": "red ball", "target": "blue box", "direction": None}
    row = VideoRow(
        id="a", video="a.mp4", instruction="", num_frames=2, fps=1.0, height=8, width=8,
        world={"task": task},
    )  # fmt: skip
    said = {question: CLASSES[question][at] for question, at in task_labels(row).items()}
    assert said == {
        "family": "put", "object_colour": "red", "object_shape": "ball", "target_colour": "blue",
        "target_shape": "box", "direction": "none",
    }  # fmt: skip


def test_training_writes_a_small_extractor_that_loads_again(split, tmp_path):
    accuracy = train_extractor(split, split, tmp_path / "r3d", LOOP)
    assert accuracy.keys() == CLASSES.keys() and all(0 <= a <= 1 for a in accuracy.values())
    told = json.loads((tmp_path / "r3d/config.json").read_text())
    assert told["videos"] == 5 and told["steps"] == 2 and told["accuracy"] == accuracy
    assert (tmp_path / "r3d/r3d.safetensors").stat().st_size < 2_000_000
    extractor = TabletopR3D(tmp_path / "r3d")
    frames = torch.rand(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = extractor.features(frames)
    assert features.shape == (2, extractor.dim) and features.dtype == torch.float32
    torch.testing.assert_close(extractor.features(frames[:1]), features[:1])
    # Features of real videos, here all of them, are about 1 in size.
    seen = [to_float(read_video(path))[1:] for path in (split / "videos").iterdir()]
    assert extractor.features(torch.stack(seen)).square().mean() == pytest.approx(1, rel=0.1)
    assert not torch.allclose(extractor.features(frames.flip(1)), features)
    with pytest.raises(ValueError, match=r"batch_size = 2, this run has 3"):
        train_extractor(split, split, tmp_path / "r3d", replace(LOOP, batch_size=3))
