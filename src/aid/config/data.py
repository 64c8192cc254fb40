"""How videos are turned into the frames that a model sees."""

from dataclasses import dataclass
from typing import Literal


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
