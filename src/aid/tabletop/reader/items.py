"""Reads from a first frame which items it shows: colours by their hue, shapes by their size.

Each group of pixels of one colour is measured (`measured_blobs`), and a normal distribution for
each shape says how likely its measures are. They were fitted by `fit_shapes` on frames of the
standard look and are in `assets/items.json`. Unlike the outcome reader, nothing but the frame is
given. A frame that shows anything else is not read at all.
"""

import functools
import json
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from aid.tabletop import ASSETS
from aid.tabletop.reader.colour import HUES, colour_maps, table_colour
from aid.tabletop.reader.matching import components
from aid.tabletop.reader.reading import working_size
from aid.tabletop.reader.sighting import MEASURES

FILE = ASSETS / "items.json"
LEAST_MASS = 8.0
"""Fewest pixels of a colour that are an item."""
MOST_UNLIKELY = 45.0
"""Largest squared Mahalanobis distance of an item from its shape; with 6 measures, one in 10^7."""
RATIO = 1e3
"""A shape that is this many times less likely than the likeliest one is ruled out."""
MOST_ITEMS = 8

Items = list[tuple[str, ...]]
"""For each item its possible names, the likeliest first."""


def items_in(frame: UInt8[np.ndarray, "H W 3"]) -> Items | None:
    """The items that a first frame shows; None if it does not look like the table-top.

    Args:
        frame: RGB in [0, 255], at least 64 pixels high.
    """
    height, width = frame.shape[:2]
    if height < 64 or height != width:
        return None
    blobs = measured_blobs(frame)
    if not 1 <= len(blobs) <= MOST_ITEMS:
        return None
    items: Items = []
    for colour, measures in blobs:
        likelihoods = {}
        for shape, (mean, covariance) in _distributions().items():
            apart = measures - mean
            distance = float(apart @ np.linalg.solve(covariance, apart))
            volume = float(np.linalg.slogdet(covariance)[1])
            likelihoods[shape] = -(distance + volume) / 2 if distance < MOST_UNLIKELY else -np.inf
        best = max(likelihoods.values())
        if not np.isfinite(best):
            return None
        ranked = sorted(likelihoods, key=lambda shape: -likelihoods[shape])
        least = best - np.log(RATIO)
        items.append(tuple(f"{colour} {shape}" for shape in ranked if likelihoods[shape] > least))
    return items


def measured_blobs(
    frame: UInt8[np.ndarray, "H W 3"],
) -> list[tuple[str, Float[np.ndarray, " 6"]]]:
    """Colour and measures of each group of pixels of one colour.

    The measures, at 64 rows: log of the mass, height and width (standard deviations), row of the
    centre as a share, and how the brightness falls downwards and varies, relative to its mean.
    """
    pixels = working_size(frame[None])[0]
    light = pixels.max(-1)
    rows, columns = np.indices(light.shape) + 0.5
    found = []
    for colour, weights in colour_maps(pixels, HUES, table_colour(pixels)).items():
        labels = components(weights, 0.3)
        for label in range(1, labels.max() + 1):
            blob = weights * (labels == label)
            if (mass := float(blob.sum())) <= LEAST_MASS:
                continue
            share = blob / mass
            down = rows - (share * rows).sum()
            along = columns - (share * columns).sum()
            mean = (share * light).sum()
            measures = np.array(
                [
                    np.log(mass),
                    np.sqrt((share * down**2).sum()),
                    np.sqrt((share * along**2).sum()),
                    (share * rows).sum() / len(rows),
                    (share * light * down).sum() / mean,
                    np.sqrt((share * (light - mean) ** 2).sum()) / mean,
                ]
            )
            found.append((colour, measures))
    return found


def fit_shapes(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], names: Iterable[Sequence[str]]
) -> dict[str, dict[str, list]]:
    """Mean and covariance of the measures of each shape, as `assets/items.json` holds them.

    Args:
        frames: first frames of the standard look.
        names: the items that each shows; those that share a colour are left out.
    """
    of_shapes: dict[str, list] = {shape: [] for shape in MEASURES}
    for frame, items in zip(frames, names, strict=True):
        blobs = measured_blobs(frame)
        for colour, measures in blobs:
            own = [name for name in items if name.split()[0] == colour]
            if len(own) == 1 and sum(other == colour for other, _ in blobs) == 1:
                of_shapes[own[0].split()[1]].append(measures)
    return {
        shape: {
            "mean": np.mean(rows, 0).round(6).tolist(),
            "covariance": np.cov(np.array(rows).T).round(9).tolist(),
        }
        for shape, rows in of_shapes.items()
    }


@functools.cache
def _distributions() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    fitted = json.loads(FILE.read_text(encoding="utf-8"))
    return {k: (np.array(v["mean"]), np.array(v["covariance"])) for k, v in fitted.items()}
