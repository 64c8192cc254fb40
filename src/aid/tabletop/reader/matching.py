"""Finds a blob of the first frame in a later frame, also if it is partly hidden.

The template is the blob's colour map. The gain of an offset is the energy of the later map that the
template explains at that offset, on visible pixels only:

    gain(d) = sum_p visible(p) * (map(p)^2 - (map(p) - template(p - d))^2)

It is 0 where the map is empty and the template is hidden, and the template's energy for a perfect
match.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One item in the first frame: its share of its colour's map."""

    map: Float[np.ndarray, "H W"]

    @property
    def mass(self) -> float:
        """Its size in pixels."""
        return float(self.map.sum())

    @property
    def energy(self) -> float:
        """The gain of a perfect match."""
        return float((self.map**2).sum())

    @property
    def centre(self) -> Float[np.ndarray, " 2"]:
        """(column, row) of its centre of mass; a pixel's centre is at one half."""
        return centre_of_mass(self.map)

    def moved(self, offset: tuple[int, int]) -> Float[np.ndarray, "H W"]:
        """Its map, shifted by (columns, rows); parts outside of the image are cut off."""
        columns, rows = offset
        height, width = self.map.shape
        moved = np.zeros_like(self.map)
        target = np.s_[
            max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)
        ]
        source = np.s_[
            max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)
        ]
        moved[target] = self.map[source]
        return moved


def centre_of_mass(weights: Float[np.ndarray, "H W"]) -> Float[np.ndarray, " 2"]:
    """(column, row) of the centre of mass, in pixels from the picture's corner."""
    total = max(float(weights.sum()), 1e-9)
    rows, columns = np.indices(weights.shape) + 0.5
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / total


def components(weights: Float[np.ndarray, "H W"], threshold: float) -> Int[np.ndarray, "H W"]:
    """Numbers the connected groups of pixels above a threshold from 1; 0 elsewhere."""
    inside = weights > threshold
    labels = np.where(inside, np.arange(1, weights.size + 1).reshape(weights.shape), 0)
    while True:
        grown = np.where(inside, np.max(shifted(labels, 1), axis=0), 0)
        if np.array_equal(grown, labels):
            break
        labels = grown
    return np.unique(np.append(labels, 0), return_inverse=True)[1][:-1].reshape(labels.shape)


def main_part(weights: Float[np.ndarray, "H W"], count: int) -> Float[np.ndarray, "H W"]:
    """The map without specks, which are groups smaller than a third of the `count`-th largest."""
    labels = components(weights, 0.3)
    masses = np.bincount(labels.ravel(), weights.ravel())[1:]
    if not len(masses):
        return np.zeros_like(weights)
    enough = np.sort(masses)[::-1][min(count, len(masses)) - 1] / 3
    if len(masses) < count or enough < 3:
        enough = masses.max() / 3
    kept = np.isin(labels, 1 + np.flatnonzero(masses >= enough))
    near = np.max(shifted(kept, 1), axis=0)
    return weights * near


def shifted(values: np.ndarray, reach: int) -> list[np.ndarray]:
    """The map, shifted by every offset of up to `reach` pixels along both axes."""
    padded = np.pad(values, reach)
    height, width = values.shape
    steps = range(2 * reach + 1)
    return [padded[r : r + height, c : c + width] for r in steps for c in steps]


def halves(weights: Float[np.ndarray, "H W"]) -> list[Blob]:
    """Two blobs of one colour, separated by 2-means on their pixels; the larger first."""
    rows, columns = np.nonzero(weights > 0.05)
    mass = weights[rows, columns]
    points = np.stack([columns, rows], 1) + 0.5
    spread = points - np.average(points, axis=0, weights=mass)
    axis = np.linalg.eigh((spread * mass[:, None]).T @ spread)[1][:, 1]
    along = spread @ axis
    centres = points[[along.argmin(), along.argmax()]]
    for _ in range(20):
        nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(1)
        centres = np.stack(
            [np.average(points[nearest == k], axis=0, weights=mass[nearest == k]) for k in (0, 1)]
        )
    blobs = []
    for k in (0, 1):
        part = np.zeros_like(weights)
        part[rows[nearest == k], columns[nearest == k]] = mass[nearest == k]
        blobs.append(Blob(map=part))
    return sorted(blobs, key=lambda blob: -blob.mass)


