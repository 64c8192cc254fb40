"""The feasible tasks of a scene, and the choice among them.

Pure geometry: a task is feasible if the arm can reach its positions and no item is in the way.
`choose_tasks` mixes families and prefers minimal pairs, which differ in one word only;
`choose_twins` takes pairs that differ only in the shapes of two objects of one colour.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aid.tabletop.language import Task
from aid.tabletop.world.scene import Scene
from aid.tabletop.world.shapes import DIRECTION_VECTORS, SHAPES

FAMILY_WEIGHTS = {"put": 0.23, "push": 0.53, "beside": 0.12, "stack": 0.06, "lift": 0.06}
HELD_OUT_PAIRS = frozenset(
    {
        ("red", "blue"),
        ("blue", "red"),
        ("green", "yellow"),
        ("yellow", "green"),
        ("purple", "orange"),
        ("orange", "purple"),
    }
)
"""Pairs of (object colour, container colour) that occur in the split `combos` only."""

PUSH_DISTANCE = 0.095
PUSH_START = 0.072
"""Length of a push, and distance from the object at which the gripper goes down, in metres."""
BESIDE_GAP = 0.060
"""Distance from the rim of the target to the centre of the object beside it, in metres."""
LIFT_HEIGHT = 0.150
"""Height of a lifted object's centre, in metres."""
DISTINCT_DISTANCE = 0.05
"""Least distance between two different outcomes of one object, in metres."""

_PUSH_END_AREA = ((0.165, 0.455), (-0.190, 0.190))
_PUSH_START_AREA = ((0.13, 0.470), (-0.190, 0.190))
_PLACE_AREA = ((0.165, 0.430), (-0.160, 0.160))
_REACH = 0.475
_MINIMAL_PAIR_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class SceneTask:
    """A task and the indices of the items that it names."""

    task: Task
    object_index: int
    target_index: int | None = None

    def is_held_out(self, scene: Scene) -> bool:
        """Whether its pair of colours occurs in the split `combos` only."""
        if self.task.family != "put" or self.target_index is None:
            return False
        items = scene.items
        return (
            items[self.object_index].colour,
            items[self.target_index].colour,
        ) in HELD_OUT_PAIRS


def feasible_tasks(scene: Scene) -> list[SceneTask]:
    """Every task that the arm can execute in this scene, in a fixed order."""
    found: list[SceneTask] = []
    for index in scene.objects:
        found += [_task(scene, "put", index, target) for target in scene.containers]
        found.append(_task(scene, "lift", index))
        if scene.items[index].shape == "ball":
            continue  # a ball rolls away when pushed, stacked or left on the bare table
        found += [
            _task(scene, "stack", index, target)
            for target in scene.objects
            if target != index and scene.items[target].shape != "ball"
        ]
        candidates = [
            _task(scene, "beside", index, target, direction)
            for direction in ("left", "right")
            for target in range(len(scene.items))
            if target != index
        ]
        found += [task for task in candidates if _can_place_beside(scene, task)]
        candidates = [_task(scene, "push", index, None, d) for d in DIRECTION_VECTORS]
        found += [task for task in candidates if _can_push(scene, task)]
    return found


def expected_end(scene: Scene, scene_task: SceneTask) -> np.ndarray:
    """The position (x, y, z) of the object's centre after the task."""
    item = scene.items[scene_task.object_index]
    start = np.array([item.x, item.y, item.size.rest_height])
    task = scene_task.task
    if task.family == "lift":
        return np.array([item.x, item.y, LIFT_HEIGHT])
    if task.family == "push":
        return start + PUSH_DISTANCE * _vector(task.direction)
    assert scene_task.target_index is not None
    target = scene.items[scene_task.target_index]
    place = np.array([target.x, target.y, item.size.rest_height])
    if task.family == "beside":
        return place + (target.size.radius + BESIDE_GAP) * _vector(task.direction)
    rise = target.size.height if task.family == "stack" else target.size.floor
    return place + np.array([0.0, 0.0, rise])


def choose_tasks(
    scene: Scene,
    count: int,
    random: np.random.Generator,
    allowed: Callable[[SceneTask], bool] = lambda task: True,
) -> list[SceneTask]:
    """Up to `count` tasks of different outcomes, families mixed, minimal pairs preferred."""
    left = [task for task in feasible_tasks(scene) if allowed(task)]
    chosen: list[SceneTask] = []
    while left and len(chosen) < count:
        pairs = [t for t in left if any(_is_minimal_pair(t.task, c.task) for c in chosen)]
        pool = pairs if pairs and random.random() < _MINIMAL_PAIR_SHARE else left
        (pick,) = _draw([(task,) for task in pool], random)
        chosen.append(pick)
        left = [task for task in left if not _same_outcome(scene, task, pick)]
    return chosen


