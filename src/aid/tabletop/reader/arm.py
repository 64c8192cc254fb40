"""Finds the arm in an image: base and gripper are black, the forearm is grey like the table."""

import numpy as np
from jaxtyping import Float

from aid.tabletop.reader.colour import darkness
from aid.tabletop.reader.matching import Blob, centre_of_mass

ARM_OUT = 55.0
"""Changed black pixels from which on the arm counts as extended; a lift has 80 and more."""
GRIPPER_OUT = 15.0
"""Fewest new gripper pixels from which the gripper's position can be computed."""
FOREARM_HALF_WIDTH = 4.0
"""Half the width in pixels of the strip that the forearm may cover."""


def black_parts(
    frame: Float[np.ndarray, "H W 3"],
    maps: dict[str, Float[np.ndarray, "H W"]],
    table: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "H W"]:
    """The degree to which each pixel is black like base and gripper, and has no item's colour."""
    return darkness(frame, table) * (1 - np.max(list(maps.values()), axis=0))


def is_out(at_home: Float[np.ndarray, "H W"], black: Float[np.ndarray, "H W"]) -> bool:
    """Whether the arm is not at its rest pose."""
    return float(np.abs(black - at_home).sum()) > ARM_OUT


def forearm(
    at_home: Float[np.ndarray, "H W"], gripper: Float[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W"]:
    """The strip from base to gripper of the extended arm; the forearm is grey like the table."""
    if gripper.sum() < GRIPPER_OUT or at_home.sum() < GRIPPER_OUT:
        return np.zeros_like(gripper)
    base, hand = centre_of_mass(at_home), centre_of_mass(gripper)
    along = hand - base
    rows, columns = np.indices(gripper.shape) + 0.5
    points = np.stack([columns, rows], -1) - base
    steps = np.clip(points @ along / max(float(along @ along), 1e-9), 0, 1)
    apart = np.linalg.norm(points - steps[..., None] * along, axis=-1)
    return (apart < FOREARM_HALF_WIDTH).astype(gripper.dtype)


def grip(blob: Blob, offset: np.ndarray, black: Float[np.ndarray, "H W"]) -> float:
    """The number of black pixels directly above an item."""
    columns, rows = (int(step) for step in np.round(offset))
    ys, xs = np.nonzero(blob.moved((columns, rows)) > 0.5)
    if not len(ys):
        return 0.0
    top = ys.min()
    box = np.s_[max(top - 6, 0) : top + 2, max(xs.min() - 2, 0) : xs.max() + 3]
    return float(black[box].sum())
