"""Which videos of a data set are read, and which frames of them a model sees."""

from dataclasses import dataclass
from typing import Literal


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
    """Only the first so many videos."""
    fps: float | None = None
    """Frames a second where the data set does not say."""
    strip_distractors: bool = False
    """Whether the word "distractors" is dropped from BridgeData's instructions, as Seer does."""

    def __post_init__(self) -> None:
        """Refuses settings that no data set can meet."""
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}.")
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise ValueError(f"fps must be above 0, got {self.fps}.")


@dataclass(frozen=True, kw_only=True)
class FrameConfig:
    """Which frames of a video are taken, and what is made of them."""

    sampling: Literal["uniform_index", "seer_trilinear"] = "uniform_index"
    """Frames of their own, evenly from first to last; or Seer's blends of neighbouring frames,
    which ghost: for comparison with published numbers only. Ours."""
    height: int | None = None
    """Pixels; None takes the first video's. The short side is resized, the centre is cut. Ours."""
    width: int | None = None
    """Likewise. Ours."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        for name in ("height", "width"):
            value = getattr(self, name)
            if value is not None and (value < 8 or value % 8):
                raise ValueError(
                    f"frames.{name} must be a multiple of 8, got {value}. "
                    f"Try {max(8, value // 8 * 8)}."
                )
