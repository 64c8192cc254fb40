"""Frozen networks that wait in the CPU's memory and visit the GPU one at a time."""

from collections.abc import Sequence

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, send_to_device
from torch import nn


class OneAtATime(ModelHook):
    """Before a network runs, it moves to the device and the others leave it."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.networks, self.execution_device = networks, device

    def pre_forward(self, module: nn.Module, *args: object, **kwargs: object) -> tuple:
        """Accelerate calls this before `forward`, and diffusers before `encode` and `decode`."""
        for other in self.networks:
            if other is not module:
                other.to("cpu")
        module.to(self.execution_device)
        device = self.execution_device
        return send_to_device(args, device), send_to_device(kwargs, device)


def offload(networks: Sequence[nn.Module], device: torch.device | str) -> None:
    """From here on at most one of the networks is on the device; all begin in the CPU's memory."""
    for network in networks:
        network.to("cpu")
        add_hook_to_module(network, OneAtATime(networks, torch.device(device)))
