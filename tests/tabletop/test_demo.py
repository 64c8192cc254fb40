import json

import numpy as np
import pytest
from checkpoints import write_tiny_model
from PIL import Image

from aid.predict import Predictor
from aid.tabletop.demo import make_demo, titled_sheet
from aid.video import read_video


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    rows = []
    for index, asked in enumerate(
        (["Lift the red ball.", "push the red can to the left"], ["grab the red ball"])
    ):
        pixels = np.random.default_rng(index).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        rows.append({"file": f"{index}.png", "instructions": asked, "scene": 40 + index})
    (folder / "frames.json").write_text(json.dumps({"frames": rows}))
    return folder


@pytest.mark.filterwarnings("ignore:no states", "ignore:.*text encoder reads")
def test_every_instruction_becomes_a_video_and_every_frame_a_sheet(
    frames, tiny_backbone, tiny_config, tmp_path, capsys
):
    write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config)
    predictor = Predictor.from_pretrained(tmp_path / "aid", tiny_backbone, "cpu")
    counted = []
    out = tmp_path / "demo"
    overall = make_demo(
        predictor, out, frames, num_steps=1, on_step=lambda *steps: counted.append(steps)
    )
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert names == [
        "0/lift-the-red-ball.gif", "0/lift-the-red-ball.mp4",
        "0/push-the-red-can-to-the-left.gif", "0/push-the-red-can-to-the-left.mp4",
        "0/sheet.png", "0/side_by_side.gif",
        "1/grab-the-red-ball.gif", "1/grab-the-red-ball.mp4",
        "1/sheet.png", "1/side_by_side.gif",
        "demo.png",
    ]  # fmt: skip
    assert overall == out / "demo.png"
    assert read_video(out / "0/push-the-red-can-to-the-left.mp4").shape == (3, 64, 64, 3)
    assert counted == [(1, 2), (2, 2)]
    printed = capsys.readouterr().out
    assert str(out / "1/grab-the-red-ball.mp4") in printed
    assert "2 videos, " in printed
    assert "understood       'grab the red ball' as pick up the red ball" in printed


def test_a_sheet_has_a_row_for_each_video_and_space_for_its_title():
    videos = [np.zeros((16, 64, 64, 3), np.uint8)] * 3
    one = titled_sheet("title", ["a"], videos[:1], fps=4.0)
    three = titled_sheet("title", ["a", "b", "c"], videos, fps=4.0)
    assert one.width == three.width > 8 * 128
    assert three.height - one.height > 2 * 128
    narrow = titled_sheet("a title that is wide " * 4, ["a"], [videos[0][:2]], fps=4.0)
    assert narrow.width > 2 * 130 + 100
