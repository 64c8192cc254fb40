"""The wordings of the table-top's tasks, in groups.

`simple` are the first three of each family. Training may use those of the group `train`, which
contains `simple`; those of `held_out` are never trained on, so that a test can ask whether a model
follows a wording that it has not met.
"""

import functools
from typing import Literal, get_args

from aid.tabletop.language.tasks import Task, every_task, states

Group = Literal["simple", "train", "held_out"]
GROUPS: tuple[Group, ...] = get_args(Group)

_SIMPLE = {
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
_MORE = {
    "put": (
        "please put the {object} {in} the {target}",
        "could you drop the {object} {into} the {target}",
        "take the {object} and put it {in} the {target}",
        "i want the {object} {in} the {target}",
        "{in} the {target} goes the {object}",
        "get the {shape} that is {colour} {into} the {target}",
        "set {object} {in} {target}",
    ),
    "push": (
        "please push the {object} {to}{direction}",
        "could you shove the {object} {to}{direction}",
        "i want the {object} pushed {to}{direction}",
        "move the {object} {to}{direction}",
        "shift the {shape} that is {colour} {to}{direction}",
        "{to}{direction} push the {object}",
        "give the {object} a push {to}{direction}",
    ),
    "beside": (
        "please put the {object} to the {direction} of the {target}",
        "could you set the {object} down on the {direction} of the {target}",
        "take the {object} and place it to the {direction} of the {target}",
        "i want the {object} on the {direction} side of the {target}",
        "to the {direction} of the {target} goes the {object}",
        "put the {shape} that is {colour} {direction} of the {target}",
        "set {object} beside {target} on its {direction} side",
    ),
    "stack": (
        "please stack the {object} on the {target}",
        "could you set the {object} on top of the {target}",
        "take the {object} and stack it on the {target}",
        "i want the {object} on top of the {target}",
        "on top of the {target} goes the {object}",
        "pile the {shape} that is {colour} on the {target}",
        "put {object} onto {target}",
    ),
    "lift": (
        "please pick up the {object}",
        "could you lift up the {object}",
        "i want the {object} picked up",
        "take the {object} off the table",
        "pick the {object} up",
        "lift the {shape} that is {colour}",
        "grab {object}",
    ),
}
_HELD_OUT = {
    "put": (
        "grab the {object} and drop it {into} the {target}",
        "would you please move the {shape} that is {colour} {into} the {target}",
        "the {object} belongs {in} the {target}",
    ),
    "push": (
        "would you please slide the {shape} that is {colour} {to}{direction}",
        "get the {object} to move {to}{direction}",
        "the {object} should go {to}{direction}",
    ),
    "beside": (
        "grab the {object} and put it on the {direction} side of the {target}",
        "would you please move the {shape} that is {colour} to the {direction} of the {target}",
        "the {object} belongs to the {direction} of the {target}",
    ),
    "stack": (
        "grab the {object} and set it on the {target}",
        "would you please stack the {shape} that is {colour} on top of the {target}",
        "the {object} belongs on top of the {target}",
    ),
    "lift": (
        "would you please lift the {shape} that is {colour} off the table",
        "hold the {object} up in the air",
        "get the {object} up from the table",
    ),
}
_WORDINGS: dict[Group, dict[str, tuple[str, ...]]] = {
    "simple": _SIMPLE,
    "train": {family: _SIMPLE[family] + more for family, more in _MORE.items()},
    "held_out": _HELD_OUT,
}


def instructions(task: Task, group: Group = "simple") -> list[str]:
    """Every wording of a task in a group; the first of `simple` is the canonical one."""
    return [wording.format(**_slots(task)) for wording in _WORDINGS[group][task.family]]


def _slots(task: Task) -> dict[str, str]:
    colour, shape = task.object.split()
    on_plate = task.target is not None and task.target.endswith("plate")
    return {
        "object": task.object,
        "colour": colour,
        "shape": shape,
        "target": task.target or "",
        "direction": task.direction or "",
        "to": "to the " if task.direction in ("left", "right") else "",
        "in": "on" if on_plate else "in",
        "into": "onto" if on_plate else "into",
    }


@functools.cache
def sentences(group: Group = "train") -> tuple[str, ...]:
    """Every instruction of a group and every state, once each."""
    made = {}
    for task in every_task():
        made.update(dict.fromkeys(instructions(task, group)))
        for flags in ((True, True, True), (False, False, False), (True, False, False)):
            made.update(dict.fromkeys(states(task, *flags)))
    return tuple(made)


@functools.cache
def vocabulary(group: Group = "train") -> frozenset[str]:
    """Every word that occurs in an instruction of a group or in a state."""
    return frozenset(word for sentence in sentences(group) for word in sentence.split())
