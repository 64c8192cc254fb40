"""How large a backbone's outputs are, from its settings alone: nothing is loaded.

Called by `prepare` to say how much room a cache takes.
"""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class BackboneSizes:
    """Channels of the latents, pixels per latent cell and side, and the sizes of the tokens."""

    latent_channels: int
    down_scaling: int
    num_image_tokens: int
    image_dim: int
    image_embedding_dim: int
    text_dim: int


def backbone_sizes(folder: Path) -> BackboneSizes:
    """The sizes that a backbone folder's settings name.

    Raises:
        ValueError: a part's config.json is missing or lacks a setting.
    """
    try:
        vae, image, text = (
            json.loads((folder / part / "config.json").read_text(encoding="utf-8"))
            for part in ("vae", "image_encoder", "text_encoder")
        )
        return BackboneSizes(
            latent_channels=vae["latent_channels"],
            down_scaling=2 ** (len(vae["block_out_channels"]) - 1),
            num_image_tokens=(image["image_size"] // image["patch_size"]) ** 2 + 1,
            image_dim=image["hidden_size"],
            image_embedding_dim=image["projection_dim"],
            text_dim=text["hidden_size"],
        )
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} is no whole backbone: the settings of its parts cannot be read "
            f"({error}). Give the folder that holds vae/, image_encoder/ and text_encoder/."
        ) from None
