"""How large a backbone's networks and their outputs are, from its settings alone.

Nothing is loaded. The published sizes are those of the networks' `config.json` files, so that a
run can be forecast before anything is downloaded; the tests hold our layouts against them. What a
published configuration does not name has the default of diffusers or transformers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.models.folder import NETWORK_NAMES, part_folder

Configs = dict[str, dict[str, Any]]

OPENCLIP_H_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,  # of 24: the last is left out, so the output is the penultimate layer
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
    "pad_token_id": 1,
}
CLIP_L_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "pad_token_id": 1,
}
SVD: Configs = {
    "unet": {"num_frames": 14},  # all else is diffusers' default, which is SVD
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "force_upcast": True,
    },
    "image_encoder": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 1024,
        "hidden_act": "gelu",
    },
    "text_encoder": OPENCLIP_H_TEXT,
}
SVD_XT: Configs = SVD | {"unet": {"num_frames": 25}}
BY_NAME = {
    "stabilityai/stable-video-diffusion-img2vid": SVD,
    "stabilityai/stable-video-diffusion-img2vid-xt": SVD_XT,
}
ENCODERS = ("vae", "image_encoder", "text_encoder")


def read_configs(folder: Path) -> Configs:
    """The `config.json` of each network in a backbone folder.

    Raises:
        ValueError: one is missing.
    """
    found = {}
    for name in NETWORK_NAMES:
        file = part_folder(folder, name) / "config.json"
        if not file.is_file():
            raise ValueError(f"{str(file)!r} is missing. Copy it again.")
        found[name] = json.loads(file.read_text())
    return found


@dataclass(frozen=True, kw_only=True)
class BackboneSizes:
    """Channels of the latents, pixels per latent cell and side, numbers and widths of tokens."""

    latent_channels: int
    down_scaling: int
    num_image_tokens: int
    image_dim: int
    image_embedding_dim: int
    text_dim: int
    num_text_tokens: int


def sizes_of(configs: Mapping[str, Mapping[str, Any]]) -> BackboneSizes:
    """The sizes that the settings of a backbone's parts name, such as `SVD`'s.

    Raises:
        KeyError: a setting is missing.
    """
    vae, image, text = (configs[part] for part in ENCODERS)
    return BackboneSizes(
        latent_channels=vae["latent_channels"],
        down_scaling=2 ** (len(vae["block_out_channels"]) - 1),
        num_image_tokens=(image.get("image_size", 224) // image["patch_size"]) ** 2 + 1,
        image_dim=image["hidden_size"],
        image_embedding_dim=image["projection_dim"],
        text_dim=text["hidden_size"],
        num_text_tokens=text.get("max_position_embeddings", 77),
    )


def backbone_sizes(folder: Path) -> BackboneSizes:
    """The sizes that a backbone folder's settings name.

    Raises:
        ValueError: a part's config.json is missing or lacks a setting.
    """
    try:
        return sizes_of(
            {
                part: json.loads((folder / part / "config.json").read_text("utf-8"))
                for part in ENCODERS
            }
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} is no whole backbone: the settings of its parts cannot be read "
            f"({error}). Give the folder that holds vae/, image_encoder/ and text_encoder/."
        ) from None


def usual_size(folder: Path) -> tuple[int, int]:
    """Height and width in pixels that a backbone's UNet was made for, from its settings.

    Raises:
        ValueError: as `backbone_sizes`.
    """
    scaling = backbone_sizes(folder).down_scaling
    try:
        side = json.loads((folder / "unet" / "config.json").read_text("utf-8"))["sample_size"]
        height, width = side if isinstance(side, list) else (side, side)
        return int(height) * scaling, int(width) * scaling
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} does not state the size that its UNet was made for ({error}). Set "
            "the size: --frames.height 256 --frames.width 256"
        ) from None
