import pytest

from aid.tabletop import language
from aid.tabletop.language import Task

EVERY_FAMILY = [
    Task("lift", "red ball"),
    Task("push", "green can", None, "left"),
    Task("push", "green can", None, "towards the camera"),
    Task("put", "yellow block", "blue bowl"),
    Task("put", "yellow block", "blue plate"),
    Task("stack", "red block", "red can"),
    Task("beside", "orange ball", "purple box", "left"),
    Task("beside", "orange ball", "green block", "right"),
]


def test_every_task_is_listed_once():
    tasks = language.every_task()
    # 18 objects: lift, 4 pushes, 18 puts, 17 stacks, 2 sides of 35 items.
    assert len(set(tasks)) == len(tasks) == 18 * (1 + 4 + 18 + 17 + 2 * 35)
    assert set(EVERY_FAMILY) <= set(tasks)


@pytest.mark.parametrize("task", EVERY_FAMILY, ids=lambda task: language.instructions(task)[0])
def test_a_task_has_four_states_that_name_its_object_and_tell_failure_from_success(task):
    success, failure = language.states(task), language.states(task, succeeds=False)
    assert len(success) == len(failure) == 4
    assert all(task.object in state for state in success + failure)
    assert success[-1] != failure[-1]
    assert "not" in failure[-1] or "still" in failure[-1]


def test_states_mention_a_missed_grasp():
    states = language.states(Task("put", "red ball", "blue plate"), grasps=False, carries=False)
    assert states[1] == "the gripper fails to grasp the red ball"
    assert states[2] == "the gripper moves to the blue plate without the red ball"
    on = Task("put", "red ball", "blue plate")
    assert language.states(on)[-1] == "the red ball is on the blue plate and the gripper is empty"


def test_the_vocabulary_is_that_of_the_sentences():
    words = language.vocabulary()
    assert {"stack", "nudge", "camera", "misses", "purple"} <= words
    assert "pink" not in words
