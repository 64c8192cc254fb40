"""Writes the states of every video of a manifest, a few videos at a time.

Called by the command line, before `prepare` and `evaluate` or on its own. The writer stores a
language model's answers (`conditioning/language_model.py`), so a killed run can continue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.conditioning.language_model import LanguageModelStateWriter, WrittenStates
from aid.conditioning.states import StateWriter, checked_states, release
from aid.config import FrameConfig
from aid.data.frames import picture_of, read_frames
from aid.types import State, VideoRow

ANSWERS_FILE = Path("states") / "answers.jsonl"  # in a data set's folder
CHUNK = 64  # first frames in memory
_NOTHING = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class RowStates:
    """A video and the states that were written for it."""

    row: VideoRow
    result: WrittenStates


@dataclass(frozen=True, kw_only=True)
class FirstFrames:
    """How to read the first frame of each video as training sees it.

    `num_frames` is the number of frames of a training video; `height` and `width` are in pixels.
    """

    frames: FrameConfig
    num_frames: int
    height: int
    width: int

    def read(self, data: Path, row: VideoRow) -> UInt8[np.ndarray, "H W 3"]:
        """The first frame of a row's window, upright, resized and cropped."""
        read = read_frames(
            data / row.video, row, self.frames, self.num_frames, self.height, self.width
        )
        return picture_of(read.pixels[0])


def write_states(
    data: Path,
    rows: Sequence[VideoRow],
    writer: StateWriter,
    first_frames: FirstFrames,
    on_row: Callable[[int, int], None] | None = None,
) -> list[RowStates]:
    """The states of each video. Frees the memory of the writer's model at the end.

    Args:
        data: folder of the manifest.
        rows: all rows that the writer was made from, if it replays recorded ones.
        writer: the state writer.
        first_frames: how to read the frames, if the writer sees frames.
        on_row: called with (rows done, number of rows).

    Raises:
        ValueError: a video has no instruction or cannot be read, or the model cannot answer.
    """
    if missing := [row.id for row in rows if not row.instruction]:
        raise ValueError(
            f"{len(missing)} of {len(rows)} videos have no instruction, the first is "
            f"{missing[0]!r}. States are written from instructions; use a split that has them."
        )
    if not isinstance(writer, LanguageModelStateWriter):
        written = writer.write([_NOTHING] * len(rows), [row.instruction for row in rows])
        written = checked_states(writer, written, len(rows))
        if on_row is not None:
            on_row(len(rows), len(rows))
        return [
            RowStates(row, WrittenStates(states)) for row, states in zip(rows, written, strict=True)
        ]
    found: list[RowStates] = []
    try:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]

            def count(done: int, _: int, before: int = start) -> None:
                if on_row is not None:
                    on_row(before + done, len(rows))

            frames = [_NOTHING] * len(chunk)
            if writer.sees == "first_frame":
                frames = [first_frames.read(data, row) for row in chunk]
            results = writer.ask(frames, [row.instruction for row in chunk], count)
            found += map(RowStates, chunk, results)
    finally:
        release(writer)
    return found


def rows_with_states(results: Sequence[RowStates], writer: StateWriter) -> list[VideoRow]:
    """The rows with the written states and the writer's name.

    The time of a state in the video is unknown, so each state spans the whole video.
    """
    return [
        replace(
            one.row,
            states=[
                State(text=text, first_frame=0, last_frame=max(0, one.row.num_frames - 1))
                for text in one.result.states
            ],
            state_writer=writer.name,
            states_see=writer.sees,
        )
        for one in results
    ]
