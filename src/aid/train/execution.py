"""How a training run executes: devices, processes, sharded weights, memory, torch.compile."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from aid.config import Precision, TrainConfig
from aid.models.denoiser import Denoiser
from aid.optim import make_accelerator

Check = TypeVar("Check", bound=Callable)


def tracked_accelerator(
    train: TrainConfig, out: Path, device: str | None, precision: Precision
) -> Accelerator:
    """`make_accelerator` with the recipe's trackers.

    Raises:
        ValueError: a tracker is not installed, the device is not there, or accelerate is set to
            shard what is trained.
    """
    packages = {"tensorboard": ("tensorboard", "tensorboardX")}
    for name in train.trackers:
        if not any(find_spec(package) for package in packages.get(name, (name,))):
            raise ValueError(
                f"train.trackers names {name}, which is not installed. Install it: pip install "
                f"{name}. The log in the run's folder is written without it."
            )
    accelerator = make_accelerator(
        device, precision, log_with=list(train.trackers) or None, project_dir=out
    )
    if accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP):
        raise ValueError(
            f"accelerate is set to {accelerator.distributed_type.value}, whose shards aid's saved "
            "states do not hold. Use DDP (configs/accelerate/ddp.yaml); if the frozen weights need "
            "too much memory, with train.spread_frozen=true. What is trained is small."
        )
    if train.trackers:
        accelerator.init_trackers("aid")
    return accelerator


@contextmanager
def enough_memory(device: torch.device) -> Iterator[None]:
    """Turns running out of the device's memory into one sentence that names the settings.

    Raises:
        ValueError: the device is out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise ValueError(
            f"a training step does not fit into the memory of {str(device)!r}. Change, one on top "
            "of the other: --precision bfloat16, --train.use_gradient_checkpointing true, "
            "--train.batch_size 1, --train.optimizer adamw_8bit. `aid train --dry_run` prints what "
            "each saves."
        ) from None


def try_step(
    accelerator: Accelerator,
    loss: Callable[[int, int], Tensor],
    part: int,
    parameters: Collection[nn.Parameter],
) -> None:
    """Computes the first step's gradients and drops them, with the memory of a whole step.

    So a run that does not fit is refused before anything is written. Random draws are a function of
    the step, so the run itself is the same.
    """
    with enough_memory(accelerator.device):
        kept = [torch.empty_like(p) for p in parameters for _ in range(3)]  # moments and average
        accelerator.backward(loss(0, part))
    for parameter in parameters:
        parameter.grad = None
    del kept


def refuse_to_spread_alone(accelerator: Accelerator) -> None:
    """Raises a `ValueError` for a run of one process, which has no other to share weights with."""
    if accelerator.num_processes == 1:
        raise ValueError(
            "train.spread_frozen spreads the frozen weights over several processes; this run has "
            "one. Start it with accelerate launch (docs/training.md), or leave the setting out."
        )


def spread_frozen_weights(denoiser: Denoiser) -> None:
    """Leaves each process of the default group its share of the frozen UNet, in place.

    What is trained stays whole in every process, as for DDP: it is small, so saved states and
    checkpoints are those of any other run. A block's weights are whole while it runs, forward and
    backward. Every process must run the same blocks in the same order from here on, checks
    included; otherwise all wait for ever.

    Reference: torch's `fully_shard` (FSDP2).
    """
    unet, trained = denoiser.unet, set(denoiser.trained.parameters())
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        fully_shard(block, ignored_params=trained)
    fully_shard(unet, ignored_params=trained)


def share_of_frozen(unet: nn.Module) -> float:
    """The share of the frozen weights that this process keeps; 1 if nothing is frozen."""
    frozen = [p for p in unet.parameters() if not p.requires_grad]
    own = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in frozen)
    total = sum(p.numel() for p in frozen)
    return own / total if total else 1.0


def compile_unet(unet: nn.Module, device: torch.device) -> None:
    """Compiles the UNet in place, when it is first called; its tensors and their names stay.

    For one shape only, which every part of every batch has.

    Raises:
        ValueError: this machine lacks what compiling for a CPU needs.
    """
    if device.type == "cpu":
        _require_tools()
    unet.compile(dynamic=False)


def without_compiling(check: Check) -> Check:
    """`check` without torch.compile, which would compile again for each of its other shapes."""
    return torch.compiler.set_stance("force_eager")(check)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns a failure of torch's compiler into one sentence instead of pages of compiler output.

    Raises:
        ValueError: torch.compile failed; what it printed is the cause (`--debug` shows it).
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        cause = getattr(error, "inner_exception", error)
        first = str(cause).strip().partition("\n")[0]
        raise ValueError(
            f"torch.compile failed ({first}). Train without it (--train.use_compile false), or see "
            "with --debug what it printed."
        ) from error


def _require_tools() -> None:
    usual = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", usual)
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    without = "or train without --train.use_compile."
    if shutil.which(compiler) is None:
        raise ValueError(
            f"train.use_compile needs a C++ compiler, and {compiler!r} is not there. Install one "
            f"(Debian: apt-get install g++), name another in the variable CXX, {without}"
        )
    if not headers.is_file():
        raise ValueError(
            f"train.use_compile needs Python's headers, and {str(headers)!r} is not there. Install "
            f"them (Debian: apt-get install python3-dev), {without}"
        )
