"""Colour maps: the degree in [0, 1] to which each pixel has an item's colour.

The table is neutral and the arm grey or black, so a pixel belongs to an item to the degree that it
is saturated and has the item's hue. Lighting changes brightness, but hardly hue.
"""

import numpy as np
from jaxtyping import Float

HUES = {
    "red": 0.0,
    "orange": 26.0,
    "yellow": 53.0,
    "green": 127.0,
    "blue": 230.0,
    "purple": 281.0,
}
"""Hue of each paint, in degrees."""
HUE_SPREAD = 9.0
SATURATION_RAMP = (0.12, 0.45)
"""Saturation above the table's own at which a pixel has weight 0 and weight 1."""
CHROMA_RAMP = (0.08, 0.24)
"""The same for chroma, because the hue of dark pixels is unreliable."""
DARK_RAMP = (0.40, 0.58)
"""Brightness, as a share of the table's, below which a grey pixel is the gripper."""


def smooth(frames: Float[np.ndarray, "... H W 3"]) -> Float[np.ndarray, "... H W 3"]:
    """Frames smoothed with (1, 2, 1)/4 along both axes, against noise."""
    for axis in (-3, -2):
        size = frames.shape[axis]
        before = np.take(frames, np.maximum(np.arange(size) - 1, 0), axis)
        after = np.take(frames, np.minimum(np.arange(size) + 1, size - 1), axis)
        frames = (before + 2 * frames + after) / 4
    return frames


def hue_and_chroma(
    frame: Float[np.ndarray, "H W 3"],
) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """Hue in degrees, and distance from grey in [0, 1]."""
    red, green, blue = np.moveaxis(frame, -1, 0)
    along, across = red - (green + blue) / 2, np.sqrt(3) / 2 * (green - blue)
    return np.degrees(np.arctan2(across, along)) % 360, np.hypot(along, across)


def colour_maps(
    frame: Float[np.ndarray, "H W 3"],
    hues: dict[str, float],
    table: Float[np.ndarray, " 3"],
) -> dict[str, Float[np.ndarray, "H W"]]:
    """For each colour the degree to which each pixel has it, in [0, 1].

    Args:
        frame: RGB in [0, 1].
        hues: the colours to separate, as hues in degrees.
        table: the table's colour.
    """
    hue, chroma = hue_and_chroma(frame)
    saturation = chroma / np.maximum(frame.max(-1), 0.05)
    own = float(hue_and_chroma(table[None, None])[1][0, 0]) / max(float(table.max()), 0.05)
    strength = ramp(saturation - own, SATURATION_RAMP) * ramp(chroma, CHROMA_RAMP)
    apart = {name: (hue - angle + 180) % 360 - 180 for name, angle in hues.items()}
    likely = {name: np.exp(-0.5 * (d / HUE_SPREAD) ** 2) for name, d in apart.items()}
    total = 0.02 + sum(likely.values())
    return {name: strength * value / total for name, value in likely.items()}


def table_colour(frame: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, " 3"]:
    """The median colour, which is the table's."""
    return np.median(frame.reshape(-1, 3), 0)


def darkness(
    frame: Float[np.ndarray, "H W 3"], table: Float[np.ndarray, " 3"]
) -> Float[np.ndarray, "H W"]:
    """The degree to which each pixel is black like the gripper, in [0, 1]."""
    return 1 - ramp(frame.max(-1) / max(float(table.max()), 0.05), DARK_RAMP)


def ramp(values: Float[np.ndarray, "..."], ends: tuple[float, float]) -> Float[np.ndarray, "..."]:
    """0 below the first end, 1 above the second, linear between."""
    low, high = ends
    return np.clip((values - low) / (high - low), 0, 1)
