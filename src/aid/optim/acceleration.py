"""An accelerate `Accelerator` for one device and one precision."""

import os
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from aid.models.devices import choose_device, dtype_of

MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def _is_alone() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def usable_device(device: str | None, precision: str) -> torch.device:
    """The device of a run with this precision.

    Args:
        device: as for `choose_device`. Under a launcher every process takes its own.
        precision: of the forward pass.

    Raises:
        ValueError: the device is not there, is one for several processes, or is a CPU, on which
            accelerate has no gradient scaler and would compute float16 as float32.
    """
    dtype_of(precision)
    if device is None and os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        device = "cpu"
    chosen = choose_device(device)
    if not _is_alone() and device is not None and ":" in str(device):
        raise ValueError(
            f"device {device!r} is one device for {os.environ['WORLD_SIZE']} processes. Leave the "
            "number out: each process takes its own."
        )
    if precision == "float16" and chosen.type == "cpu":
        raise ValueError(
            "precision 'float16' trains on a GPU only, and this run is on a CPU. Use 'bfloat16' "
            "or 'float32'."
        )
    return chosen


def make_accelerator(
    device: str | None = None, precision: str = "float32", **settings: Any
) -> Accelerator:
    """Puts accelerate on the device, with autocast, and for float16 with a gradient scaler.

    accelerate keeps its choice for the whole process. A single process may choose again here.

    Args:
        device: as for `choose_device`. Under a launcher every process takes its own.
        precision: of the forward pass; trained weights stay float32.
        settings: more of `Accelerator`.

    Raises:
        ValueError: as `usable_device`.
    """
    chosen, is_alone = usable_device(device, precision), _is_alone()
    known = AcceleratorState._shared_state
    if is_alone and (known.get("device"), known.get("_mixed_precision")) != (
        chosen,
        MIXED[precision],
    ):
        AcceleratorState._reset_state(reset_partial_state=True)
    is_cpu = chosen.type == "cpu"
    place = {} if is_cpu or not is_alone else {"accelerate_torch_device": str(chosen)}
    with patch_environment(**place):
        return Accelerator(cpu=is_cpu, mixed_precision=MIXED[precision], **settings)
