"""Pixels fitted to a size, and side by side on a sheet."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps


def fit(pixels: UInt8[np.ndarray, "H W 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Resizes the short side and cuts the centre, so that the result is `height` x `width`."""
    image = ImageOps.fit(Image.fromarray(pixels), (width, height), method=Image.Resampling.BICUBIC)
    return np.array(image)


def contact_sheet(
    rows: Sequence[tuple[str, UInt8[np.ndarray, "_ H W 3"]]], scale: int = 1, num_columns: int = 8
) -> Image.Image:
    """One row of frames per video with its caption above, frames spread evenly over the video.

    Args:
        scale: how many screen pixels wide a video pixel becomes.
    """
    height, width = (side * scale for side in rows[0][1].shape[1:3])
    font = ImageFont.load_default(size=max(11, height // 9))
    band = max(16, height // 6)
    sheet = Image.new("RGB", (num_columns * (width + 2), len(rows) * (height + band)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, pixels) in enumerate(rows):
        top = row * (height + band)
        draw.text((3, top + 1), caption, fill="black", font=font)
        for column, index in enumerate(np.linspace(0, len(pixels) - 1, num_columns).round()):
            frame = Image.fromarray(pixels[int(index)]).resize((width, height), Image.NEAREST)
            sheet.paste(frame, (column * (width + 2), top + band))
    return sheet
