"""How large a backbone's outputs are, from its settings alone: nothing is loaded.

Called by whoever says how much room a cache takes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARTS = ("vae", "image_encoder", "text_encoder")


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
    """The sizes that the settings of a backbone's parts name, as `models.published` has them.

    Raises:
        KeyError: a setting is missing.
    """
    vae, image, text = (configs[part] for part in PARTS)
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
            {part: json.loads((folder / part / "config.json").read_text("utf-8")) for part in PARTS}
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} is no whole backbone: the settings of its parts cannot be read "
            f"({error}). Give the folder that holds vae/, image_encoder/ and text_encoder/."
        ) from None


def usual_size(folder: Path) -> tuple[int, int]:
    """Height and width in pixels for which a backbone's UNet was made, as its settings say.

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
            f"{str(folder)!r} does not say for which size its UNet was made ({error}). Say which "
            "one to make: --frames.height 256 --frames.width 256"
        ) from None
