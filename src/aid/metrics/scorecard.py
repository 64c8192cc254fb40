"""Many judgements of table-top videos as a few numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aid.metrics.instruction import Judgement, wilson_interval
from aid.wording import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one set of videos is worth. Shares are in [0, 1], lengths in metres."""

    num_videos: int
    num_obeyed: int
    accuracy: float
    """Instruction accuracy: share of videos that show the asked task and no other."""
    interval: tuple[float, float]
    """Its 95 % confidence interval (Wilson)."""
    outcome_holds: float
    """Share in which the asked outcome is there, whatever else happened."""
    right_object: float
    """Share in which the asked object moved and no other object did."""
    families: dict[str, tuple[int, int]]
    """For each family of tasks how many videos obeyed, of how many."""
    bystander_displacement: float | None
    """Mean displacement of the items that nobody told to move; None if all are lost."""
    items_lost: float
    """Share of the items that are in the given frame and cannot be found at the end."""
    obeys_told: float | None = None
    """Share that obeys the instruction that the model was told, where that is not the asked one."""


def scores_of(
    judgements: Sequence[Judgement], by_told: Sequence[Judgement] | None = None
) -> Scores:
    """The numbers of one set of videos.

    Args:
        judgements: one for each video, against the asked instruction.
        by_told: the same videos against the instruction that the model was told, if that was
            another; then those not asked to move are judged by it, too.
    """
    assert judgements
    number, obeyed = len(judgements), sum(one.is_obeyed for one in judgements)
    families = {}
    for family in FAMILIES:
        if ours := [one for one in judgements if one.asked.family == family]:
            families[family] = (sum(one.is_obeyed for one in ours), len(ours))
    ways = [one.bystander_displacement for one in by_told or judgements]
    known = [way for way in ways if way is not None]
    return Scores(
        num_videos=number,
        num_obeyed=obeyed,
        accuracy=obeyed / number,
        interval=wilson_interval(obeyed, number),
        outcome_holds=float(np.mean([one.holds for one in judgements])),
        right_object=float(np.mean([one.is_right_object for one in judgements])),
        families=families,
        bystander_displacement=float(np.mean(known)) if known else None,
        items_lost=sum(one.num_lost for one in judgements)
        / sum(one.num_items for one in judgements),
        obeys_told=None if by_told is None else float(np.mean([o.is_obeyed for o in by_told])),
    )
