"""State writers write the states of a video; in the paper a multi-modal language model does.

`prepare` calls a state writer for every training video, `predict` for the video to predict. A
state writer is any object with `name`, `sees` and `write`; docs/states.md says how to add one.

Reference: AID, method: an MLLM reads first frame and instruction and tells the stages.
"""

import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from aid.conditioning.addresses import SCHEMES, language_model_writer
from aid.conditioning.language_model import LanguageModelStateWriter
from aid.config import AskingConfig
from aid.types import Provenance, VideoRow
from aid.worlds import installed_worlds


@runtime_checkable
class StateWriter(Protocol):
    """Describes in words what happens, stage by stage.

    `name` is written to caches and checkpoints. `sees` is what the states are written from: "text"
    is the instruction alone, "first_frame" the frame as well, "video" the video that is to be
    predicted. States of the last kind contain the answer: use them for training, not for scores.
    """

    name: str
    sees: Provenance

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each video, earliest first; an empty list if there are none.

        Args:
            frames: first frame of each video. A writer that sees text only ignores them.
            instructions: one for each frame.
        """
        ...


class ReplayStateWriter:
    """The states that were recorded with a data set.

    It can only write the states of all its rows, in their order. If one writer has written them
    all, `name` is that writer's; if no row has states, "none". `provenances` are those of all rows
    with states, `sees` the one of them with most knowledge.
    """

    name = "replay"

    def __init__(self, rows: Sequence[VideoRow]) -> None:
        self.rows = rows
        with_states = [row for row in rows if row.states]
        names = {row.state_writer for row in with_states}
        default = "replay" if with_states else "none"
        self.name = (names.pop() if len(names) == 1 else "") or default
        self.provenances = sorted({row.states_see for row in with_states})
        by_knowledge: tuple[Provenance, ...] = ("video", "first_frame", "text")
        self.sees = next((kind for kind in by_knowledge if kind in self.provenances), "text")

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The recorded states of each row.

        Raises:
            ValueError: the instructions are not those of the rows, in their order.
        """
        _require_same_rows("replay", self.rows, instructions)
        return [[state.text for state in row.states] for row in self.rows]


class ColumnStateWriter:
    """States in a column of the data set, `world[key]` of each row.

    The value is a list of sentences, or one text with a line for each. `sees` is "video", because
    annotators have seen the video.
    """

    sees: Provenance = "video"

    def __init__(self, key: str, rows: Sequence[VideoRow]) -> None:
        self.name, self.key, self.rows = f"column:{key}", key, rows

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states in the column of each row; none if the row lacks the column.

        Raises:
            ValueError: the instructions are not those of the rows, no row has the column, or a row
                has another kind of value in it.
        """
        _require_same_rows(self.name, self.rows, instructions)
        if not any(self.key in row.world for row in self.rows):
            known = sorted({key for row in self.rows for key in row.world})
            raise ValueError(
                f"no video has a column {self.key!r} in its `world`. "
                + (f"Columns: {', '.join(known)}." if known else "No video has any column.")
            )
        return [self._states(row) for row in self.rows]

    def _states(self, row: VideoRow) -> list[str]:
        value = row.world.get(self.key, [])
        lines = value.splitlines() if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError(
                f"video {row.id!r}: column {self.key!r} holds {value!r}, which is neither a list "
                "of sentences nor a text. Name another column."
            )
        return [line.strip() for line in lines if line.strip()]


class UnavailableStateWriter:
    """Stands for a checkpoint's state writer that is only used if the user names it.

    Recorded states do not exist for new frames. A server or a language model is asked only if the
    user names it: a checkpoint may come from a stranger, and must not make a program connect to the
    network or load another model.
    """

    sees: Provenance = "text"
    provenances: tuple[Provenance, ...] = ()

    def __init__(self, trained_on: str) -> None:
        shown = repr(trained_on if len(trained_on) <= 80 else trained_on[:77] + "...")
        self.name = f"to be given (trained on states by {shown})"
        if trained_on.startswith(SCHEMES):
            self._reason = f"{shown}, a language model that is only used if you name it yourself"
        elif trained_on == ReplayStateWriter.name or trained_on.startswith("column:"):
            self._reason = f"{shown}: recorded states, which do not exist for a new frame"
        else:
            self._reason = f"{shown}, which is no state writer of this version"

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """Never returns.

        Raises:
            ValueError: always, with the remedy.
        """
        raise ValueError(
            f"this model was trained on states by {self._reason}. Give the states (--states, "
            "states=[...]) or name a writer (--states_from, state_writer=...): "
            f"{', '.join([*_writers_of_worlds(), NoStateWriter.name])}, or a language model as in "
            "docs/states.md."
        )


class NoStateWriter:
    """Writes no states: the decomposed branch reads the empty sentence instead."""

    name = "none"
    sees: Provenance = "text"
    provenances: tuple[Provenance, ...] = ()

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """An empty list for each video."""
        return [[] for _ in instructions]


def _require_same_rows(name: str, rows: Sequence[VideoRow], instructions: list[str]) -> None:
    recorded = [row.instruction for row in rows]
    if instructions != recorded:
        raise ValueError(
            f"the state writer {name!r} holds the states of {len(recorded)} recorded videos, but "
            f"states of {len(instructions)} other videos are needed. Make it from those rows, or "
            "use 'none' or another writer."
        )


def provenances(writer: StateWriter) -> list[Provenance]:
    """What a writer's states are written from; recorded states may be of several kinds."""
    return list(getattr(writer, "provenances", [writer.sees]))


