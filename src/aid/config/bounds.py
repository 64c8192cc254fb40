"""Bounds of settings, checked when a config is made: before anything takes memory or time.

Settings come from files of strangers, too. A bound here is far above what anybody runs, and far
below what a machine cannot hold.
"""

import math
import reprlib
from typing import Any

MOST_FRAMES = 4096
LARGEST_SIDE = 8192  # pixels; 8K
MOST_PIXELS = 1 << 28  # of all frames of a video: 32 frames of 4K
MOST_VIDEOS = 10_000  # predicted by one call
MOST_SEED = 2**62  # each further video adds 1; torch takes up to 2**63 - 1
LARGEST_WIDTH = 16_384  # of tokens inside a network


def require(config: Any, prefix: str = "", **bounds: tuple[int | float, int | float]) -> None:
    """Refuses settings that are no numbers from their lowest to their highest value.

    Args:
        config: has the settings; one that is None is not checked, of a tuple each part is.
        prefix: before a setting's name in the message.
        bounds: (lowest, highest) of each, both allowed.

    Raises:
        ValueError: with the value and the bounds.
    """
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None and not (_is_number(one) and low <= one <= high):
                raise ValueError(
                    f"{prefix}{name} must be from {low:.10g} to {high:.10g}, got "
                    f"{reprlib.repr(value)}."
                )


def require_size(height: int, width: int, num_frames: int = 1) -> None:
    """Refuses videos that no machine holds.

    Raises:
        ValueError: a side or the number of all pixels is beyond its bound.
    """
    for name, side in (("height", height), ("width", width)):
        if not _is_number(side) or not 1 <= side <= LARGEST_SIDE:
            raise ValueError(f"{name} must be from 1 to {LARGEST_SIDE} pixels, got {side!r}.")
    if height * width * num_frames > MOST_PIXELS:
        raise ValueError(
            f"{num_frames} frames of {width} x {height} are {height * width * num_frames:,} "
            f"pixels; the most is {MOST_PIXELS:,}. Ask for fewer or smaller frames."
        )


def require_videos(number: int) -> None:
    """Refuses a number of videos to predict that is none, or that no memory holds.

    Raises:
        ValueError: with the number.
    """
    if number < 1:
        raise ValueError(f"num_videos must be at least 1, got {number}.")
    if number > MOST_VIDEOS:
        raise ValueError(
            f"num_videos must be at most {MOST_VIDEOS}, got {number}. Predict more in further "
            "runs, with other seeds."
        )


def require_seed(seed: int, least: int = -MOST_SEED) -> None:
    """Refuses a seed below `least`, or one that a random generator cannot take.

    Raises:
        ValueError: with the seed.
    """
    if not least <= seed <= MOST_SEED:
        raise ValueError(f"seed must be from {least} to {MOST_SEED}, got {seed}. Try 0.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
