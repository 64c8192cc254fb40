"""All randomness of training, as a function of counters: nothing is remembered between steps.

A resumed run therefore draws what the straight run drew. `sample_generators` goes further: what a
sample gets depends on its place in the whole batch of a step, so that splitting the batch over
processes or forward passes changes no draw.
"""

import hashlib
from collections.abc import Iterable

import torch


def generator_for(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """The randomness of one step: a function of (seed, step, stream), so resuming is exact."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 97 + stream) % (2**63))


def sample_generators(seed: int, step: int, places: Iterable[int]) -> list[torch.Generator]:
    """One generator a sample: a function of (seed, step, place in the step's whole batch)."""
    return [torch.Generator().manual_seed(_counter(seed, step, place)) for place in places]


def _counter(*numbers: int) -> int:
    """63 bits that differ for every tuple of numbers, as far as a hash can tell."""
    text = ",".join(map(str, numbers)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
