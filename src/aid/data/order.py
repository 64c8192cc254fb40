"""In which order training sees the rows: a pure function of (seed, epoch), at no cost of memory.

An epoch's order is a permutation that is computed one place at a time, so a set of any size costs
the same per row and nothing is kept. Called by `train`.
"""

NUM_ROUNDS = 6


def epoch_index(length: int, seed: int, epoch: int, position: int) -> int:
    """The row at a position of an epoch's order.

    A Feistel network permutes the numbers below the next power of four; those beyond the length are
    permuted again until they fall inside (Black and Rogaway 2002, "cycle walking").
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    key = _mix(_mix(seed) + epoch)
    low = (1 << half) - 1
    while True:
        left, right = position >> half, position & low
        for turn in range(NUM_ROUNDS):
            left, right = right, left ^ (_mix(key + (turn << 32) + right) & low)
        position = left << half | right
        if position < length:
            return position


def _mix(value: int) -> int:
    """64 bits that look random (the finalizer of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ value >> 31


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """The whole order of an epoch."""
    return [epoch_index(length, seed, epoch, position) for position in range(length)]


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> list[int]:
    """Which videos step `step` sees: the epochs' orders one after another, cut into batches."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [epoch_index(length, seed, *divmod(place, length)) for place in places]
