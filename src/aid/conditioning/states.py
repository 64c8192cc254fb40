"""Who says which states a video passes through: the place of AID's multi-modal language model.

`prepare.py` asks a state writer for every training video, `predict.py` for the video to come. A
writer is any object with `name`, `sees` and `write`; docs/states.md says how to add one.

Reference: AID, method: an MLLM reads first frame and instruction and tells the stages.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from aid.conditioning.rules import RuleStateWriter
from aid.types import Provenance, VideoRow


@runtime_checkable
class StateWriter(Protocol):
    """Says in words what happens, stage by stage.

    `name` goes into caches and checkpoints. `sees` is what the words are made from: "text" the
    instruction alone, "first_frame" the frame as well, "video" the very video that is to be
    predicted. States of the last kind know the answer: fit for training, unfit for a score.
    """

    name: str
    sees: Provenance

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each video, earliest first; an empty list where there is nothing to say.

        Args:
            frames: first frame of each video. A writer that does not see frames ignores them.
            instructions: one for each frame.
        """
        ...


class ReplayStateWriter:
    """The states that were recorded with a data set.

    It answers exactly one question: the states of all its rows, in their order. Where one writer
    wrote them all, it goes by that writer's name. `provenances` are those of all rows with states,
    `sees` the one of them that knows most.
    """

    name = "replay"

    def __init__(self, rows: Sequence[VideoRow]) -> None:
        self.rows = rows
        told = [row for row in rows if row.states]
        names = {row.state_writer for row in told} or {""}
        self.name = (names.pop() if len(names) == 1 else "") or "replay"
        self.provenances = sorted({row.states_see for row in told})
        by_knowledge: tuple[Provenance, ...] = ("video", "first_frame", "text")
        self.sees = next((kind for kind in by_knowledge if kind in self.provenances), "video")

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The recorded states of each row.

        Raises:
            ValueError: the instructions are not those of the rows, one by one.
        """
        recorded = [row.instruction for row in self.rows]
        if instructions != recorded:
            raise ValueError(
                f"the state writer 'replay' holds the states of {len(recorded)} recorded videos "
                f"and was asked about {len(instructions)} others. Make it from those rows, "
                "or use 'tabletop-rules' or 'none'."
            )
        return [[state.text for state in row.states] for row in self.rows]


class NoStateWriter:
    """Says nothing: the decomposed branch reads the empty sentence instead of states."""

    name = "none"
    sees: Provenance = "text"
    provenances: tuple[Provenance, ...] = ()

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """An empty list for each video."""
        return [[] for _ in instructions]


def provenances(writer: StateWriter) -> list[Provenance]:
    """What a writer's states are made from: several kinds where recorded ones are of several."""
    return list(getattr(writer, "provenances", [writer.sees]))


WRITERS = {
    ReplayStateWriter.name: ReplayStateWriter,
    RuleStateWriter.name: RuleStateWriter,
    NoStateWriter.name: NoStateWriter,
}


def choose_state_writer(name: str, rows: Sequence[VideoRow] | None = None) -> StateWriter:
    """The state writer of that name.

    Args:
        name: "replay", "tabletop-rules" or "none".
        rows: the recorded videos; only "replay" needs them.

    Raises:
        ValueError: there is none of that name, or "replay" was asked for without rows.
    """
    if name not in WRITERS:
        raise ValueError(f"no state writer is called {name!r}. Known: {', '.join(WRITERS)}.")
    if name != ReplayStateWriter.name:
        return WRITERS[name]()
    if rows is None:
        raise ValueError(
            "the state writer 'replay' repeats states recorded with videos, and here there is no "
            "recorded video. Use 'tabletop-rules' or 'none'."
        )
    return ReplayStateWriter(rows)
