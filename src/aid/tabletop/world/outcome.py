"""Decides from the geometry of an episode's end whether the task succeeded."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aid.tabletop.world.scene import Scene
from aid.tabletop.world.shapes import DIRECTION_VECTORS
from aid.tabletop.world.tasks import SceneTask

AT_REST_DISTANCE = 0.005
"""Largest displacement in the last 0.2 s of an item at rest, in metres."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Positions of all items at the start, 0.2 s before the end and at the end.

    `is_held` is whether the task's object is held at the end.
    """

    start: Float[np.ndarray, "i 3"]
    shortly_before: Float[np.ndarray, "i 3"]
    end: Float[np.ndarray, "i 3"]
    is_held: bool


def succeeded(scene: Scene, task: SceneTask, ending: Ending) -> bool:
    """Whether the episode ended as the task requires, with the object at rest (for lift: held)."""
    index, wanted = task.object_index, task.task
    end = ending.end[index]
    moved = end - ending.start[index]
    if np.linalg.norm(end - ending.shortly_before[index]) > AT_REST_DISTANCE:
        return False
    if wanted.family == "lift":
        return ending.is_held and bool(moved[2] > 0.09)
    if ending.is_held:
        return False
    if wanted.family == "push":
        along, across = _split(moved[:2], wanted.direction)
        return 0.06 < along < 0.13 and abs(across) < 0.035 and bool(abs(moved[2]) < 0.012)
    assert task.target_index is not None
    target = scene.items[task.target_index]
    offset = end - ending.end[task.target_index]
    distance = float(np.linalg.norm(offset[:2]))
    if wanted.family == "put":
        return distance < target.size.inner_radius and bool(0.01 < offset[2] < 0.055)
    if wanted.family == "stack":
        rest = scene.items[index].size.rest_height + target.size.rest_height
        return distance < 0.026 and bool(abs(offset[2] - rest) < 0.010)
    along, across = _split(offset[:2], wanted.direction)
    on_table = bool(end[2] < scene.items[index].size.rest_height + 0.01)
    return (
        target.size.radius < along < target.size.radius + 0.10 and abs(across) < 0.04 and on_table
    )


def _split(offset: np.ndarray, direction: str | None) -> tuple[float, float]:
    """An offset on the table as (along the direction, across it)."""
    x, y = DIRECTION_VECTORS[direction or "left"]
    return float(offset @ [x, y]), float(offset @ [-y, x])
