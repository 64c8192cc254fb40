import numpy as np
import pytest
from blobs import camera_facts, picture, video

from aid.tabletop.reader.reading import OutcomeReader, read_outcome
from aid.tabletop.reader.sighting import MEASURES
from aid.tabletop.world.shapes import SHAPES

START = {
    "red block": (0.30, -0.10, 0.0),
    "green can": (0.24, 0.03, 0.0),
    "blue bowl": (0.36, 0.08, 0.0),
}
TWINS = {
    "red block": (0.30, -0.10, 0.0),
    "red can": (0.24, 0.03, 0.0),
    "blue bowl": (0.36, 0.08, 0.0),
}


def read(start, changes, hand=None, size=64):
    return read_outcome(video(start, start | changes, hand, size), list(start), camera_facts())


def without(start, name):
    left = {other: place for other, place in start.items() if other != name}
    return read_outcome(video(start, left), list(start), camera_facts())


@pytest.mark.parametrize("size", [64, 128])
def test_positions_are_read_within_a_centimetre(size):
    reading = read(START, {"red block": (0.39, -0.02, 0.0)}, size=size)
    for name, place in START.items():
        assert np.linalg.norm(np.subtract(reading.items[name].start, place[:2])) < 0.01
    assert np.linalg.norm(np.subtract(reading.items["red block"].end, (0.39, -0.02))) < 0.01


def test_nothing_moves_in_a_still_video():
    for item in read(START, {}).items.values():
        assert np.linalg.norm(np.subtract(item.end, item.start)) < 0.003
        assert not item.is_held and item.quality == pytest.approx(1, abs=0.05)


def test_an_item_that_vanishes_is_lost_and_the_others_are_not():
    reading = without(START, "red block")
    assert reading.items["red block"].end is None
    assert reading.end_at_height("red block", 0.0) is None
    assert not reading.items["red block"].is_held
    assert reading.items["green can"].end is not None


def test_a_hidden_item_counts_as_unmoved():
    stacked = read(START, {"red block": (0.24, 0.03, 0.064)}).items["green can"]
    behind = read(START, {"green can": (0.24, 0.03, 0.0)}, hand=(0.27, 0.03, 0.02))
    for item in (stacked, behind.items["green can"]):
        assert np.linalg.norm(np.subtract(item.end, item.start)) < 0.01


def test_a_container_with_something_in_it_has_not_moved():
    bowl = read(START, {"red block": (0.36, 0.08, 0.004)}).items["blue bowl"]
    assert np.linalg.norm(np.subtract(bowl.end, bowl.start)) < 0.005


def test_held_needs_both_the_gripper_and_the_height():
    lifted = read(START, {"red block": (0.30, -0.10, 0.12)}, hand=(0.30, -0.10, 0.15))
    assert lifted.items["red block"].is_held
    assert [name for name, item in lifted.items.items() if item.is_held] == ["red block"]
    grasped = read(START, {}, hand=(0.30, -0.10, 0.03)).items["red block"]
    assert grasped.is_gripped and not grasped.is_held
    pushed_away = read(START, {"red block": (0.21, -0.10, 0.0)}).items["red block"]
    assert not pushed_away.is_gripped


@pytest.mark.parametrize("mover", ["red block", "red can"])
def test_of_two_items_of_one_colour_the_right_one_moves(mover):
    reading = read(TWINS, {mover: (0.40, -0.02, 0.0)})
    moved = {
        name
        for name, item in reading.items.items()
        if np.linalg.norm(np.subtract(item.end, item.start)) > 0.03
    }
    assert moved == {mover}
    assert np.linalg.norm(np.subtract(reading.items[mover].end, (0.40, -0.02))) < 0.012


@pytest.mark.parametrize("name", ["red block", "red can"])
def test_of_two_items_of_one_colour_the_right_one_is_lost(name):
    reading = without(TWINS, name)
    assert [item for item, seen in reading.items.items() if seen.end is None] == [name]


def test_a_blurred_noisy_video_can_be_read():
    frames = video(START, START | {"red block": (0.36, 0.08, 0.004)}).astype(float)
    for axis in (1, 2):
        frames = (np.roll(frames, 1, axis) + 2 * frames + np.roll(frames, -1, axis)) / 4
    frames += np.random.default_rng(0).normal(0, 8, frames.shape)
    reading = read_outcome(np.clip(frames, 0, 255).astype(np.uint8), list(START), camera_facts())
    assert np.linalg.norm(np.subtract(reading.items["red block"].end, (0.36, 0.08))) < 0.02


def test_the_sizes_are_those_of_the_simulated_world():
    for shape, measures in MEASURES.items():
        assert measures.radius == SHAPES[shape].radius
        assert measures.height == pytest.approx(SHAPES[shape].height)
        assert measures.inner_radius == SHAPES[shape].inner_radius
    assert MEASURES.keys() == SHAPES.keys()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pink block"], "item 'pink block' has no known colour and shape"),
        (["red cup"], "item 'red cup'"),
        (["yellow block"], "does not show yellow block"),
        (["red block", "red can", "red ball"], "more than two items are red"),
    ],
)
def test_names_that_cannot_be_read_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        OutcomeReader(picture(START), names, camera_facts())


def test_a_video_of_another_size_is_refused():
    reader = OutcomeReader(picture(START), list(START), camera_facts())
    with pytest.raises(ValueError, match="96x96 pixels, but its given frame 64x64"):
        reader.read(video(START, START, size=96))
