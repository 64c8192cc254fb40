"""benchmarks/disobedience.py: what it says of a video that does not follow its instruction."""

import json
import runpy
import sys
from pathlib import Path
from unittest import mock

import pytest

from aid.data.manifest import write_manifest
from aid.types import VideoRow

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/disobedience.py"))
NAMES = ("red ball", "red can", "blue block", "green bowl")


def row(asked: str) -> VideoRow:
    """A row that asks for lifting one of the items."""
    items = [
        {"name": name, "colour": name.split()[0], "is_container": name.endswith("bowl")}
        for name in NAMES
    ]
    task = {"family": "lift", "direction": None, "object_index": NAMES.index(asked)}
    return VideoRow(
        id="a",
        video="a.mp4",
        instruction=f"lift the {asked}",
        num_frames=16,
        fps=3.0,
        height=64,
        width=64,
        world={"items": items, "task": task},
    )


@pytest.mark.parametrize(("asked", "twins"), [("red ball", ["red can"]), ("blue block", [])])
def test_twins_are_the_other_objects_of_a_colour(asked, twins):
    assert SCRIPT["twins_of"](row(asked)) == twins
    assert SCRIPT["kinds_of"](row(asked)) == [
        "lift",
        SCRIPT["TWIN" if twins else "OWN"],
        f"{asked.split()[0]} object",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shown": "pick up the red can"}, "the same with the other object of that colour"),
        ({"shown": "pick up the blue block"}, "another task"),
        ({"holds": True}, "the named task, but not only that"),
        ({"num_lost": 1}, "no task, an item is lost"),
        ({"bystander_displacement": 0.08}, "no task, another object moves"),
        ({"num_lost": 4, "bystander_displacement": None}, "no task, an item is lost"),
        ({}, "no task"),
    ],
)
def test_the_kind_of_wrong_video_is_named(change, words):
    video = {"shown": None, "holds": False, "num_lost": 0, "bystander_displacement": 0.003}
    assert SCRIPT["shown_instead"](row("red ball"), {**video, **change}) == words


@pytest.mark.parametrize("has_report", [False, True])
def test_a_report_of_other_data_is_refused_in_one_sentence(tmp_path, capsys, has_report):
    write_manifest(tmp_path, [row("red ball")])
    if has_report:
        video = {"set": "the instruction", "id": "forks-000000-0"}
        (tmp_path / "report.json").write_text(json.dumps({"videos": [video]}))
    command = ["disobedience.py", "--report", str(tmp_path), "--data", str(tmp_path)]
    with mock.patch.object(sys, "argv", command), pytest.raises(SystemExit) as ended:
        SCRIPT["main"]()
    said = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert ("has no 'forks-000000-0'" if has_report else "holds no report.json") in said
