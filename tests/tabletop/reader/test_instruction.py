import numpy as np
import pytest
from blobs import camera_facts, video

from aid.evaluate.judge import wilson_interval
from aid.tabletop.language import Task
from aid.tabletop.reader.instruction import (
    DIRECTION_VECTORS,
    best_task,
    judge,
    moved_objects,
    outcome_of,
    read_outcome,
)
from aid.tabletop.world.shapes import DIRECTION_VECTORS as TRUE_VECTORS

START = {
    "red block": (0.30, -0.10, 0.0),
    "green can": (0.24, 0.05, 0.0),
    "blue bowl": (0.36, 0.08, 0.0),
}
PUT = Task("put", "red block", "blue bowl")
STACK = Task("stack", "red block", "green can")
LIFT = Task("lift", "red block")
BESIDE = Task("beside", "red block", "green can", "left")
PUSHES = {way: Task("push", "red block", None, way) for way in DIRECTION_VECTORS}
PUT_CAN = Task("put", "green can", "blue bowl")
TASKS = [PUT, STACK, LIFT, BESIDE, *PUSHES.values(), PUT_CAN]

ENDS = {
    PUT: (0.36, 0.08, 0.004),
    STACK: (0.24, 0.05, 0.064),
    LIFT: (0.30, -0.10, 0.12),
    BESIDE: (0.24, 0.05 - 0.027 - 0.06, 0.0),
} | {
    task: (0.30 + 0.095 * DIRECTION_VECTORS[way][0], -0.10 + 0.095 * DIRECTION_VECTORS[way][1], 0.0)
    for way, task in PUSHES.items()
}


def read(changes, hand=None):
    return read_outcome(video(START, START | changes, hand), list(START), camera_facts())


def reading_of(task):
    hand = (0.30, -0.10, 0.15) if task.family == "lift" else None
    return read({"red block": ENDS[task]}, hand)


@pytest.mark.parametrize("task", ENDS, ids=lambda task: f"{task.family}-{task.direction}")
def test_every_outcome_is_recognised_and_no_other(task):
    reading = reading_of(task)
    assert best_task(reading, TASKS) == task
    assert [other for other in TASKS if outcome_of(reading, other)] == [task]
    verdict = judge(reading, task, TASKS)
    assert verdict.is_obeyed and verdict.holds and verdict.is_right_object
    assert verdict.bystander_displacement < 0.01
    assert (verdict.num_lost, verdict.num_items) == (0, 3)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_a_still_video_shows_nothing(task):
    reading = read({})
    assert best_task(reading, TASKS) is None and not outcome_of(reading, task)
    assert moved_objects(reading) == []


def test_an_object_that_has_not_moved_does_not_count_as_put():
    start = START | {"red block": (0.24, -0.04, 0.0)}
    still = read_outcome(video(start, start), list(start), camera_facts())
    assert not outcome_of(still, BESIDE)


def test_a_push_too_short_or_too_far_does_not_count():
    assert best_task(read({"red block": (0.34, -0.10, 0.0)}), TASKS) is None
    assert best_task(read({"red block": (0.30, -0.26, 0.0)}), TASKS) is None


def test_the_wrong_object_moved():
    verdict = judge(read({"green can": (0.36, 0.08, 0.004)}), PUT, TASKS)
    assert verdict.shown == PUT_CAN
    assert not verdict.is_obeyed and not verdict.holds and not verdict.is_right_object
    assert verdict.bystander_displacement == pytest.approx(0.5 * np.hypot(0.12, 0.03), abs=0.006)


def test_a_video_of_two_tasks_shows_neither():
    both = read({"red block": ENDS[PUSHES["towards the camera"]], "green can": (0.36, 0.08, 0.004)})
    verdict = judge(both, PUT_CAN, TASKS)
    assert verdict.holds and verdict.shown is None and not verdict.is_obeyed


def test_an_object_still_in_the_gripper_is_not_put():
    assert not outcome_of(read({"red block": ENDS[PUT]}, hand=(0.36, 0.08, 0.03)), PUT)


def test_a_lost_object_obeys_nothing():
    left = {name: place for name, place in START.items() if name != "red block"}
    reading = read_outcome(video(START, left), list(START), camera_facts())
    verdict = judge(reading, PUT, TASKS)
    assert not verdict.holds and verdict.shown is None and verdict.num_lost == 1


def test_a_task_about_an_unknown_item_is_refused():
    with pytest.raises(ValueError, match="names 'purple ball', but the video was read for red"):
        outcome_of(read({}), Task("lift", "purple ball"))


def test_wilson_intervals_are_those_of_the_textbook():
    np.testing.assert_allclose(wilson_interval(8, 10), (0.4902, 0.9433), atol=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(520, 520)
    assert 0.99 < low < 1 and high == pytest.approx(1)


def test_directions_are_those_of_the_simulated_world():
    assert DIRECTION_VECTORS == TRUE_VECTORS
