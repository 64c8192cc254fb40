"""The training loop: learning rate, averaged weights, seeded randomness, saved state, report.

The caller gives the loss; `fit` does the rest. A saved state is safetensors and
JSON, never a pickle, and a resumed run is the same run (docs/reliability.md).
"""

from aid.optim.acceleration import make_accelerator, usable_device
from aid.optim.draws import generator_for, sample_generators
from aid.optim.log import JsonLog
from aid.optim.loop import fit
from aid.optim.optimizer import AveragedWeights, rate_factor
from aid.optim.state import flat

__all__ = [
    "AveragedWeights",
    "JsonLog",
    "fit",
    "flat",
    "generator_for",
    "make_accelerator",
    "rate_factor",
    "sample_generators",
    "usable_device",
]
