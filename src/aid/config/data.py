"""Which videos of a data set are read, and which frames of them a model sees."""

import math
from dataclasses import dataclass
from typing import Literal

from aid.config.bounds import LARGEST_SIDE, require

MOST_WINDOWS = 100_000
"""Of one episode: an hour has as many at 28 a second."""
TRAIN, HELD_OUT = "train", "held_out"
"""The splits of a data set that holds episodes out."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Which videos of a data set are read, and what its lists do not say."""

    format: str | None = None
    """Name of the data set's format (docs/data.md); null finds it out."""
    split: str | None = None
    """Only this split, as the data set calls it."""
    camera: str | None = None
    """Only this camera, by its name or the last part of it."""
    limit: int | None = None
    """Only the first so many videos, counted before windows are cut from them."""
    fps: float | None = None
    """Frames a second where the data set does not say."""
    strip_distractors: bool = False
    """Whether the word "distractors" is dropped from BridgeData's instructions, as Seer does."""
    hold_out: float = 0.0
    """Share of the episodes that is kept out of training, in [0, 1). Above 0 the splits are "train"
    and "held_out", whole episodes with all their cameras, and "train" is read unless `split` is
    given."""
    hold_out_seed: int = 0
    """Decides which episodes are held out."""

    def __post_init__(self) -> None:
        """Refuses settings that no data set can meet."""
        if not 0 <= self.hold_out < 1:
            raise ValueError(
                f"hold_out is the share of the episodes that is kept out of training, from 0 up to "
                f"but without 1, got {self.hold_out}. Try 0.15"
            )
        if self.hold_out and self.split not in (None, TRAIN, HELD_OUT):
            raise ValueError(
                f"with hold_out = {self.hold_out} the splits are 'train' and 'held_out', asked is "
                f"{self.split!r}. Choose one of them, or leave hold_out out to read the data set's "
                "own splits."
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}.")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"fps must be above 0, got {self.fps}.")


@dataclass(frozen=True, kw_only=True)
class FrameConfig:
    """Which frames of a video are taken, and what is made of them."""

    sampling: Literal["uniform_index", "seer_trilinear"] = "uniform_index"
    """Frames of their own, evenly from first to last; or Seer's blends of neighbouring frames,
    which ghost: for comparison with published numbers only. Not in the paper."""
    height: int | None = None
    """Pixels; None takes the first video's. The short side is resized, the centre is cut. Not in
    the paper."""
    width: int | None = None
    """Likewise. Not in the paper."""
    fps: float | None = None
    """Frames a second of a window: frame i is the one nearest to i / fps seconds after the window's
    start. None spreads the frames evenly over the whole episode, however long it is. Not in the
    paper."""
    seconds: float | None = None
    """Instead of `fps`: seconds that a window lasts, its number of frames / fps. Not in the
    paper."""
    windows: int | Literal["all"] = 1
    """Windows cut from each episode: so many, evenly from its start to its end (1: at its start),
    or all that fit, one after another. Not in the paper."""
    stride_seconds: float | None = None
    """With `windows: all`, seconds from the start of one window to the next; None is as long as a
    window lasts, so that they do not overlap. Not in the paper."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        for name in ("fps", "seconds", "stride_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"frames.{name} must be above 0, got {value}.")
        if self.fps is not None and self.seconds is not None:
            raise ValueError(
                f"frames.fps = {self.fps:g} and frames.seconds = {self.seconds:g} both say how "
                "long a window lasts. Give one of them."
            )
        is_window = self.fps is not None or self.seconds is not None
        if self.windows != "all" and self.windows < 1:
            raise ValueError(f"frames.windows must be at least 1, or all, got {self.windows}.")
        if self.windows != "all" and self.windows > MOST_WINDOWS:
            raise ValueError(
                f"frames.windows must be at most {MOST_WINDOWS}, or all, got {self.windows}."
            )
        if self.windows != 1 and not is_window:
            raise ValueError(
                f"frames.windows = {self.windows} cuts windows, and nothing says how long one "
                "lasts. Give frames.fps or frames.seconds."
            )
        if self.stride_seconds is not None and self.windows != "all":
            raise ValueError(
                "frames.stride_seconds is for all windows of an episode. Give frames.windows all, "
                "or leave it out."
            )
        if is_window and self.sampling == "seer_trilinear":
            raise ValueError(
                "frames.sampling seer_trilinear blends the frames of whole episodes. Leave "
                "frames.fps and frames.seconds out, or sample with uniform_index."
            )
        for name in ("height", "width"):
            value = getattr(self, name)
            if value is not None and (value < 8 or value % 8):
                raise ValueError(
                    f"frames.{name} must be a multiple of 8, got {value}. "
                    f"Try {max(8, value // 8 * 8)}."
                )
        require(self, "frames.", height=(8, LARGEST_SIDE), width=(8, LARGEST_SIDE))

    def rate(self, num_frames: int) -> float | None:
        """Frames a second of a window of `num_frames`; None where a whole episode is one."""
        return self.fps if self.seconds is None else num_frames / self.seconds
