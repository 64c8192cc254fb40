"""Widens the UNet's first level without restarting the training (Net2WiderNet, Chen et al. 2016).

Every channel of the first level, and of the time embedding, which is four times as wide, is copied
k times; layers that read it divide their weight among the copies. Copies are adjacent, so a group
of the group norms contains the copies of one old group. The wide network computes the same function
as the narrow one, with two exceptions: two norms read the first level concatenated with another
one, so their groups change; and if the first level becomes as wide as the second, the projection
between them is dropped.
"""

import torch
from torch import Tensor, nn

READ_FREQUENCIES = "time_embedding.linear_1.weight"


@torch.no_grad()
def widened(unet: nn.Module, factor: int, seed: int = 0) -> nn.Module:
    """The UNet with a first level that is `factor` times as wide.

    Copies with equal weights would stay equal for ever, so the shares of a weight differ: they are
    random, with the sum 1.

    Raises:
        ValueError: factor < 1, or the first level has attention: copied channels would count
            twice where queries meet keys.
    """
    if factor < 1:
        raise ValueError(f"the first level can only grow: factor must be at least 1, got {factor}.")
    if unet.config.down_block_types[0] != "DownBlockSpatioTemporal":
        raise ValueError("the first level has attention; only one of convolutions can be widened.")
    first = unet.config.block_out_channels[0]
    channels = (first * factor, *unet.config.block_out_channels[1:])
    wide = type(unet).from_config(unet.config, block_out_channels=channels)
    generator = torch.Generator().manual_seed(seed)
    narrow = unet.state_dict()
    grown = {}
    for name, target in wide.state_dict().items():
        weight = narrow[name].float() if name in narrow else _no_projection(narrow, name)
        if name == READ_FREQUENCIES:
            weight = _among_more_frequencies(weight, factor)
        else:
            weight = _read(weight, target.shape, first, factor, generator)
        grown[name] = _written(weight, target.shape[:1], first, factor)
    wide.load_state_dict(grown)
    return wide


def _sources(old: int, new: int, first: int, factor: int) -> Tensor:
    """The index of the old channel that each new channel copies."""
    if new == old:
        return torch.arange(old)
    if new == old * factor:
        return torch.arange(old).repeat_interleave(factor)
    # Another level's channels, then the first level's over the skip connection.
    kept = old - first
    tail = kept + torch.arange(first).repeat_interleave(factor)
    return torch.cat([torch.arange(kept), tail])


def _written(weight: Tensor, shape: torch.Size, first: int, factor: int) -> Tensor:
    return weight[_sources(len(weight), shape[0], first, factor)] if weight.dim() else weight


def _read(
    weight: Tensor, shape: torch.Size, first: int, factor: int, generator: torch.Generator
) -> Tensor:
    if weight.dim() < 2 or weight.shape[1] == shape[1]:
        return weight
    sources = _sources(weight.shape[1], shape[1], first, factor)
    copies = weight[:, sources]
    uneven = 0.5 + torch.rand(copies.shape[:2], generator=generator)
    sums = torch.zeros(weight.shape[:2]).index_add_(1, sources, uneven)
    return copies * (uneven / sums[:, sources]).unflatten(1, (-1, *[1] * (weight.dim() - 2)))


def _no_projection(narrow: dict[str, Tensor], name: str) -> Tensor:
    """The identity, which a residual block without `conv_shortcut` applies to its channels."""
    block, _, kind = name.rpartition("conv_shortcut.")
    bias = torch.zeros_like(narrow[f"{block}conv2.bias"]).float()
    return bias if kind == "bias" else torch.eye(len(bias))[:, :, None, None]


def _among_more_frequencies(weight: Tensor, factor: int) -> Tensor:
    """Weights for a wider embedding, whose every `factor`-th frequency is an old one."""
    wide = torch.zeros(len(weight), weight.shape[1] * factor)
    wide[:, ::factor] = weight
    return wide
