"""Asks a state writer about every video of a manifest, a few at a time.

Called by the command line, before `prepare` and `evaluate` or on its own. What a language model
answers is kept by the writer (`conditioning/asking.py`), so a killed run goes on where it stopped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.conditioning.asking import AskingStateWriter, Said
from aid.conditioning.states import StateWriter, release
from aid.config import FrameConfig
from aid.data.frames import picture_of, read_frames
from aid.types import State, VideoRow

BOOK = Path("states") / "answers.jsonl"  # in a data set's folder
CHUNK = 64  # first frames in memory
_NOTHING = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class SaidOfRow:
    """A video and what its state writer said."""

    row: VideoRow
    said: Said


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What of a video a language model or a person is shown: the first frame that training sees.

    `num_frames` of a video are seen in training, `height` and `width` are in pixels.
    """

    frames: FrameConfig
    num_frames: int
    height: int
    width: int

    def of(self, data: Path, row: VideoRow) -> UInt8[np.ndarray, "H W 3"]:
        """The first given frame of a row: of its own window, upright, resized and cut."""
        read = read_frames(
            data / row.video, row, self.frames, self.num_frames, self.height, self.width
        )
        return picture_of(read.pixels[0])


def tell_rows(
    data: Path,
    rows: Sequence[VideoRow],
    writer: StateWriter,
    shown: Shown,
    on_row: Callable[[int, int], None] | None = None,
) -> list[SaidOfRow]:
    """What the writer says of each video. Its model's memory is given back at the end.

    Args:
        data: folder of the manifest.
        rows: all rows that the writer was made from, if it replays recorded ones.
        writer: who says.
        shown: what it sees of a video, if it sees frames.
        on_row: called with (done, all).

    Raises:
        ValueError: a video has no instruction or cannot be read, or the model cannot be asked.
    """
    if missing := [row.id for row in rows if not row.instruction]:
        raise ValueError(
            f"{len(missing)} of {len(rows)} videos have no instruction, the first is "
            f"{missing[0]!r}. States are told from instructions; use a split that has them."
        )
    if not isinstance(writer, AskingStateWriter):
        written = writer.write([_NOTHING] * len(rows), [row.instruction for row in rows])
        if on_row is not None:
            on_row(len(rows), len(rows))
        return [SaidOfRow(row, Said(states)) for row, states in zip(rows, written, strict=True)]
    told: list[SaidOfRow] = []
    try:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]

            def count(done: int, _: int, before: int = start) -> None:
                if on_row is not None:
                    on_row(before + done, len(rows))

            frames = [_NOTHING] * len(chunk)
            if writer.sees == "first_frame":
                frames = [shown.of(data, row) for row in chunk]
            said = writer.tell(frames, [row.instruction for row in chunk], count)
            told += map(SaidOfRow, chunk, said)
    finally:
        release(writer)
    return told


def into_rows(told: Sequence[SaidOfRow], writer: StateWriter) -> list[VideoRow]:
    """The rows with what was said as their states, and who said it.

    Nobody knows when in the video a state holds, so each spans all of it.
    """
    return [
        replace(
            one.row,
            states=[
                State(text=text, first_frame=0, last_frame=max(0, one.row.num_frames - 1))
                for text in one.said.states
            ],
            state_writer=writer.name,
            states_see=writer.sees,
        )
        for one in told
    ]
