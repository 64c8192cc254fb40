"""The averaged weights, which are the ones shipped."""

from collections.abc import Mapping

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average of some parameters, kept in float32.

    ema <- d ema + (1 - d) p,  d = min(decay, (1 + step) / (10 + step))
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone().float() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Moves the average towards the present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            [self.weights[name] for name in parameters],
            [p.detach().float() for p in parameters.values()],
            1 - decay,
        )

    @torch.no_grad()
    def swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Exchanges the average and the present weights in place; call twice to come back."""
        for name, p in parameters.items():
            present = p.detach().clone()
            p.copy_(self.weights[name])
            self.weights[name].copy_(present)
