"""The optimizer, its learning rate, and the averaged weights, which are the ones saved."""

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from aid.config import LoopConfig

MIN_8BIT, BLOCK = 4096, 256
"""Weights of the smallest tensor whose moments have 8 bits; weights that share a scale (both
bitsandbytes')."""


def rate_factor(step: int, num_steps: int, warmup_steps: int, schedule: str) -> float:
    """The share of the peak rate at a step: a linear rise, then constant or a cosine to 0.02."""
    rise = min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant":
        return rise
    done = min(1.0, max(0, step - warmup_steps) / max(1, num_steps - warmup_steps))
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def make_optimizer(
    parameters: Mapping[str, nn.Parameter],
    config: LoopConfig,
    rates: Callable[[str], float] | None,
) -> torch.optim.Optimizer:
    """AdamW with one group for each peak rate.

    Args:
        parameters: what is trained, by name.
        config: decay, second beta, precision of the moments, the rate of all if `rates` is None.
        rates: the peak rate of a parameter by name.

    Raises:
        ValueError: the 8-bit one needs a package that is not installed.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(rates(name) if rates else config.learning_rate, []).append(parameter)
    settings = {
        "params": [{"params": ps, "lr": lr, "peak_lr": lr} for lr, ps in groups.items()],
        "betas": (0.9, config.beta2),
        "weight_decay": config.weight_decay,
    }
    if config.optimizer == "adamw_8bit":
        return _eight_bit()(**settings, min_8bit_size=MIN_8BIT)
    return torch.optim.AdamW(**settings, fused=True)


def _eight_bit() -> type[torch.optim.Optimizer]:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise ValueError(
            "optimizer 'adamw_8bit' needs bitsandbytes, which is not installed. Install it: pip "
            "install 'aid-video[eight-bit]', or use optimizer 'adamw'."
        ) from None
    return AdamW8bit


def moments_bytes(parameters: Iterable[Tensor], optimizer: str) -> int:
    """Bytes that the optimizer keeps of these parameters between steps.

    Two float32 numbers for each weight; or two bytes, a float32 scale for each 256 weights and two
    tables of 256 float32 numbers for each tensor.
    """
    total = 0
    for p in parameters:
        is_small = optimizer == "adamw" or p.numel() < MIN_8BIT
        total += 8 * p.numel() if is_small else 2 * (p.numel() + 4 * -(-p.numel() // BLOCK) + 1024)
    return total


def set_rate(optimizer: torch.optim.Optimizer, step: int, config: LoopConfig) -> None:
    """Sets each group's rate to its `peak_lr` times the factor of this step."""
    factor = rate_factor(step, config.steps, config.warmup_steps, config.schedule)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


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
