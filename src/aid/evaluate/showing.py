"""Real videos beside predicted ones, to look at: a contact sheet, and videos side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from aid.video import contact_sheet, write_mp4, write_png

Video = UInt8[np.ndarray, "_ H W 3"]
GAP = 4
"""Pixels between two videos."""


def write_sheet(path: Path, pictures: Sequence[tuple[str, Video]]) -> None:
    """A row of frames for each video, its caption above."""
    scale = max(1, 128 // pictures[0][1].shape[1])
    write_png(path, contact_sheet(pictures, scale=scale))


def write_side_by_side(path: Path, panels: Sequence[tuple[str, Video]], fps: float) -> None:
    """One video with several beside each other, each under its caption."""
    number = min(len(video) for _, video in panels)
    height, width = panels[0][1].shape[1:3]
    scale = max(1, 128 // height)
    font, band = ImageFont.load_default(size=12), 18
    columns = []
    for caption, video in panels:
        top = Image.new("RGB", (width * scale, band), "white")
        ImageDraw.Draw(top).text((2, 2), caption, fill="black", font=font)
        large = video[:number].repeat(scale, 1).repeat(scale, 2)
        bands = np.broadcast_to(np.asarray(top), (number, band, width * scale, 3))
        columns.append(np.concatenate([bands, large], 1))
        columns.append(np.full((number, band + height * scale, GAP, 3), 255, np.uint8))
    write_mp4(path, np.concatenate(columns[:-1], 2), fps)
