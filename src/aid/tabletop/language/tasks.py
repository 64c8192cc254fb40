"""The table-top's tasks and the states of their videos, without physics or pixels."""

import itertools
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
OBJECTS = ("block", "can", "ball")
CONTAINERS = ("bowl", "plate", "box")
DIRECTIONS = ("left", "right", "towards the camera", "away from the camera")
NAMING_WORDS = (*COLOURS, *OBJECTS, *CONTAINERS, "left", "right", "towards", "away")
"""The words that distinguish objects and directions."""
FAMILIES = ("put", "push", "beside", "stack", "lift")


@dataclass(frozen=True)
class Task:
    """The task of an instruction. `object` and `target` are item names such as "red block"."""

    family: str
    object: str
    target: str | None = None
    direction: str | None = None


def states(
    task: Task, grasps: bool = True, carries: bool = True, succeeds: bool = True
) -> list[str]:
    """The four states of a video of the task.

    `grasps`, `carries` and `succeeds` are the outcome of the simulation: the object was held after
    the grasp, held after the transport, and ended as the task asks.
    """
    it = task.object
    towards = f"to the {task.direction}" if task.direction in ("left", "right") else task.direction
    if task.family == "push":
        return [
            f"the gripper moves to the far side of the {it}",
            f"the gripper goes down beside the {it}",
            f"the gripper pushes the {it} {towards}"
            if succeeds
            else f"the gripper fails to push the {it} {towards}",
            f"the {it} has moved {towards} and the gripper rises"
            if succeeds
            else f"the {it} has not moved {towards}",
        ]
    if task.family == "lift":
        return [
            f"the open gripper moves above the {it}",
            f"the open gripper goes down around the {it}",
            f"the gripper closes on the {it}" if grasps else f"the gripper misses the {it}",
            f"the {it} is held in the air" if succeeds else f"the {it} is still on the table",
        ]
    end = {
        "put": f"{'on' if (task.target or '').endswith('plate') else 'in'} the {task.target}",
        "stack": f"on top of the {task.target}",
        "beside": f"{towards} of the {task.target}",
    }[task.family]
    return [
        f"the open gripper moves to the {it}",
        f"the gripper grasps and lifts the {it}"
        if grasps
        else f"the gripper fails to grasp the {it}",
        f"the gripper carries the {it} to the {task.target}"
        if carries
        else f"the gripper moves to the {task.target} without the {it}",
        f"the {it} is {end} and the gripper is empty" if succeeds else f"the {it} is not {end}",
    ]


def every_task() -> list[Task]:
    """Every task that has a name, whether or not a scene allows it."""
    objects = [f"{colour} {shape}" for colour in COLOURS for shape in OBJECTS]
    containers = [f"{colour} {shape}" for colour in COLOURS for shape in CONTAINERS]
    tasks = [Task("lift", it) for it in objects]
    tasks += [Task("push", it, None, way) for it in objects for way in DIRECTIONS]
    for it, target in itertools.product(objects, containers + objects):
        if target in containers:
            tasks.append(Task("put", it, target))
        elif target != it:
            tasks.append(Task("stack", it, target))
        if target != it:
            tasks += [Task("beside", it, target, way) for way in DIRECTIONS[:2]]
    return tasks
