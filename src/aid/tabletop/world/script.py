"""The arm's motion for a task: way-points of the gripper, and the joint angles that reach them.

Every way-point has the number (0-3) of its state, which assigns the frames of a video to states.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from aid.tabletop.world.scene import Scene
from aid.tabletop.world.shapes import (
    DIRECTION_VECTORS,
    FINGER_OPEN,
    FINGER_RELEASE,
    FOREARM,
    HAND,
    SHOULDER_HEIGHT,
    UPPER_ARM,
)
from aid.tabletop.world.tasks import (
    LIFT_HEIGHT,
    PUSH_DISTANCE,
    PUSH_START,
    SceneTask,
    expected_end,
)

CONTROL_STEP = 0.02
"""Seconds between two commands to the arm."""
_TRAVEL_HEIGHT = 0.13
_PUSH_HEIGHT = 0.024
_FINGER_REACH = 0.036
"""Distance from the grasp point to the pushing surface, plus half an object, in metres."""
_MISS = 0.062
"""Distance from the object at which the gripper closes in a planned failure, in metres."""


@dataclass(frozen=True, kw_only=True)
class Waypoint:
    """Target of the grasp point (x, y, z), roll of the hand, half the opening of the fingers."""

    x: float
    y: float
    z: float
    roll: float
    opening: float
    seconds: float
    phase: int


def inverse_kinematics(x: float, y: float, z: float, roll: float) -> list[float]:
    """Five joint angles that bring the grasp point to (x, y, z) with the hand pointing down."""
    reach, rise = math.hypot(x, y), z + HAND - SHOULDER_HEIGHT
    distance = min(math.hypot(reach, rise), UPPER_ARM + FOREARM - 1e-4)
    bend = (UPPER_ARM**2 + distance**2 - FOREARM**2) / (2 * UPPER_ARM * distance)
    shoulder = math.atan2(rise, reach) + math.acos(max(-1.0, min(1.0, bend)))
    forearm = math.atan2(
        rise - UPPER_ARM * math.sin(shoulder), reach - UPPER_ARM * math.cos(shoulder)
    )
    return [math.atan2(y, x), shoulder, forearm - shoulder, -math.pi / 2 - forearm, roll]


def plan(scene: Scene, task: SceneTask, failure: str | None = None) -> list[Waypoint]:
    """The way-points of a task.

    Args:
        scene: the scene.
        task: the task.
        failure: "miss" closes the gripper beside the object, or pushes above it.
    """
    if task.task.family == "push":
        return _plan_push(scene, task, failure)
    return _plan_grasp(scene, task, failure)


def trajectory(
    scene: Scene, waypoints: list[Waypoint]
) -> tuple[Float[np.ndarray, "t 7"], Int[np.ndarray, " t"]]:
    """Commands for every control step (five joint angles, two fingers) and their phases.

    Between way-points the gripper moves on a straight line with zero speed and acceleration at
    both ends.
    """
    commands: list[list[float]] = []
    phases: list[int] = []
    before = np.array([*scene.home, FINGER_OPEN])
    for point in waypoints:
        after = np.array([point.x, point.y, point.z, point.roll, point.opening])
        steps = max(1, round(point.seconds / CONTROL_STEP))
        for s in np.arange(1, steps + 1) / steps:
            pose = before + (after - before) * (s**3 * (10 - 15 * s + 6 * s * s))
            commands.append([*inverse_kinematics(*pose[:4]), pose[4], pose[4]])
            phases.append(point.phase)
        before = after
    return np.array(commands), np.array(phases)


def _go_home(scene: Scene, phase: int) -> list[Waypoint]:
    x, y, z, roll = scene.home
    home = Waypoint(x=x, y=y, z=z, roll=roll, opening=FINGER_OPEN, seconds=0.7, phase=phase)
    rest = Waypoint(x=x, y=y, z=z, roll=roll, opening=FINGER_OPEN, seconds=0.36, phase=phase)
    return [home, rest]


def _plan_push(scene: Scene, task: SceneTask, failure: str | None) -> list[Waypoint]:
    item = scene.items[task.object_index]
    # Slightly open fingers push a block more stably; a can would get stuck between them.
    opening = 0.012 if item.shape == "block" else 0.002
    along = np.array(DIRECTION_VECTORS[task.task.direction or "left"])
    start = np.array([item.x, item.y]) - PUSH_START * along
    end = np.array([item.x, item.y]) + (PUSH_DISTANCE - _FINGER_REACH) * along
    height = _PUSH_HEIGHT if failure is None else 0.085
    roll_start = _push_roll(start, along)
    roll_end = roll_start + _wrap(_push_roll(end, along) - roll_start, math.pi)

    def to(place: np.ndarray, z: float, roll: float, seconds: float, phase: int) -> Waypoint:
        return Waypoint(
            x=float(place[0]),
            y=float(place[1]),
            z=z,
            roll=roll,
            opening=opening,
            seconds=seconds,
            phase=phase,
        )

    return [
        to(start, 0.11, roll_start, 0.95, 0),
        to(start, height, roll_start, 0.5, 1),
        to(end, height, roll_end, 1.1, 2),
        to(end - 0.03 * along, height, roll_end, 0.25, 3),
        to(end - 0.03 * along, 0.12, roll_end, 0.4, 3),
        *_go_home(scene, 3),
    ]


def _push_roll(place: np.ndarray, along: np.ndarray) -> float:
    """The roll at which the broad side of the hand is perpendicular to the push."""
    yaw = math.atan2(place[1], place[0])
    return _wrap(yaw - math.atan2(along[1], along[0]), math.pi)


def _wrap(angle: float, period: float) -> float:
    return (angle + period / 2) % period - period / 2


def _plan_grasp(scene: Scene, task: SceneTask, failure: str | None) -> list[Waypoint]:
    item = scene.items[task.object_index]
    family, rest = task.task.family, item.size.rest_height
    roll = 0.0
    if item.shape == "block":
        roll = _wrap(math.atan2(item.y, item.x) - item.yaw, math.pi / 2)
    x, y = item.x, item.y
    if failure is not None:
        x, y = _beside_the_object(scene, task, roll)

    def to(
        place: tuple[float, float], z: float, opening: float, seconds: float, phase: int
    ) -> Waypoint:
        return Waypoint(
            x=place[0],
            y=place[1],
            z=z,
            roll=roll,
            opening=opening,
            seconds=seconds,
            phase=phase,
        )

    here = (x, y)
    if family == "lift":
        return [
            to(here, _TRAVEL_HEIGHT, FINGER_OPEN, 0.95, 0),
            to(here, rest, FINGER_OPEN, 0.6, 1),
            to(here, rest, 0.0, 0.5, 2),
            to(here, LIFT_HEIGHT, 0.0, 1.0, 3),
            to(here, LIFT_HEIGHT, 0.0, 0.8, 3),
        ]
    assert task.target_index is not None
    target = scene.items[task.target_index]
    goal_x, goal_y, goal_z = (float(value) for value in expected_end(scene, task))
    there = (goal_x, goal_y)
    release = goal_z + 0.004
    if family == "put" and target.shape != "plate":
        release = rest + 0.042  # above the rim, because the fingers do not fit inside
    high = _TRAVEL_HEIGHT + 0.015 + (target.size.rest_height if family == "stack" else 0.0)
    distance = math.hypot(goal_x - x, goal_y - y)
    return [
        to(here, _TRAVEL_HEIGHT, FINGER_OPEN, 0.9, 0),
        to(here, rest, FINGER_OPEN, 0.5, 0),
        to(here, rest, 0.0, 0.32, 1),
        to(here, high, 0.0, 0.5, 1),
        to(there, high, 0.0, 0.5 + 1.6 * distance, 2),
        to(there, release, 0.0, 0.45, 2),
        to(there, release, FINGER_RELEASE, 0.26, 3),
        to(there, high, FINGER_RELEASE, 0.4, 3),
        *_go_home(scene, 3),
    ]


def _beside_the_object(scene: Scene, task: SceneTask, roll: float) -> tuple[float, float]:
    """A position beside the object where the fingers close without touching it."""
    item = scene.items[task.object_index]
    angle = math.atan2(item.y, item.x) - roll
    places = [
        (item.x + side * _MISS * math.cos(angle), item.y + side * _MISS * math.sin(angle))
        for side in (1, -1)
    ]
    others = [other for i, other in enumerate(scene.items) if i != task.object_index]
    return max(
        places,
        key=lambda place: min(
            (math.hypot(place[0] - o.x, place[1] - o.y) - o.size.radius for o in others),
            default=0.0,
        ),
    )
