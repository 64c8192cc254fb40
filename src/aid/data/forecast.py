"""How much room a cache takes, from the sizes of what it holds: arithmetic, nothing is read."""

from dataclasses import dataclass

STORED_BYTES = 2
"""Of a number that is stored as float16."""
NUM_NOISED = 4
"""Noise augmentations that are stored of a first frame. Ours."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Bytes of a cache, by what they hold."""

    latents: int
    given_frames: int
    first_frames: int
    text: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.latents + self.given_frames + self.first_frames + self.text


def forecast(
    *,
    num_videos: int,
    num_firsts: int,
    num_tokens: int,
    num_frames: int,
    num_given_frames: int,
    height: int,
    width: int,
    latent_channels: int,
    down_scaling: int,
    num_image_tokens: int,
    image_dim: int,
    image_embedding_dim: int,
    text_dim: int,
) -> Forecast:
    """Bytes of a cache of `num_videos` videos with `num_firsts` distinct first frames.

    Args:
        num_tokens: of all distinct sentences together.
    """
    latent = latent_channels * (height // down_scaling) * (width // down_scaling) * STORED_BYTES
    image = (num_image_tokens * image_dim + image_embedding_dim) * STORED_BYTES
    return Forecast(
        latents=num_videos * num_frames * latent,
        given_frames=num_firsts * num_given_frames * 3 * height * width,
        first_frames=num_firsts * (NUM_NOISED * num_given_frames * latent + image),
        text=num_tokens * text_dim * STORED_BYTES,
    )
