"""A contact sheet of real and predicted videos, and videos that show all modes side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.video import contact_sheet, side_by_side, write_mp4, write_png

Video = UInt8[np.ndarray, "_ H W 3"]


def write_sheet(path: Path, pictures: Sequence[tuple[str, Video]]) -> None:
    """Writes a row of frames for each video, with its caption above."""
    scale = max(1, 128 // pictures[0][1].shape[1])
    write_png(path, contact_sheet(pictures, scale=scale))


def write_side_by_side(
    path: Path, title: str, panels: Sequence[tuple[str, Video]], fps: float
) -> None:
    """Writes one video that shows several side by side, each with its label, below a title."""
    write_mp4(path, side_by_side(title, panels), fps)
