"""Draws square textures from a seed: wood, tiles, stripes, noise and others, in two colours."""

import io

import numpy as np
from jaxtyping import Float
from PIL import Image

TEXTURES = ("flat", "gradient", "checker", "stripes", "tiles", "wood", "noise", "cloth")
SIZE = 256
_Mask = Float[np.ndarray, "256 256"]


def texture_png(
    name: str,
    colours: tuple[tuple[float, float, float], tuple[float, float, float]],
    seed: int,
) -> bytes:
    """A PNG file of 256 x 256 pixels.

    Args:
        name: one of `TEXTURES`.
        colours: two RGB colours in [0, 1]; the pattern says how much of each is where.
        seed: of the pattern.
    """
    share = np.clip(_share(name, np.random.default_rng([7303, seed])), 0, 1)[..., None]
    pixels = (1 - share) * np.array(colours[0]) + share * np.array(colours[1])
    file = io.BytesIO()
    Image.fromarray(np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _share(name: str, random: np.random.Generator) -> _Mask:
    """The second colour's share at each pixel."""
    v, u = np.meshgrid(np.arange(SIZE) / SIZE, np.arange(SIZE) / SIZE, indexing="ij")
    if random.random() < 0.5:
        u, v = v, u
    count = int(random.integers(2, 9))
    if name == "flat":
        return 0.1 * _noise(random, (64, 64))
    if name == "gradient":
        return u
    if name == "checker":
        return ((np.floor(count * u) + np.floor(count * v)) % 2).astype(float)
    if name == "stripes":
        return (count * u % 1 < random.uniform(0.2, 0.8)).astype(float)
    if name == "tiles":
        joint = random.uniform(0.03, 0.10)
        is_joint = (count * u % 1 < joint) | (count * v % 1 < joint)
        per_tile = random.random((count, count))[
            (count * v).astype(int) % count, (count * u).astype(int) % count
        ]
        return np.where(is_joint, 1.0, 0.4 * per_tile)
    if name == "wood":
        rings = 0.5 + 0.5 * np.sin(
            2
            * np.pi
            * (2 * count * u + 1.5 * _noise(random, (3, 5)) + 0.3 * _noise(random, (4, 32)))
        )
        return 0.75 * rings + 0.25 * _noise(random, (4, 128))
    if name == "noise":
        return sum(_noise(random, (2**k, 2**k)) / 2 ** (k - 1) for k in range(2, 7))
    return 0.5 * (4 * count * u % 1 < 0.5) + 0.5 * (4 * count * v % 1 < 0.5)  # cloth


def _noise(random: np.random.Generator, cells: tuple[int, int]) -> _Mask:
    """Random numbers in [0, 1] on a periodic grid of cells, interpolated linearly."""
    values = random.random(cells)
    for axis, number in enumerate(cells):
        at = np.arange(SIZE) * number / SIZE
        low = at.astype(int)
        weight = np.moveaxis((at - low).reshape(-1, 1), 0, axis)
        values = (1 - weight) * values.take(low, axis) + weight * values.take(
            (low + 1) % number, axis
        )
    return values
