"""What a training step reads: videos of a cache, what the denoiser is told of them, and noise.

Every draw of a sample comes from a generator of its own (`optim.sample_generators`), so a batch
may be split over processes and forward passes without changing what any sample gets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aid.config import ConditionConfig, TrainConfig
from aid.data.cache import Batch, Cache
from aid.diffusion.edm import sample_sigmas
from aid.diffusion.leakage import time_noise_strength
from aid.models.conditions import Conditions, TextTokens


def every(batch: Batch, stride: int) -> Batch:
    """The batch with one frame of `stride` kept; its fps falls alike."""
    return replace(
        batch,
        latents=batch.latents[:, ::stride],
        condition_latents=batch.condition_latents[:, ::stride],
        fps=batch.fps / stride,
    )


def conditions_of(batch: Batch, config: ConditionConfig, stride: int = 1) -> Conditions:
    """A cached batch, one frame of `stride` kept, as what the denoiser is told."""
    text = TextTokens(
        instruction_tokens=batch.instruction_tokens,
        instruction_mask=batch.instruction_mask,
        state_tokens=batch.state_tokens,
        state_mask=batch.state_mask,
    )
    return Conditions(
        condition_latents=batch.condition_latents,
        image_embedding=batch.image_embedding,
        image_tokens=batch.image_tokens,
        fps=batch.fps if config.fps is None else torch.full_like(batch.fps, config.fps / stride),
        motion_bucket_id=motion_buckets(batch.latents)
        if config.motion_bucket_id is None
        else torch.full_like(batch.fps, config.motion_bucket_id),
        noise_aug_strength=batch.noise_aug_strength,
        text=text,
    )


def motion_buckets(latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, " b"]:
    """How much each video moves, 0 (a still) to 255 (frames that have nothing in common).

    255 min(1, rms(x_{f+1} - x_f) / (sqrt(2) std(x)))

    Choice: SVD's own measure, from optical flow, was not published.
    """
    change = (latents[:, 1:] - latents[:, :-1]).square().mean(dim=(1, 2, 3, 4)).sqrt()
    spread = latents.std(dim=(1, 2, 3, 4)).clamp(min=1e-6)
    return 255 * (change / (2**0.5 * spread)).clamp(max=1)


def empty_text(cache: Cache) -> TextTokens:
    """The tokens of no instruction and no states."""
    tokens, mask = cache.empty_sentence()
    return TextTokens(
        instruction_tokens=tokens, instruction_mask=mask, state_tokens=tokens, state_mask=mask
    )


@dataclass(frozen=True, kw_only=True)
class Noised:
    """Some videos with all that was drawn for them: one step's part, ready for the loss."""

    latents: Float[Tensor, "b f c h w"]
    conditions: Conditions
    sigma: Float[Tensor, " b"]
    noise: Float[Tensor, "b f c h w"]

    @staticmethod
    def cat(parts: Sequence["Noised"]) -> "Noised":
        """Several as one; shorter texts get padding."""
        return Noised(
            latents=torch.cat([part.latents for part in parts]),
            conditions=Conditions.cat([part.conditions for part in parts]),
            sigma=torch.cat([part.sigma for part in parts]),
            noise=torch.cat([part.noise for part in parts]),
        )

    def to(self, device: torch.device, non_blocking: bool = False) -> "Noised":
        """As `Tensor.to`, for every tensor."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Noised":
        """The same in page-locked memory, which a GPU copies from while it computes."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, function: Callable[[Any], Any]) -> "Noised":
        return Noised(**{one.name: function(getattr(self, one.name)) for one in fields(self)})


def draw_sample(
    data: Cache,
    index: int,
    condition: ConditionConfig,
    null: TextTokens | None,
    config: TrainConfig,
    generator: torch.Generator,
    noise_generator: torch.Generator,
) -> Noised:
    """Video `index` with a wording, dropped conditions, a noise level and noise, all drawn.

    Args:
        condition: which conditions there are, and the share of samples that loses them.
        null: the tokens that stand for "no instruction" (b = 1); None puts zeros.
        generator: of this sample alone.
        noise_generator: the same, or one that siblings share.
    """
    batch = every(data.batch([index], generator), config.frame_stride)
    sigma = sample_sigmas(1, config.noise, noise_generator)
    noise = torch.randn(batch.latents.shape, generator=noise_generator)
    told = conditions_of(batch, condition, config.frame_stride)
    if config.time_noise.max_strength > 0:
        told = _with_time_noise(told, condition, sigma, config, generator)
    told = told.dropped_at_random(null, condition.text_dropout, generator)
    return Noised(latents=batch.latents, conditions=told, sigma=sigma, noise=noise)


def _with_time_noise(
    told: Conditions,
    condition: ConditionConfig,
    sigma: Float[Tensor, " b"],
    config: TrainConfig,
    generator: torch.Generator,
) -> Conditions:
    """Noise on the given frames' latents, the more the noisier the video is (`time_noise`).

    In units of those latents' own standard deviation, as they are not scaled to one. The told
    strength is that of both noises, this and the cached one, together.
    """
    normal = torch.randn(len(told), generator=generator)
    strength = time_noise_strength(sigma, normal, config.noise, config.time_noise)
    latents = told.condition_latents.clone()
    k = condition.num_given_frames
    given = latents[:, :k]
    scale = strength[:, None, None, None, None] * given.std(dim=(1, 2, 3, 4), keepdim=True)
    noise = scale * torch.randn(given.shape, generator=generator)
    latents[:, :k] += noise
    if condition.frame_condition == "repeat_first":  # the rest repeats frame 0, noise and all
        latents[:, k:] += noise[:, :1]
    both = (told.noise_aug_strength.square() + strength.square()).sqrt()
    return replace(told, condition_latents=latents, noise_aug_strength=both)
