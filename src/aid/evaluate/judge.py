"""Who says what a video shows: the protocol between `evaluate` and a world that can read its own.

A world whose rows state facts (which objects there are, which tasks the first frame allows) brings
a judge along; `evaluate/tabletop.py` is the table-top's. Other data sets are scored without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from aid.metrics.scorecard import Scores
from aid.types import VideoRow


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one video shows.

    `shown` is it in words, None if it shows nothing that the judge knows. `obeys_told` is whether
    the video does what the model was told, where that is not what the row asks (None: it is, or
    the judge cannot say). `facts` go into report.json; `finding` is for the judge's own `scores`.
    """

    is_obeyed: bool
    shown: str | None
    obeys_told: bool | None
    facts: dict[str, Any]
    finding: Any


@runtime_checkable
class Judge(Protocol):
    """Reads videos, and sums up what it read."""

    name: str

    def can_judge(self, row: VideoRow) -> bool:
        """Whether the row states the facts that judging its videos needs."""
        ...

    def judge(
        self,
        row: VideoRow,
        given_frame: UInt8[np.ndarray, "H W 3"],
        video: UInt8[np.ndarray, "f H W 3"],
        told: VideoRow | None = None,
    ) -> Verdict:
        """The verdict on one video.

        Args:
            row: what is asked.
            given_frame: the first frame, as given to the model.
            video: what the model made of it.
            told: the row whose instruction the model was told, if that is another one.

        Raises:
            ValueError: the given frame contradicts the row, or the video has another size.
        """
        ...

    def scores(self, verdicts: Sequence[Verdict]) -> Scores:
        """The numbers of one set of videos."""
        ...
