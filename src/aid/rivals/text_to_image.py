"""The text-to-image model that Tune-A-Video and Seer start from: Stable Diffusion, small.

    L = | eps - eps^(x_t, t, text) |^2,    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps
                                                    (Rombach et al. 2022, Latent Diffusion, Eq. 3)

The network is diffusers' `UNet2DConditionModel`, which is Stable Diffusion's, with fewer and
narrower layers. Both methods train it first, as their stage "image", on single frames of the same
videos (ours: the originals start from weights that saw a great many pictures).
"""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from aid.rivals.ddpm import NoiseSchedule
from aid.rivals.method import Sizes, Videos

STABLE_DIFFUSION_NOISE = NoiseSchedule(
    beta_start=0.00085, beta_end=0.012, spacing="scaled_linear", num_timesteps=1000
)
"""The variances of Stable Diffusion 1 and 2."""
NORM_GROUPS = 8
"""Ours; Stable Diffusion has 32 groups of 10 or more channels. In a group of one channel the norm
would subtract the time step's embedding, which is constant over a frame, again."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The image network and its training. Sizes are ours; Stable Diffusion has 860 M parameters."""

    channels: tuple[int, ...] = (96, 128, 160)
    """Width of each level, multiples of 32. Each level halves height and width; the last has no
    attention in its blocks, as in Stable Diffusion, but the middle block after it has."""
    blocks_per_level: int = 1
    """Residual blocks of a level on the way down; Stable Diffusion has 2."""
    head_dim: int = 32
    """Width of an attention head, a divisor of all `channels`."""
    text_dropout: float = 0.1
    """Share of images whose text is replaced by the null text, for guidance."""
    frames_per_video: int = 4
    """Frames of each video that one step trains on (ours)."""


SMALL_IMAGE = ImageConfig(channels=(64, 96, 128))
"""For latents of 16 x 16 cells on two CPU cores (ours)."""


def make_image_unet(
    config: ImageConfig,
    sizes: Sizes,
    in_channels: int | None = None,
    num_frame_labels: int | None = None,
) -> UNet2DConditionModel:
    """Stable Diffusion's UNet for one frame of latents.

    Args:
        config: widths.
        sizes: the data's.
        in_channels: channels of the input, if it has more than the noisy latents.
        num_frame_labels: adds a learned vector for each frame number (`class_labels`).

    Raises:
        ValueError: a width does not fit.
    """
    for width in config.channels:
        if width % 32 or width % config.head_dim:
            raise ValueError(
                f"A level is {width} channels wide. "
                f"Choose multiples of 32 and of the head width {config.head_dim}."
            )
    factor = 2 ** (len(config.channels) - 1)
    if sizes.height % factor or sizes.width % factor:
        raise ValueError(
            f"A frame has {sizes.height} x {sizes.width} cells, which do not halve "
            f"{len(config.channels) - 1} times. Use multiples of {factor} or fewer levels."
        )
    with_attention = len(config.channels) - 1
    unet = UNet2DConditionModel(
        sample_size=(sizes.height, sizes.width),
        in_channels=in_channels or sizes.channels,
        out_channels=sizes.channels,
        down_block_types=("CrossAttnDownBlock2D",) * with_attention + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * with_attention,
        block_out_channels=config.channels,
        layers_per_block=config.blocks_per_level,
        cross_attention_dim=sizes.text_dim,
        # diffusers reads this as the number of heads, despite its name.
        attention_head_dim=tuple(width // config.head_dim for width in config.channels),
        norm_num_groups=NORM_GROUPS,
        num_class_embeds=num_frame_labels,
    )
    # Plain products: on a CPU the fused kernel's backward pass is over half of a bfloat16 step.
    unet.set_attn_processor(AttnProcessor())
    return unet


def null_text(text: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """What stands for "no instruction" (ours): tokens that are all zero, whose values are zero."""
    return torch.zeros_like(text)


def drop_text(
    text: Float[Tensor, "b n d"], share: float, generator: torch.Generator
) -> Float[Tensor, "b n d"]:
    """The text, replaced by the null text in a random share of the samples."""
    dropped = torch.rand(len(text), generator=generator) < share
    return torch.where(dropped[:, None, None].to(text.device), null_text(text), text)


def image_loss(
    unet: UNet2DConditionModel, batch: Videos, config: ImageConfig, generator: torch.Generator
) -> Float[Tensor, " b"]:
    """|eps - eps^|^2 of a few random frames of each video, each with its own time and noise."""
    b, f = batch.videos.shape[:2]
    k = config.frames_per_video
    device = batch.videos.device
    chosen = torch.randint(f, (b, k), generator=generator)
    images = rearrange(batch.videos[torch.arange(b)[:, None], chosen], "b k c h w -> (b k) c h w")
    text = drop_text(repeat(batch.text, "b n d -> (b k) n d", k=k), config.text_dropout, generator)
    timesteps = STABLE_DIFFUSION_NOISE.draw_timesteps(b * k, generator).to(device)
    noise = torch.randn(images.shape, generator=generator).to(device)
    predicted = unet(
        STABLE_DIFFUSION_NOISE.add_noise(images, noise, timesteps),
        timesteps,
        encoder_hidden_states=text,
        encoder_attention_mask=repeat(batch.text_mask, "b n -> (b k) n", k=k),
    ).sample
    error = (predicted.float() - noise).square()
    return rearrange(error, "(b k) c h w -> b (k c h w)", k=k).mean(dim=1)
