"""Worlds: what an installed package adds to the core under a name.

A world is a kind of video for which somebody ships a model or knows more than any data set says.
The table-top (`aid.tabletop`) is one. Any package can add another: it makes a `World` and names it
as an entry point of the group `aid.worlds` in its pyproject.toml:

    [project.entry-points."aid.worlds"]
    kitchen = "my_package:KITCHEN"

Its name is then a model and a backbone (`aid predict --model kitchen`), its state writers and
extractors can be chosen by their names, and `aid evaluate` lets its judge read the videos.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

GROUP = "aid.worlds"
FRAMES = "frames.json"


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What a world understood of an instruction.

    `instruction` is the sentence that the model reads and that states are written for; `notes` say
    what was assumed, such as a corrected typing error.
    """

    instruction: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The sentence, with the notes in brackets."""
        return self.instruction + (f" ({'; '.join(self.notes)})" if self.notes else "")


Understand = Callable[[UInt8[np.ndarray, "H W 3"], str], Understood]
"""(first given frame, what somebody said) -> what the model is to read.

Raises ValueError with what was not understood and the nearest thing that can be done.
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a package adds. Every part but the name may be missing.

    `state_writers` are used for checkpoints that name them, so none of them may go to the network
    or load a model (a stranger's checkpoint must not make a program do that).
    """

    name: str
    model: Path | None = None
    """A folder with `aid/` (a checkpoint) and `backbone/` (in SVD's directory layout)."""
    frames: Path | None = None
    """A folder of first frames to try, with `frames.json` (`read_frames`)."""
    state_writers: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """By name, what makes a `conditioning.states.StateWriter`."""
    extractors: Mapping[str, Callable[[Path | None, str], Any]] = field(default_factory=dict)
    """By name, what makes a `metrics.extractors.Extractor` from weights (None: the shipped ones)
    and a device. The first is the default for videos of this world."""
    judge: Callable[[], Any] | None = None
    """What makes an `evaluate.Judge`."""
    understand: Understand | None = None
    """Finds in free speech what the world can do. It is used for checkpoints whose states a state
    writer of this world wrote."""
    has_made: Callable[[Mapping[str, Any]], bool] = lambda facts: False
    """Whether a row is of this world, by what it states about it (`VideoRow.world`)."""


@dataclass(frozen=True)
class FirstFrame:
    """A first frame to try and what can be asked of it."""

    path: Path
    title: str
    instructions: list[str]


@functools.cache
def installed_worlds() -> dict[str, World]:
    """All worlds that installed packages bring, by name.

    Raises:
        ValueError: one cannot be loaded or is no `World`, or two have the same name.
    """
    found: dict[str, World] = {}
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.module
        try:
            world = entry.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"the world {entry.name!r} of the installed package {package!r} cannot be loaded "
                f"({error}). Install the package anew, or uninstall it."
            ) from None
        if not isinstance(world, World) or world.name in found:
            wrong = "has the name of another one" if isinstance(world, World) else "is no World"
            raise ValueError(
                f"the world {entry.name!r} of the installed package {package!r} {wrong}. Repair "
                "the package, or uninstall it."
            )
        found[world.name] = world
    return dict(sorted(found.items()))


def understanding_of(state_writer: str) -> Understand | None:
    """How the world that brings a state writer understands instructions; None without one."""
    for world in installed_worlds().values():
        if state_writer in world.state_writers:
            return world.understand
    return None


def ask_world(
    understand: Understand | None, frame: UInt8[np.ndarray, "H W 3"], instruction: str
) -> Understood:
    """What is understood of an instruction; without a world or words, the instruction itself.

    Raises:
        ValueError: it was not understood; the message says how to do without.
    """
    if understand is None or not instruction.strip():
        return Understood(instruction=instruction)
    try:
        return understand(frame, instruction)
    except ValueError as error:
        raise ValueError(
            f"{error} (With --understand false the model reads the words as they are.)"
        ) from None


def world_of(rows: Iterable[Mapping[str, Any]]) -> World | None:
    """The world that all rows are of, by their `VideoRow.world`; None if there is no such world."""
    facts = list(rows)
    for world in installed_worlds().values():
        if facts and all(map(world.has_made, facts)):
            return world
    return None


def read_frames(folder: Path) -> list[FirstFrame]:
    """The first frames of a folder with a `frames.json`.

    That file is `{"frames": [{"file": "a.png", "instructions": ["...", "..."], "title": "..."}]}`;
    the title may be missing.

    Raises:
        ValueError: there is no `frames.json`, or it is malformed.
    """
    file = folder / FRAMES
    if not file.is_file():
        raise ValueError(f"{str(folder)!r} holds no {FRAMES}. Give a folder of frames: --frames")
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["frames"]
        frames = [
            FirstFrame(
                folder / row["file"],
                str(row.get("title", Path(row["file"]).stem)),
                list(row["instructions"]),
            )
            for row in rows
        ]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{str(file)!r} is malformed ({type(error).__name__}: {error}). It needs "
            '{"frames": [{"file": "a.png", "instructions": ["..."]}]}'
        ) from None
    if not frames or not all(frame.instructions for frame in frames):
        raise ValueError(f"{str(file)!r} names no frame, or one without instructions.")
    return frames
