"""The order in which training sees the rows: one permutation per epoch, made of (seed, epoch)."""

import functools

import numpy as np


@functools.lru_cache(maxsize=2)  # a batch may span the end of an epoch; 8 bytes per row are kept
def epoch_order(length: int, seed: int, epoch: int) -> np.ndarray:
    """The row numbers 0 to `length` - 1 in the order of an epoch."""
    return np.random.default_rng((seed, epoch)).permutation(length)


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The row numbers of a step: the epochs' orders, concatenated and cut into batches."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [
        int(epoch_order(length, seed, position // length)[position % length])
        for position in positions
    ]
