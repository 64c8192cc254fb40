"""The device and the precision of a computation, the same for every command.

The frozen networks, which are most of a model, are stored and compute in the precision. Trained
weights stay float32.
"""

import os
from typing import get_args

import torch

from aid.config import Precision


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The requested device, if this machine has it.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps", "xpu"; None takes an accelerator if there is one
            (CUDA, else MPS or XPU), else the CPU. Under a launcher (`torchrun`, `accelerate
            launch`) a process that names no number takes the device of its `LOCAL_RANK`.

    Raises:
        ValueError: there is no such device here.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    number = 0 if found is None else torch.accelerator.device_count()
    if device is None:
        device = "cpu" if found is None else found.type
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is not None and chosen.type == "cpu" and not chosen.index:
        return chosen
    if chosen is None or found is None or chosen.type != found.type:
        raise ValueError(
            f"device {str(device)!r} is not on this machine. {_choices(found, number)}"
        )
    if chosen.index is None and "LOCAL_RANK" in os.environ:
        chosen = torch.device(chosen.type, int(os.environ["LOCAL_RANK"]))
    if chosen.index is not None and chosen.index >= number:
        raise ValueError(
            f"device {str(chosen)!r} is not on this machine. {_choices(found, number)}"
        )
    return chosen


def _choices(found: torch.device | None, number: int) -> str:
    if found is None:
        return f"Use 'cpu': PyTorch {torch.__version__} finds no accelerator here."
    numbered = ", ".join(f"'{found.type}:{index}'" for index in range(number))
    return f"Use 'cpu', '{found.type}' or one of {numbered}."


def dtype_of(precision: str) -> torch.dtype:
    """The floating-point type of a precision.

    Raises:
        ValueError: there is none of that name.
    """
    if precision not in (known := get_args(Precision)):
        raise ValueError(f"precision must be one of {', '.join(known)}, got {precision!r}.")
    return getattr(torch, precision)
