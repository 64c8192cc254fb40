"""How much room a cache takes, from the sizes of what it holds: arithmetic, nothing is read."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

STORED_BYTES = 2
"""Of a number that is stored as float16."""
NUM_NOISED = 4
"""Noise augmentations that are stored of a first frame. Ours."""


@dataclass(frozen=True, kw_only=True)
class CacheSize:
    """Bytes of a cache, by what they hold."""

    latents: int
    given_frames: int
    first_frames: int
    text: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.latents + self.given_frames + self.first_frames + self.text


@runtime_checkable
class Sizes(Protocol):
    """What of a backbone decides how much room its outputs take; `models.sizes` has them."""

    latent_channels: int
    down_scaling: int
    num_image_tokens: int
    image_dim: int
    image_embedding_dim: int
    text_dim: int


def cache_size(
    sizes: Sizes,
    *,
    num_videos: int,
    num_firsts: int,
    num_tokens: int,
    num_frames: int,
    num_given_frames: int,
    height: int,
    width: int,
) -> CacheSize:
    """Bytes of a cache of `num_videos` videos with `num_firsts` distinct first frames.

    Args:
        num_tokens: of all distinct sentences together.
    """
    cells = (height // sizes.down_scaling) * (width // sizes.down_scaling)
    latent = sizes.latent_channels * cells * STORED_BYTES
    image = (sizes.num_image_tokens * sizes.image_dim + sizes.image_embedding_dim) * STORED_BYTES
    return CacheSize(
        latents=num_videos * num_frames * latent,
        given_frames=num_firsts * num_given_frames * 3 * height * width,
        first_frames=num_firsts * (NUM_NOISED * num_given_frames * latent + image),
        text=num_tokens * sizes.text_dim * STORED_BYTES,
    )
