"""Which extractor a command takes, from the data and the backbone at hand."""

import csv
import json

import pytest
import torch
from videos import moving_square

import aid.cli
from aid.cli.extracting import extractor_for
from aid.models.backbone import load_backbone
from aid.tabletop.entry import TABLETOP
from aid.tabletop.r3d import TabletopR3D
from aid.video import write_mp4


def test_the_table_tops_extractor_is_for_the_table_top_and_else_it_is_the_backbones(tiny_backbone):
    assert isinstance(extractor_for(None, None, world=TABLETOP, device="cpu"), TabletopR3D)
    assert extractor_for(None, None, device="cpu") is None
    found = extractor_for(None, None, backbone=tiny_backbone, device="cpu")
    assert found.name == f"clip-frames ({tiny_backbone.name})" and found.num_blocks == 3
    shipped = extractor_for(None, None, backbone="tabletop", device="cpu")
    assert shipped.name == "clip-frames (tabletop)"
    on_tabletop = extractor_for(None, None, world=TABLETOP, backbone=tiny_backbone, device="cpu")
    assert isinstance(on_tabletop, TabletopR3D)


def test_the_image_encoder_computes_in_the_precision_that_is_asked_for(tiny_backbone, generator):
    frames = torch.rand(2, 3, 3, 32, 32, generator=generator) * 2 - 1
    found = {}
    for precision in ("float32", "bfloat16"):
        one = extractor_for(
            "clip-frames", None, backbone=tiny_backbone, device="cpu", precision=precision
        )
        frames = torch.rand(2, 3, 3, one.side, one.side, generator=generator.manual_seed(0)) * 2 - 1
        found[precision] = one.features(frames)
        assert found[precision].shape == (2, one.dim) and found[precision].dtype == torch.float32
        assert one.hash.endswith(precision)
    assert not torch.equal(found["float32"], found["bfloat16"])
    assert torch.allclose(found["float32"], found["bfloat16"], atol=0.05)


def test_a_device_or_backbone_that_is_not_there_is_refused(tmp_path, tiny_backbone):
    with pytest.raises(ValueError, match="device 'cuda:7' is not on this machine"):
        extractor_for(None, None, backbone=tiny_backbone, device="cuda:7")
    with pytest.raises(ValueError, match="is not a backbone"):
        extractor_for(None, None, backbone=tmp_path, device="cpu")
    width = load_backbone(tiny_backbone, ("image_encoder",)).part("image_encoder").config
    assert extractor_for(None, None, backbone=tiny_backbone).width == width.projection_dim


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["video", "instruction"])
        for number in range(6):
            pixels = moving_square(6, start=4 + 5 * number, step=2)
            write_mp4(folder / f"{number}.mp4", pixels, 6.0, lossless=True)
            lines.writerow([f"{number}.mp4", f"go {number}"])
    return folder


def test_evaluate_takes_the_backbones_image_encoder_for_data_that_is_not_the_table_tops(
    data, tiny_backbone, tmp_path, capsys
):
    given = ["evaluate", "--data", str(data), "--predictor", "none"]
    with_backbone = ["--backbone", str(tiny_backbone), "--out", str(tmp_path / "a")]
    assert aid.cli.main([*given, *with_backbone]) == 0
    told = json.loads((tmp_path / "a/report.json").read_text())["comparison"]
    assert told["extractor"]["extractor"] == f"clip-frames ({tiny_backbone.name})"
    text = (tmp_path / "a/report.md").read_text()
    first = text.splitlines()[2]  # below the title
    assert first.startswith(f"clip-frames ({tiny_backbone.name}) was not tested on this data")
    assert text.count("was not tested on this data") == 1
    assert aid.cli.main([*given, "--out", str(tmp_path / "b")]) == 0
    told = json.loads((tmp_path / "b/report.json").read_text())["comparison"]
    assert told["extractor"] == {} and "no extractor was chosen" in told["not_run"]["distances"]
