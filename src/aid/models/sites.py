"""The places in diffusers' SVD UNet at which AID joins, by path, and the check that they exist.

`insertion.py` and its parts join here; `pretrain/items.py` reads. If diffusers renames a block,
this file says so by name.
"""

from importlib.metadata import version

from torch import nn

from aid.config import CrossAttentionConfig

PROJECTIONS = {
    "all": ("to_q", "to_k", "to_v", "to_out"),
    "keys_values": ("to_k", "to_v"),
    "none": (),
}


def part(unet: nn.Module, path: str) -> nn.Module:
    """The UNet's module at `path`.

    Raises:
        ValueError: there is none, because diffusers renamed its blocks.
    """
    try:
        return unet.get_submodule(path)
    except AttributeError:
        raise ValueError(
            f"diffusers {version('diffusers')} has no {path!r} in its SVD UNet; AID joins there. "
            "Install a version AID was tested with: pip install 'diffusers==0.42.1'"
        ) from None


def attention_sites(unet: nn.Module) -> list[tuple[str, str]]:
    """Paths of every (residual block, spatio-temporal transformer after it): 16 in SVD."""
    blocks = [f"{side}.{i}" for side in ("down_blocks", "up_blocks") for i in indices(unet, side)]
    blocks.insert(len(indices(unet, "down_blocks")), "mid_block")
    sites = []
    for block in blocks:
        if not hasattr(part(unet, block), "attentions"):
            continue
        for i in indices(unet, f"{block}.attentions"):
            part(unet, f"{block}.resnets.{i}")
            sites.append((f"{block}.resnets.{i}", f"{block}.attentions.{i}"))
    if not sites:
        part(unet, "mid_block.attentions.0")
    return sites


def residual_blocks(unet: nn.Module) -> list[str]:
    """Paths of all residual blocks: 22 in SVD."""
    names = [name for name, _ in unet.named_modules()]
    return [name for name in names if name.split(".")[-2:-1] == ["resnets"]]


def level_blocks(unet: nn.Module, levels: int | None = None) -> list[str]:
    """Paths of the blocks of the first so many resolutions, the largest first; None takes all."""
    down, up = len(indices(unet, "down_blocks")), len(indices(unet, "up_blocks"))
    levels = down if levels is None else min(levels, down)
    paths = [f"down_blocks.{i}" for i in range(levels)]
    paths += [f"up_blocks.{up - 1 - i}" for i in range(levels)]
    return paths + ["mid_block"] * (levels == down)


def indices(unet: nn.Module, path: str) -> range:
    """Positions in the module list at `path`."""
    return range(len(part(unet, path)))


def check_seams(unet: nn.Module) -> None:
    """Fails early and by name if diffusers' UNet is not built as this file expects.

    Raises:
        ValueError: a block, a norm or a projection is missing.
    """
    for resnet, transformer in attention_sites(unet):
        part(unet, f"{resnet}.spatial_res_block")
        part(unet, f"{transformer}.time_mixer")
        for kind in ("transformer_blocks", "temporal_transformer_blocks"):
            for i in indices(unet, f"{transformer}.{kind}"):
                part(unet, f"{transformer}.{kind}.{i}.norm1")
                for attention in ("attn1", "attn2"):
                    for name in ("to_q", "to_k", "to_v", "to_out.0"):
                        part(unet, f"{transformer}.{kind}.{i}.{attention}.{name}")


def transformer_blocks(unet: nn.Module, kind: str) -> list[str]:
    """Paths of all blocks of a kind, `transformer_blocks` or `temporal_transformer_blocks`."""
    sites = [f"{transformer}.{kind}" for _, transformer in attention_sites(unet)]
    return [f"{site}.{i}" for site in sites for i in indices(unet, site)]


def trained_projections(config: CrossAttentionConfig, kind: str) -> tuple[str, ...]:
    """Which projections of cross-attention have trained copies, in blocks of a kind."""
    spatial = PROJECTIONS[config.trained]
    if kind == "transformer_blocks":
        return spatial
    # Choice: temporal cross-attention, if trained at all, in the parts the spatial one is.
    return (spatial or PROJECTIONS["all"]) if config.train_temporal else ()
