"""What a judge finds in a set of videos, as a few numbers."""

import math
from dataclasses import dataclass


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


def wilson_interval(successes: int, number: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927); (0, 1) if nothing was counted."""
    if number == 0:
        return 0.0, 1.0
    share, extra = successes / number, z * z / number
    middle = (share + extra / 2) / (1 + extra)
    half = z * math.sqrt(share * (1 - share) / number + extra / (4 * number)) / (1 + extra)
    return max(0.0, middle - half), min(1.0, middle + half)
