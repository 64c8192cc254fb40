"""A backbone of random weights, of SVD's sizes or of the embedded one's; or that one itself.

The size "tabletop" is the embedded backbone itself, in float32 as it is used; "full-float32" is for
processors that only emulate bfloat16.
"""

import shutil
from pathlib import Path

import torch

from aid.models.backbone import NETWORKS, empty_network
from aid.models.sizes import SVD, BackboneSizes, read_configs, sizes_of
from aid.predict import find_backbone
from aid.tabletop.pretrain.parts import build_feature_extractor, build_scheduler, save_part

SHIPPED = find_backbone("tabletop")
EMBEDDED = read_configs(SHIPPED)
CONFIGS = {"full": SVD, "full-float32": SVD, "tiny": EMBEDDED, "tabletop": EMBEDDED}
SIDES = {"full": 256, "full-float32": 256, "tiny": 64, "tabletop": 64}
"""Pixels of height and width."""
HALF, SINGLE = torch.bfloat16, torch.float32
DTYPES = {"full": HALF, "full-float32": SINGLE, "tiny": HALF, "tabletop": SINGLE}
"""Of the frozen weights while they are used."""


def sizes(size: str) -> BackboneSizes:
    """Channels, cells, and numbers and widths of tokens."""
    return sizes_of(CONFIGS[size])


def shape_of(size: str, frames: int) -> tuple[int, int, int, int, int]:
    """The latents of one video."""
    side = SIDES[size] // sizes(size).down_scaling
    return 1, frames, sizes(size).latent_channels, side, side


def build(folder: Path, size: str) -> dict[str, int]:
    """Writes the backbone in bfloat16, part after part; returns each part's number of parameters.

    The tokenizer is the embedded backbone's: OpenAI's vocabulary cannot be made from nothing, and
    which words there are changes neither time nor memory.
    """
    if size == "tabletop":
        shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
        return {}
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    counts = {}
    for name in NETWORKS:
        network = empty_network(name, CONFIGS[size][name])
        counts[name] = sum(p.numel() for p in network.parameters())
        save_part(folder, name, network, half=False)
        del network
    torch.set_default_dtype(torch.float32)
    save_part(folder, "scheduler", build_scheduler(sigma_min=0.002, sigma_max=700.0))
    save_part(folder, "feature_extractor", build_feature_extractor())
    shutil.copytree(SHIPPED / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    return counts
