"""The protocol of a judge: an object that reads from the pixels what a video shows.

A judge needs rows whose world states facts about the first frame, such as its objects and the
tasks that it allows. `aid.tabletop.judge` is the table-top's. Other data sets are scored without.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from aid.types import VideoRow


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one video shows."""

    is_obeyed: bool
    """Whether the video does what its row's instruction asks, and nothing else."""
    shown: str | None
    """What the video shows, in words; None if it shows nothing that the judge knows."""
    obeys_given: bool | None
    """Whether the video does what the instruction asks that the model was given instead of the
    row's own; None if it was given the row's own, or if the judge cannot decide."""
    facts: dict[str, Any]
    """Written to report.json."""
    finding: Any
    """For the judge's own `scores`."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The judge's figures of one set of videos."""

    num_videos: int
    num_obeyed: int
    accuracy: float
    """Instruction accuracy: the share of videos that show the requested task and no other."""
    interval: tuple[float, float]
    """Its 95 % confidence interval."""
    obeys_given: float | None = None
    """The share of videos that obey the given instruction, where it is not the row's own."""
    details: dict[str, Any] = field(default_factory=dict)
    """The judge's further figures, plain JSON values."""
    columns: dict[str, str] = field(default_factory=dict)
    """These figures as further columns of the table: their cells by the columns' names."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `details` stand beside the other figures."""
        values = asdict(self)
        del values["details"], values["columns"]
        return values | self.details


@runtime_checkable
class Judge(Protocol):
    """Reads what videos show, and computes the figures of a set of videos."""

    name: str

    def can_judge(self, row: VideoRow) -> bool:
        """Whether the row states the facts that are needed to judge its videos."""
        ...

    def judge(
        self,
        row: VideoRow,
        given_frame: UInt8[np.ndarray, "H W 3"],
        video: UInt8[np.ndarray, "f H W 3"],
        other_row: VideoRow | None = None,
    ) -> Verdict:
        """The verdict on one video.

        Args:
            row: the row whose instruction the video is judged by.
            given_frame: the first frame that the model was given.
            video: the video that the model predicted.
            other_row: the row whose instruction the model was given instead, if it was.

        Raises:
            ValueError: the given frame contradicts the row, or the video has another size.
        """
        ...

    def scores(self, verdicts: Sequence[Verdict]) -> Scores:
        """The figures of one set of videos."""
        ...


def wilson_interval(successes: int, number: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927); (0, 1) if nothing was counted."""
    if number == 0:
        return 0.0, 1.0
    share, extra = successes / number, z * z / number
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / number + extra / (4 * number)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)
