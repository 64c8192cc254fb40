import numpy as np
import pytest

from aid.tabletop.language import FAMILIES
from aid.tabletop.world.outcome import Ending, succeeded
from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.tasks import expected_end, feasible_tasks


def task_of(family):
    """A scene and a feasible task of the family."""
    for seed in range(100):
        scene = sample_scene(seed)
        for task in feasible_tasks(scene):
            if task.task.family == family:
                return scene, task
    raise AssertionError(family)


def ending(scene, task, end, is_held=False, drift=0.0):
    start = np.array([[item.x, item.y, item.size.rest_height] for item in scene.items])
    after = start.copy()
    after[task.object_index] = end
    before = after.copy()
    before[task.object_index, 0] -= drift
    return Ending(start=start, shortly_before=before, end=after, is_held=is_held)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_expected_end_succeeds_and_staying_put_fails(family):
    scene, task = task_of(family)
    end = expected_end(scene, task)
    is_held = family == "lift"
    assert succeeded(scene, task, ending(scene, task, end, is_held))
    item = scene.items[task.object_index]
    stay = (item.x, item.y, item.size.rest_height)
    assert not succeeded(scene, task, ending(scene, task, stay))


@pytest.mark.parametrize("family", FAMILIES)
def test_still_moving_or_wrongly_held_fails(family):
    scene, task = task_of(family)
    end = expected_end(scene, task)
    assert not succeeded(scene, task, ending(scene, task, end, family == "lift", drift=0.02))
    assert not succeeded(scene, task, ending(scene, task, end, family != "lift"))