@dataclass(frozen=True, kw_only=True)
class GainMap:
    """The gain of every offset. `gains[r, c]` belongs to the offset (c - W + 1, r - H + 1)."""

    gains: Float[np.ndarray, "R C"]

    def at(self, offset: tuple[int, int]) -> float:
        """The gain of an offset (columns, rows)."""
        columns, rows = offset
        height, width = ((side + 1) // 2 for side in self.gains.shape)
        return float(self.gains[rows + height - 1, columns + width - 1])

    def peaks(self, count: int) -> list[tuple[int, int]]:
        """The best offsets, no two within two pixels of each other."""
        gains = self.gains.copy()
        height, width = ((side + 1) // 2 for side in gains.shape)
        found = []
        for _ in range(count):
            row, column = np.unravel_index(gains.argmax(), gains.shape)
            if not np.isfinite(gains[row, column]):
                break
            found.append((int(column) - width + 1, int(row) - height + 1))
            gains[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = -np.inf
        return found

    def refined(self, offset: tuple[int, int]) -> Float[np.ndarray, " 2"]:
        """The offset with fractions of a pixel: the top of a parabola along each axis."""
        exact = np.array(offset, float)
        for axis, step in enumerate(((1, 0), (0, 1))):
            before, here, after = (
                self.at((offset[0] + k * step[0], offset[1] + k * step[1])) for k in (-1, 0, 1)
            )
            bend = before + after - 2 * here
            if np.isfinite(bend) and bend < -1e-9:
                exact[axis] += np.clip((before - after) / (2 * bend), -0.5, 0.5)
        return exact


def gain_map(
    blob: Blob, weights: Float[np.ndarray, "H W"], visible: Float[np.ndarray, "H W"]
) -> GainMap:
    """The gain of every offset that keeps the blob's centre in the image; -inf elsewhere."""
    height, width = weights.shape
    shape = (2 * height, 2 * width)

    def spectrum(values: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(values, shape)

    template = np.conj(spectrum(blob.map))
    squared = np.conj(spectrum(blob.map**2))
    gains = np.fft.irfft2(
        2 * spectrum(visible * weights) * template - spectrum(visible) * squared, shape
    )
    rows, columns = np.arange(1 - height, height), np.arange(1 - width, width)
    gains = gains[np.ix_(rows % shape[0], columns % shape[1])]
    column, row = blob.centre
    inside_rows = (rows + row >= 0) & (rows + row <= height)
    inside_columns = (columns + column >= 0) & (columns + column <= width)
    return GainMap(gains=np.where(np.outer(inside_rows, inside_columns), gains, -np.inf))


def is_still(offset: tuple[int, int]) -> bool:
    """Whether an offset is at most one pixel."""
    return max(map(abs, offset)) <= 1


def best_pair(
    blobs: Sequence[Blob],
    candidates: Sequence[list[tuple[int, int]]],
    weights: Float[np.ndarray, "H W"],
    visible: Float[np.ndarray, "H W"],
    stay_bonus: float,
) -> list[tuple[tuple[int, int], float]]:
    """The offsets of two blobs of one colour, found together so that they share the map.

    Args:
        blobs: the two templates.
        candidates: offsets to try for each blob; (0, 0) is always tried.
        weights: the colour's map in the later frame.
        visible: the degree to which nothing else covers a pixel.
        stay_bonus: additional gain, as a share of its energy, of a blob that has not moved, because
            most items do not move.

    Returns:
        For each blob its offset and the gain that it adds to the other's; for an unmoved blob its
        own gain, because the other blob may hide it.
    """

    def gain_of(template: Float[np.ndarray, "H W"]) -> float:
        return float((visible * (2 * weights * template - template**2)).sum())

    options = [list(dict.fromkeys([(0, 0), *offsets])) for offsets in candidates]
    moved = [[b.moved(o) for o in offsets] for b, offsets in zip(blobs, options, strict=True)]
    alone = [[gain_of(template) for template in templates] for templates in moved]
    best, choice, joint = -np.inf, (0, 0), 0.0
    for pair in itertools.product(*(range(len(offsets)) for offsets in options)):
        gain = gain_of(np.maximum(moved[0][pair[0]], moved[1][pair[1]]))
        bonus = sum(
            stay_bonus * blob.energy * is_still(offsets[k])
            for blob, offsets, k in zip(blobs, options, pair, strict=True)
        )
        if gain + bonus > best:
            best, choice, joint = gain + bonus, pair, gain
    found = []
    for this, other in ((0, 1), (1, 0)):
        offset = options[this][choice[this]]
        own, rest = alone[this][choice[this]], joint - alone[other][choice[other]]
        found.append((offset, own if is_still(offset) else rest))
    return found
