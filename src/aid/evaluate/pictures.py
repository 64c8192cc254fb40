"""A contact sheet of real and predicted videos, and videos that show all modes side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from aid.video import contact_sheet, write_mp4, write_png

Video = UInt8[np.ndarray, "_ H W 3"]
GAP, SHOWN_HEIGHT = 4, 192
"""Pixels between two videos, and the least height of a shown video in pixels."""


def write_sheet(path: Path, pictures: Sequence[tuple[str, Video]]) -> None:
    """Writes a row of frames for each video, with its caption above."""
    scale = max(1, 128 // pictures[0][1].shape[1])
    write_png(path, contact_sheet(pictures, scale=scale))


def write_side_by_side(
    path: Path, title: str, panels: Sequence[tuple[str, Video]], fps: float
) -> None:
    """Writes one video that shows several side by side, each with its label, below a title."""
    number = min(len(video) for _, video in panels)
    height, width = panels[0][1].shape[1:3]
    scale = max(1, SHOWN_HEIGHT // height)
    columns = []
    for label, video in panels:
        large = video[:number].repeat(scale, 1).repeat(scale, 2)
        columns.append(np.concatenate([_band(label, width * scale, number), large], 1))
        columns.append(np.full((number, *columns[-1].shape[1:2], GAP, 3), 255, np.uint8))
    beside = np.concatenate(columns[:-1], 2)
    write_mp4(path, np.concatenate([_band(title, beside.shape[2], number), beside], 1), fps)


def _band(text: str, width: int, number: int) -> UInt8[np.ndarray, "f h W 3"]:
    """A line of text on white in each of `number` frames."""
    band = Image.new("RGB", (width, 18), "white")
    font = ImageFont.load_default(size=12)
    ImageDraw.Draw(band).text((2, 2), text, fill="black", font=font)
    return np.broadcast_to(np.asarray(band), (number, 18, width, 3))
