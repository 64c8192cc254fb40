"""Instruction lift: whether other words make another video, measured without a simulator.

Two questions, in the space of an extractor's features. How far does a video move when only the
words change, as a share of how far the real videos of one first frame are apart? And which of the
k instructions of a frame made this video, if the nearest real one is the answer?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aid.metrics.distances import draws, interval
from aid.metrics.likeness import Number

NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Lift:
    """What words do to the videos of a model."""

    retrieval: dict[str, Number]
    """For each set the share of videos whose nearest real video is that of its instruction."""
    chance: float
    """What guessing among the k instructions of each frame would give."""
    moves: dict[str, Number]
    """For each way to change the words the mean change of the features; 1 is how far two real
    videos of the same first frame are apart on average."""


def lift_of(
    real: Float[np.ndarray, "n d"],
    sets: Mapping[str, Float[np.ndarray, "n d"]],
    changed: Mapping[str, tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]],
    scenes: Sequence[object],
) -> Lift | None:
    """The lift of a model; None if no first frame has several instructions.

    Args:
        real: features of the real videos, a row for each first frame and instruction.
        sets: of predicted videos, row by row told the same instruction as `real` shows.
        changed: by a title, features of two sets whose words differ and whose seeds are equal.
        scenes: the first frame of each row, as anything that can be compared.
    """
    groups: dict[object, list[int]] = {}
    for index, scene in enumerate(scenes):
        groups.setdefault(scene, []).append(index)
    forks = [rows for rows in groups.values() if len(rows) > 1]
    if not forks:
        return None
    rows = [index for fork in forks for index in fork]
    apart = np.mean([_distances(real[fork], real[fork])[~np.eye(len(fork), dtype=bool)].mean()
                     for fork in forks])  # fmt: skip

    def share(made: Float[np.ndarray, "n d"]) -> Number:
        hits = np.concatenate([_hits(_distances(made[fork], real[fork])) for fork in forks])
        return _mean(hits)

    return Lift(
        retrieval={name: share(made) for name, made in sets.items()},
        chance=float(np.mean([1 / len(fork) for fork in forks for _ in fork])),
        moves={
            title: _mean(np.linalg.norm(a[rows] - b[rows], axis=1) / apart)
            for title, (a, b) in changed.items()
        },
    )


def _distances(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n m"]:
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=-1)


def _hits(distances: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """1 where the own one is nearest; a tie is shared out, so that a constant video is chance."""
    nearest = distances <= distances.min(1, keepdims=True) * (1 + 1e-9)
    return np.diag(nearest) / nearest.sum(1)


def _mean(values: Float[np.ndarray, " n"]) -> Number:
    weights = draws(len(values), NUM_RESAMPLES, np.random.default_rng(0)) / len(values)
    low, high = interval(float(values.mean()), values @ weights)
    return Number(value=float(values.mean()), low=low, high=high, num_videos=len(values))
