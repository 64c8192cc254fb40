"""The processes of a training run: devices, precision, trackers, and what cannot be spread."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from aid.config import Precision, TrainConfig
from aid.models.denoiser import Denoiser
from aid.optim import make_accelerator


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
    """Turns a device that is out of memory into one sentence that names the settings.

    Raises:
        ValueError: it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise ValueError(
            f"a training step does not fit into the memory of {str(device)!r}. Change, one on top "
            "of the other: --precision bfloat16, --train.use_gradient_checkpointing true, "
            "--train.batch_size 1, --train.optimizer adamw_8bit. `aid plan` says what each saves."
        ) from None


def try_step(
    accelerator: Accelerator,
    loss: Callable[[int, int], Tensor],
    part: int,
    parameters: Collection[nn.Parameter],
) -> None:
    """Makes the gradients of the first step once and forgets them, in the memory of a whole step.

    So a run that does not fit is refused before anything is written. What is drawn is a function of
    the step, so the run itself is the same.
    """
    with enough_memory(accelerator.device):
        kept = [torch.empty_like(p) for p in parameters for _ in range(3)]  # moments and average
        accelerator.backward(loss(0, part))
    for parameter in parameters:
        parameter.grad = None
    del kept


def refuse_to_spread_alone(accelerator: Accelerator) -> None:
    """Raises a `ValueError` where there is nobody to share the frozen weights with."""
    if accelerator.num_processes == 1:
        raise ValueError(
            "train.spread_frozen spreads the frozen weights over several processes; this run has "
            "one. Start it with accelerate launch (docs/training.md), or leave the setting out."
        )


def spread_frozen_weights(denoiser: Denoiser) -> None:
    """Leaves each process of the default group its share of the frozen UNet, in place.

    A block's weights are whole while it runs, forward and backward. Every process must run the same
    blocks in the same order from here on, checks included, or all wait for ever.
    """
    unet, trained = denoiser.unet, set(denoiser.trained.parameters())
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        fully_shard(block, ignored_params=trained)
    fully_shard(unet, ignored_params=trained)


def share_of_frozen(unet: nn.Module) -> float:
    """The share of the frozen numbers that this process holds at rest; 1 if nothing is frozen."""
    frozen = [p for p in unet.parameters() if not p.requires_grad]
    own = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in frozen)
    total = sum(p.numel() for p in frozen)
    return own / total if total else 1.0