def choose_twins(
    scene: Scene,
    count: int,
    random: np.random.Generator,
    allowed: Callable[[SceneTask], bool] = lambda task: True,
) -> list[SceneTask]:
    """Up to `count` tasks of different outcomes, in pairs that differ in the shape word alone.

    Both tasks of a pair are equal except that they name two objects of one colour: "lift the red
    ball", "lift the red can". A scene without two objects of one colour has none.
    """
    left = [task for task in feasible_tasks(scene) if allowed(task)]
    chosen: list[SceneTask] = []
    while len(chosen) + 2 <= count:
        pairs = [
            pair
            for pair in itertools.combinations(left, 2)
            if _are_twins(scene, *pair) and not _same_outcome(scene, *pair)
        ]
        if not pairs:
            break
        pick = _draw(pairs, random)
        chosen += pick
        left = [task for task in left if not any(_same_outcome(scene, task, p) for p in pick)]
    return chosen


def _draw(
    groups: Sequence[tuple[SceneTask, ...]], random: np.random.Generator
) -> tuple[SceneTask, ...]:
    """A random group: first its family by weight, then one of the family's groups."""
    families = sorted({group[0].task.family for group in groups})
    weights = np.array([FAMILY_WEIGHTS[family] for family in families])
    family = str(random.choice(families, p=weights / weights.sum()))
    groups = [group for group in groups if group[0].task.family == family]
    return groups[int(random.integers(len(groups)))]


def _task(
    scene: Scene, family: str, index: int, target: int | None = None, direction: str | None = None
) -> SceneTask:
    names = [item.name for item in scene.items]
    task = Task(family, names[index], None if target is None else names[target], direction)
    return SceneTask(task=task, object_index=index, target_index=target)


def _vector(direction: str | None) -> np.ndarray:
    assert direction is not None
    return np.array([*DIRECTION_VECTORS[direction], 0.0])


def _same_outcome(scene: Scene, one: SceneTask, other: SceneTask) -> bool:
    if one.object_index != other.object_index:
        return False
    between = expected_end(scene, one) - expected_end(scene, other)
    return float(np.linalg.norm(between)) < DISTINCT_DISTANCE


def _is_minimal_pair(one: Task, other: Task) -> bool:
    if one.family != other.family:
        return False
    words = ("object", "target", "direction")
    return sum(getattr(one, word) != getattr(other, word) for word in words) == 1


def _are_twins(scene: Scene, one: SceneTask, other: SceneTask) -> bool:
    """Whether the tasks differ only in two objects of one colour."""
    if not _is_minimal_pair(one.task, other.task):
        return False
    named = {one.object_index, other.object_index}
    if len(named) == 1:
        named = {one.target_index, other.target_index}
    colours = {scene.items[index].colour for index in named.intersection(scene.objects)}
    return len(named) == 2 and named <= set(scene.objects) and len(colours) == 1


def _can_place_beside(scene: Scene, task: SceneTask) -> bool:
    assert task.target_index is not None
    item = scene.items[task.object_index]
    end = expected_end(scene, task)[:2]
    return (
        _is_inside(end, _PLACE_AREA)
        and _is_clear(scene, end, end, 0.052, task.object_index, task.target_index)
        and math.hypot(end[0] - item.x, end[1] - item.y) > 0.11
    )


def _can_push(scene: Scene, task: SceneTask) -> bool:
    item = scene.items[task.object_index]
    start = np.array([item.x, item.y])
    along = _vector(task.task.direction)[:2]
    gripper, beyond = start - PUSH_START * along, start + (PUSH_DISTANCE + 0.01) * along
    return (
        _is_inside(start + PUSH_DISTANCE * along, _PUSH_END_AREA)
        and _is_inside(gripper, _PUSH_START_AREA)
        and _is_clear(scene, start, beyond, 0.044, task.object_index)
        and _is_clear(scene, gripper, gripper, 0.040, task.object_index)
    )


def _is_inside(place: np.ndarray, area: tuple[tuple[float, float], tuple[float, float]]) -> bool:
    within = all(low <= p <= high for p, (low, high) in zip(place, area, strict=True))
    return within and float(np.linalg.norm(place)) <= _REACH


def _is_clear(scene: Scene, start: np.ndarray, end: np.ndarray, radius: float, *but: int) -> bool:
    """Whether a disc of this radius can move straight from start to end and touch no item."""
    path = end - start
    for index, item in enumerate(scene.items):
        if index in but:
            continue
        centre = np.array([item.x, item.y])
        along = float(np.clip((centre - start) @ path / max(path @ path, 1e-9), 0, 1))
        nearest = float(np.linalg.norm(centre - start - along * path))
        if nearest < radius + SHAPES[item.shape].radius:
            return False
    return True
