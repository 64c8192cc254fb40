"""The optimizer and its learning rate."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from aid.config import LoopConfig


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
        config: decay, second beta, the rate of all if `rates` is None.
        rates: the peak rate of a parameter by name.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(rates(name) if rates else config.learning_rate, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": members, "lr": lr, "peak_lr": lr} for lr, members in groups.items()],
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, step: int, config: LoopConfig) -> None:
    """Sets each group's rate to its `peak_lr` times the factor of this step."""
    factor = rate_factor(step, config.steps, config.warmup_steps, config.schedule)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
