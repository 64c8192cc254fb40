import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import parabola
import pytest
from PIL import Image

from aid.optim.report import Run, smoothed, write_report


@pytest.fixture
def folder(tmp_path):
    """A real run in two pieces, with the values of AID's checks and two sheets."""
    record = {"train": {"steps": 40}, "model": {"adapter": {"ratio": 0.25}}, "trained": {"a": 26}}

    def check(step):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"sheet-{step:06d}.png")
        return {
            "motion_ratio": 0.4, "alarm": "the videos have almost stopped moving",
            "true_0.5": 1 / step, "true_12": 2 / step, "swap_gap_0.5": 0.01, "up_norm_spatial": 1.0,
        }  # fmt: skip

    config = replace(parabola.CONFIG, steps=20, check_every=10)
    options = {"on_check": check, "group_of": lambda name: f"<{name[0]}>", "record": record}
    parabola.run(tmp_path, config=config, **options)
    config = replace(config, steps=40, schedule="constant")
    parabola.run(tmp_path, config=config, **options)
    return tmp_path


def test_the_page_holds_everything_and_asks_for_nothing(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page), "nothing is fetched"
    assert "<script" not in page
    for words in ("40 of 40", "in 2 pieces", "model.adapter.ratio", "motion ratio 0.4"):
        assert words in page
    assert page.count("data:image/png;base64,") == 4
    assert "<0>" not in page, "names are escaped"
    titles = re.findall(r"<h3>(.*?)</h3>", page)
    assert titles[:2] == ["Loss", "Held-out loss by noise level"]
    assert len(titles) == 9
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)


def test_a_run_in_pieces_is_one_curve_without_a_seam(folder):
    steps, losses = Run.read(folder).points("loss")
    assert steps == list(range(1, 41))
    assert len(losses) == 40


def test_a_run_that_has_only_begun_has_a_page_too(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    page = write_report(tmp_path, tmp_path / "page.html").read_text()
    assert "last loss" in page
    assert page.count("<figure>") == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"it has no log\.jsonl"):
        write_report(tmp_path)


def test_smoothing_looks_back_only():
    assert smoothed([1.0, 3.0, 5.0, 7.0], share=0.5) == [1, 2, 4, 6]
    assert json.dumps(smoothed([])) == "[]"