def _writers_of_worlds() -> dict[str, Callable[[], StateWriter]]:
    """The state writers that installed worlds bring, by name."""
    return {
        name: make
        for world in installed_worlds().values()
        for name, make in world.state_writers.items()
    }


def choose_state_writer(
    name: str,
    rows: Sequence[VideoRow] | None = None,
    answers_file: Path | None = None,
    asking: AskingConfig | None = None,
    device: str | None = None,
) -> StateWriter:
    """The state writer of that name.

    Args:
        name: "replay", "none", "column:KEY", one that a world brings (`aid.worlds`), or the address
            of a language model (`conditioning/addresses.py`).
        rows: the recorded videos; only "replay" and "column:KEY" need them.
        answers_file: the file that stores a language model's answers.
        asking: settings of the requests to a language model.
        device: of a model on this machine; None takes an accelerator if there is one.

    Raises:
        ValueError: no state writer has that name, or it needs rows and there are none.
    """
    if name.startswith(SCHEMES):
        return language_model_writer(name, answers_file, asking, device)
    kind, _, key = name.partition(":")
    is_column = kind == "column" and key != ""
    makers = {**_writers_of_worlds(), NoStateWriter.name: NoStateWriter}
    if name in makers:
        return makers[name]()
    if name != ReplayStateWriter.name and not is_column:
        known = ", ".join([ReplayStateWriter.name, *makers])
        raise ValueError(
            f"no state writer is called {name!r}. Known: {known}, column:KEY, "
            "vlm:MODEL, server:URL#MODEL, smollm2."
        )
    if rows is None:
        raise ValueError(
            f"the state writer {name!r} needs states recorded with videos, and there are no "
            "recorded videos here. Use 'none', another writer or a language model."
        )
    return ColumnStateWriter(key, rows) if is_column else ReplayStateWriter(rows)


def state_writer_of_checkpoint(name: str) -> StateWriter:
    """The writer that a checkpoint names, if it is installed code that needs no model.

    Args:
        name: the `state_writer` of the checkpoint, which may come from a stranger.

    Returns:
        That writer, or an `UnavailableStateWriter`.
    """
    makers = {**_writers_of_worlds(), NoStateWriter.name: NoStateWriter}
    return makers[name]() if name in makers else UnavailableStateWriter(name)


def release(writer: StateWriter) -> None:
    """Frees the memory of a writer that has loaded a model."""
    if isinstance(writer, LanguageModelStateWriter):
        writer.release()


def write_and_release(
    writer: StateWriter, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
) -> list[list[str]]:
    """The result of `writer.write`; then frees the memory of a model that it has loaded."""
    try:
        return checked_states(writer, writer.write(frames, instructions), len(instructions))
    finally:
        release(writer)


def checked_states(writer: StateWriter, written: object, number: int) -> list[list[str]]:
    """What a writer returned, if it is a list of sentences for each of `number` videos.

    Raises:
        ValueError: it is something else.
    """
    is_list = isinstance(written, list) and len(written) == number
    if not is_list or not all(
        isinstance(states, list) and all(isinstance(state, str) for state in states)
        for states in written
    ):
        raise ValueError(
            f"the state writer {getattr(writer, 'name', type(writer).__name__)!r} returned "
            f"{reprlib.repr(written)} for {number} videos; it must return a list of sentences for "
            "each, such as [['the arm moves', 'the can is lifted']]."
        )
    return written
