"""Videos that need no simulator."""

import numpy as np


def moving_square(num_frames: int = 5, size: int = 64, start: int = 8, step: int = 8) -> np.ndarray:
    """A red square that walks to the right over a grey table, uint8 `f H W 3`."""
    pixels = np.full((num_frames, size, size, 3), 120, np.uint8)
    for frame in range(num_frames):
        left = start + frame * step
        pixels[frame, size // 2 : size // 2 + 12, left : left + 12] = (200, 30, 30)
    return pixels
