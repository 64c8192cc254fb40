"""Frozen weights spread over processes: each keeps a share, and gathers a block when it runs.

What is trained stays whole in every process, as for DDP: it is small, and so are its gradients,
moments and averages, so saved states and checkpoints are those of any other run. What a full-size
backbone needs memory for is its frozen weights. `train/training.py` is the only caller.

Reference: torch's `fully_shard` (FSDP2).
"""

from torch import nn
from torch.distributed.fsdp import fully_shard

from aid.models.denoiser import Denoiser


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
