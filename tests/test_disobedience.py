"""benchmarks/disobedience.py: what a video that disobeys is said to show."""

import runpy
from pathlib import Path

import pytest

from aid.types import VideoRow

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/disobedience.py"))
NAMES = ("red ball", "red can", "blue block", "green bowl")


def row(asked: str) -> VideoRow:
    """A row that asks for lifting one of the items."""
    items = [
        {"name": name, "colour": name.split()[0], "is_container": name.endswith("bowl")}
        for name in NAMES
    ]
    task = {"family": "lift", "object": asked, "target": None, "direction": None}
    world = {"items": items, "task": {**task, "object_index": NAMES.index(asked)}}
    return VideoRow(
        id="a",
        video="a.mp4",
        instruction=f"lift the {asked}",
        num_frames=16,
        fps=3.0,
        height=64,
        width=64,
        world=world,
    )


@pytest.mark.parametrize(("asked", "twins"), [("red ball", ["red can"]), ("blue block", [])])
def test_twins_are_the_other_objects_of_a_colour(asked, twins):
    assert SCRIPT["twins_of"](row(asked)) == twins
    assert SCRIPT["kinds_of"](row(asked)) == ["lift", SCRIPT["TWIN" if twins else "OWN"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shown": "pick up the red can"}, "the same with the other object of that colour"),
        ({"shown": "pick up the blue block"}, "another task"),
        ({"holds": True}, "what was asked, but not that alone"),
        ({"num_lost": 1}, "no task, an item is lost"),
        ({"bystander_displacement": 0.08}, "no task, another object moves"),
        ({"bystander_displacement": None}, "no task"),
        ({}, "no task"),
    ],
)
def test_what_is_shown_instead(change, words):
    video = {"shown": None, "holds": False, "num_lost": 0, "bystander_displacement": 0.003}
    assert SCRIPT["shown_instead"](row("red ball"), {**video, **change}) == words
