"""The grammar of the table-top's instructions and states, without physics or pixels.

The generator uses it to describe what happened, the rule-based state writer to describe what will
happen, and the judge to name the tasks.
"""

import functools
import re
import unicodedata
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
OBJECTS = ("block", "can", "ball")
CONTAINERS = ("bowl", "plate", "box")
DIRECTIONS = ("left", "right", "towards the camera", "away from the camera")
NAMING_WORDS = (*COLOURS, *OBJECTS, *CONTAINERS, "left", "right", "towards", "away")
"""The words that distinguish objects and directions."""
FAMILIES = ("put", "push", "beside", "stack", "lift")

_WORDINGS = {
    "put": (
        "put the {object} {in} the {target}",
        "place the {object} {into} the {target}",
        "move the {object} {into} the {target}",
    ),
    "push": (
        "push the {object} {to}{direction}",
        "slide the {object} {to}{direction}",
        "nudge the {object} {to}{direction}",
    ),
    "beside": (
        "put the {object} to the {direction} of the {target}",
        "move the {object} to the {direction} of the {target}",
        "place the {object} {direction} of the {target}",
    ),
    "stack": (
        "stack the {object} on the {target}",
        "put the {object} on top of the {target}",
        "place the {object} on top of the {target}",
    ),
    "lift": ("pick up the {object}", "lift the {object}", "raise the {object} off the table"),
}


@dataclass(frozen=True)
class Task:
    """The task of an instruction. `object` and `target` are item names such as "red block"."""

    family: str
    object: str
    target: str | None = None
    direction: str | None = None


def _slots(task: Task) -> dict[str, str]:
    on_plate = task.target is not None and task.target.endswith("plate")
    return {
        "object": task.object,
        "target": task.target or "",
        "direction": task.direction or "",
        "to": "to the " if task.direction in ("left", "right") else "",
        "in": "on" if on_plate else "in",
        "into": "onto" if on_plate else "into",
    }


def instructions(task: Task) -> list[str]:
    """Every wording of a task, the simplest first."""
    return [wording.format(**_slots(task)) for wording in _WORDINGS[task.family]]


_NAME = r"(?:{}) (?:{})"
_OBJECT = _NAME.format("|".join(COLOURS), "|".join(OBJECTS))
_ITEM = _NAME.format("|".join(COLOURS), "|".join(OBJECTS + CONTAINERS))
_CONTAINER = _NAME.format("|".join(COLOURS), "|".join(CONTAINERS))
_DIRECTION = "|".join(DIRECTIONS)


def _pattern(family: str, wording: str) -> re.Pattern[str]:
    target = {"put": _CONTAINER, "stack": _OBJECT}.get(family, _ITEM)
    return re.compile(
        wording.format(
            object=f"(?P<object>{_OBJECT})",
            target=f"(?P<target>{target})",
            direction=f"(?P<direction>{_DIRECTION})",
            to="(?:to the )?",
            **{"in": "(?:in|on)", "into": "(?:into|onto)"},
        )
    )


_PATTERNS = [(f, _pattern(f, w)) for f, wordings in _WORDINGS.items() for w in wordings]


def normalise(instruction: str) -> str:
    """The text in lower case, with single spaces, without punctuation; other characters stay."""
    kept = (" " if unicodedata.category(c)[0] in "PZC" else c for c in instruction.lower())
    return " ".join("".join(kept).split())


def parse(instruction: str) -> Task:
    """The task that an instruction names.

    Raises:
        ValueError: the sentence is not one of the table-top's wordings.
    """
    text = normalise(instruction)
    for family, pattern in _PATTERNS:
        if match := pattern.fullmatch(text):
            return Task(family, **match.groupdict())
    raise ValueError(
        f"instruction {instruction!r} is not a table-top sentence. Try for example "
        "'put the red block in the blue bowl', 'push the green can to the left' or "
        "'pick up the red ball'."
    )


@functools.cache
def vocabulary() -> frozenset[str]:
    """Every word that occurs in an instruction or a state."""
    return frozenset(word for sentence in sentences() for word in sentence.split())


def unknown_words(instruction: str) -> list[str]:
    """The words of an instruction that the grammar does not contain, in order."""
    return [word for word in normalise(instruction).split() if word not in vocabulary()]


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


def sentences() -> list[str]:
    """Every instruction and every state that the grammar can make, once each."""
    objects = [f"{colour} {shape}" for colour in COLOURS for shape in OBJECTS]
    containers = [f"{colour} {shape}" for colour in COLOURS for shape in CONTAINERS]
    tasks = [Task("lift", it) for it in objects]
    tasks += [Task("push", it, None, way) for it in objects for way in DIRECTIONS]
    for it in objects:
        tasks += [Task("put", it, target) for target in containers]
        tasks += [Task("stack", it, target) for target in objects if target != it]
        tasks += [
            Task("beside", it, target, way)
            for target in objects + containers
            if target != it
            for way in DIRECTIONS[:2]
        ]
    made = {}
    for task in tasks:
        for flags in ((True, True, True), (False, False, False), (True, False, False)):
            made.update(dict.fromkeys(instructions(task) + states(task, *flags)))
    return list(made)
