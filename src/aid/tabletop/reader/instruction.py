"""Instruction accuracy: does the video show the requested task?

`judge` compares a `Reading` (where each item starts and ends, from the pixels alone) with the
requested task and with all tasks that the first frame allows, and returns a `Judgement`. The
criteria are those of the simulator's success test, with limits wider by the reader's error.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aid.tabletop.language import Task
from aid.tabletop.reader.reading import OutcomeReader, read_outcome
from aid.tabletop.reader.sighting import Reading, Sighting

__all__ = [
    "Judgement",
    "OutcomeReader",
    "best_task",
    "judge",
    "moved_objects",
    "outcome_of",
    "read_outcome",
]

DIRECTION_VECTORS = {
    "left": (0.0, -1.0),
    "right": (0.0, 1.0),
    "towards the camera": (1.0, 0.0),
    "away from the camera": (-1.0, 0.0),
}
MOVED = 0.03
"""Least displacement of a moved item, in metres."""
SLACK = 0.005
"""Metres by which every limit is wider than the simulator's: about half a pixel of 64."""

_PUSH_ALONG, _PUSH_ACROSS, _PUSH_DISTANCE = (0.06, 0.13), 0.035, 0.095
_BESIDE_ALONG, _BESIDE_ACROSS, _BESIDE_GAP = 0.10, 0.04, 0.060
_STACK_DISTANCE = 0.026
_CONTAINER_FLOOR = 0.004
_LIFT_HEIGHT, _LIFT_ASIDE = 0.150, 0.08


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one video shows, compared with the requested task."""

    requested: Task
    shown: Task | None
    """The one task of the scene that the video shows; None if it shows none, or several."""
    holds: bool
    """Whether the requested outcome holds, whatever else happened."""
    is_right_object: bool
    """Whether the requested object moved and no other object did."""
    bystander_displacement: float | None
    """Mean distance in metres between start and end of all other items; None if all of them are
    lost."""
    num_lost: int
    num_items: int

    @property
    def is_obeyed(self) -> bool:
        """Whether the requested outcome holds, and is the task that the video shows."""
        return self.holds and self.shown == self.requested


def judge(reading: Reading, requested: Task, alternatives: Sequence[Task]) -> Judgement:
    """The verdict on one video.

    Args:
        reading: what the pixels show.
        requested: the requested task.
        alternatives: every task that the first frame allows, `requested` among them.

    Raises:
        ValueError: the requested task names an item that is not in the reading.
    """
    others = [item for name, item in reading.items.items() if name != requested.object]
    displacements = [_displacement(item) for item in others if item.end is not None]
    return Judgement(
        requested=requested,
        shown=best_task(reading, alternatives),
        holds=outcome_of(reading, requested),
        is_right_object=moved_objects(reading) == [requested.object],
        bystander_displacement=float(np.mean(displacements)) if displacements else None,
        num_lost=sum(item.end is None for item in reading.items.values()),
        num_items=len(reading.items),
    )


def outcome_of(reading: Reading, task: Task) -> bool:
    """Whether the video ends as the task asks.

    Raises:
        ValueError: the task names an item that is not in the reading.
    """
    return _miss(reading, task) is not None


def best_task(reading: Reading, alternatives: Iterable[Task]) -> Task | None:
    """The task that the video shows: of the tasks whose outcome holds, the one with the least miss.

    None if no outcome holds, or if outcomes of different objects hold.
    """
    misses = {task: _miss(reading, task) for task in alternatives}
    holding = {task: miss for task, miss in misses.items() if miss is not None}
    if len({task.object for task in holding}) != 1:
        return None
    return min(holding, key=lambda task: holding[task])


def moved_objects(reading: Reading) -> list[str]:
    """The objects (not containers) that are held or have moved; lost ones are not counted."""
    return [
        name
        for name, item in reading.items.items()
        if not item.is_container
        and item.end is not None
        and (item.is_held or _displacement(item) > MOVED)
    ]


def _miss(reading: Reading, task: Task) -> float | None:
    """Metres between the end and the task's ideal end; None if the outcome does not hold."""
    item = _item(reading, task.object)
    if item.end is None:
        return None
    if task.family == "lift":
        return _miss_lift(reading, item)
    if item.is_gripped or _displacement(item) < MOVED:
        return None  # an object that has not moved was not put anywhere
    if task.family == "push":
        return _miss_push(item, task.direction)
    assert task.target is not None
    target = _item(reading, task.target)
    if target.end is None:
        return None
    if task.family == "put":
        return _miss_put(reading, item, target)
    if task.family == "stack":
        return _miss_stack(reading, item, target)
    return _miss_beside(item, target, task.direction)


def _miss_lift(reading: Reading, item: Sighting) -> float | None:
    place = reading.end_at_height(item.name, _LIFT_HEIGHT)
    assert place is not None
    aside = float(np.linalg.norm(place - item.start))
    return aside if item.is_held and aside < _LIFT_ASIDE else None


def _miss_push(item: Sighting, direction: str | None) -> float | None:
    along, across = _split(np.subtract(item.end, item.start), direction)
    nearest, farthest = _PUSH_ALONG
    if not nearest - SLACK < along < farthest + SLACK or abs(across) > _PUSH_ACROSS + SLACK:
        return None
    return math.hypot(along - _PUSH_DISTANCE, across)


def _miss_put(reading: Reading, item: Sighting, target: Sighting) -> float | None:
    place = reading.end_at_height(item.name, item.measures.sight_height + _CONTAINER_FLOOR)
    distance = float(np.linalg.norm(place - target.end))
    return distance if distance < target.measures.inner_radius + SLACK else None


def _miss_stack(reading: Reading, item: Sighting, target: Sighting) -> float | None:
    height = item.measures.sight_height + target.measures.height
    distance = float(np.linalg.norm(reading.end_at_height(item.name, height) - target.end))
    return distance if distance < _STACK_DISTANCE + SLACK else None


def _miss_beside(item: Sighting, target: Sighting, direction: str | None) -> float | None:
    along, across = _split(np.subtract(item.end, target.end), direction)
    gap = along - target.measures.radius
    if not -SLACK < gap < _BESIDE_ALONG + SLACK or abs(across) > _BESIDE_ACROSS + SLACK:
        return None
    return math.hypot(gap - _BESIDE_GAP, across)


def _displacement(item: Sighting) -> float:
    return float(np.linalg.norm(np.subtract(item.end, item.start)))


def _split(offset: np.ndarray, direction: str | None) -> tuple[float, float]:
    """An offset on the table as (along the direction, across it)."""
    x, y = DIRECTION_VECTORS[direction or "left"]
    return float(offset @ [x, y]), float(offset @ [-y, x])


def _item(reading: Reading, name: str) -> Sighting:
    if name not in reading.items:
        raise ValueError(
            f"the task names {name!r}, but the video was read for {', '.join(reading.items)}."
        )
    return reading.items[name]
