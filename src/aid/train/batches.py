"""What a training step reads: videos of a cache, what the denoiser is told of them, and noise.

Every draw of a sample comes from a generator of its own (`optim.sample_generators`), so a batch
may be split over processes and forward passes without changing what any sample gets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aid.config import ConditionConfig, TrainConfig
from aid.data.cache import Batch, Cache
from aid.diffusion.edm import sample_sigmas
from aid.diffusion.leakage import time_noise_strength
from aid.models.conditions import Conditions, TextTokens

Encode = Callable[[Float[Tensor, "b k 3 H W"]], Float[Tensor, "b k c h w"]]


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
class Given:
    """Given frames under noise that was drawn anew, and that nobody has encoded yet.

    `pixels` are the noised frames. `time_noise` is added to their latents, in units of those
    latents' standard deviation. `is_given` is False where the frames were dropped.
    """

    pixels: Float[Tensor, "b k 3 H W"]
    time_noise: Float[Tensor, "b k c h w"]
    is_given: Bool[Tensor, " b"]

    def latents(self, encode: Encode) -> Float[Tensor, "b k c h w"]:
        """The condition latents of the given frames; zeros where they were dropped."""
        made = encode(self.pixels)
        made = made + self.time_noise * made.std(dim=(1, 2, 3, 4), keepdim=True)
        return made * self.is_given[:, None, None, None, None]


@dataclass(frozen=True, kw_only=True)
class Noised:
    """Some videos with all that was drawn for them: one step's part, ready for the loss.

    Where there is a `given`, the condition latents of the given frames are still to be made of it.
    """

    latents: Float[Tensor, "b f c h w"]
    conditions: Conditions
    sigma: Float[Tensor, " b"]
    noise: Float[Tensor, "b f c h w"]
    given: Given | None = None

    @staticmethod
    def cat(parts: Sequence["Noised"]) -> "Noised":
        """Several as one; shorter texts get padding."""
        given = [part.given for part in parts if part.given is not None]
        return Noised(
            latents=torch.cat([part.latents for part in parts]),
            conditions=Conditions.cat([part.conditions for part in parts]),
            sigma=torch.cat([part.sigma for part in parts]),
            noise=torch.cat([part.noise for part in parts]),
            given=Given(
                **{
                    one.name: torch.cat([getattr(part, one.name) for part in given])
                    for one in fields(Given)
                }
            )
            if given
            else None,
        )

    def encoded(self, encode: Encode, repeats_first: bool) -> "Noised":
        """With the condition latents of the given frames made of `given`, if there is one.

        Args:
            encode: condition latents of frames, on this batch's device.
            repeats_first: whether the first frame's stand for those of the frames to come.
        """
        if self.given is None:
            return self
        made = self.given.latents(encode)
        k, latents = made.shape[1], self.conditions.condition_latents
        rest = made[:, :1].expand_as(latents[:, k:]) if repeats_first else latents[:, k:]
        conditions = replace(self.conditions, condition_latents=torch.cat([made, rest], dim=1))
        return replace(self, conditions=conditions, given=None)

    def to(self, device: torch.device, non_blocking: bool = False) -> "Noised":
        """As `Tensor.to`, for every tensor."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Noised":
        """The same in page-locked memory, which a GPU copies from while it computes."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, function: Callable[[Any], Any]) -> "Noised":
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "given"}
        given = self.given and Given(
            **{one.name: function(getattr(self.given, one.name)) for one in fields(Given)}
        )
        return Noised(**{name: function(part) for name, part in own.items()}, given=given)


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
        noise_generator: the same, or one that the videos of a group share.
    """
    batch = every(data.batch([index], generator), config.frame_stride)
    sigma = sample_sigmas(1, config.noise, noise_generator)
    noise = torch.randn(batch.latents.shape, generator=noise_generator)
    pixels = time_noise = None
    if config.redraw_noise_aug:
        pixels, strength = _noised_anew(data, index, condition, config, generator)
        batch = replace(batch, noise_aug_strength=strength)
    told = conditions_of(batch, condition, config.frame_stride)
    if config.time_noise.max_strength > 0:
        told, time_noise = _with_time_noise(told, condition, sigma, config, generator)
    told = told.dropped_at_random(null, condition.text_dropout, generator)
    given = None
    if pixels is not None:
        k, cell = pixels.shape[1], told.condition_latents.shape[2:]
        given = Given(
            pixels=pixels,
            time_noise=torch.zeros(1, k, *cell) if time_noise is None else time_noise,
            is_given=told.condition_latents.flatten(1).any(dim=1),
        )
    return Noised(latents=batch.latents, conditions=told, sigma=sigma, noise=noise, given=given)


def _noised_anew(
    data: Cache,
    index: int,
    condition: ConditionConfig,
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "1 k 3 H W"], Float[Tensor, " 1"]]:
    """The given frames of a video under noise of a strength drawn as `aid prepare` draws it."""
    pixels = data.given_frames([index])[:, :: config.frame_stride]
    normal = torch.randn(1, generator=generator)
    strength = (condition.noise_aug_mean + condition.noise_aug_std * normal).exp()
    return pixels + strength * torch.randn(pixels.shape, generator=generator), strength


def _with_time_noise(
    told: Conditions,
    condition: ConditionConfig,
    sigma: Float[Tensor, " b"],
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Conditions, Float[Tensor, "b k c h w"]]:
    """Noise on the given frames' latents, the more the noisier the video is (`time_noise`).

    In units of those latents' own standard deviation, as they are not scaled to one. The told
    strength is that of both noises, this and the one on the pixels, together.

    Returns:
        The conditions, and the noise in those units.
    """
    normal = torch.randn(len(told), generator=generator)
    strength = time_noise_strength(sigma, normal, config.noise, config.time_noise)
    latents = told.condition_latents.clone()
    k = len(range(0, condition.num_given_frames, config.frame_stride))
    given = latents[:, :k]
    scale = strength[:, None, None, None, None]
    unit = torch.randn(given.shape, generator=generator)
    noise = scale * given.std(dim=(1, 2, 3, 4), keepdim=True) * unit
    latents[:, :k] += noise
    if condition.frame_condition == "repeat_first":  # the rest repeats frame 0, noise and all
        latents[:, k:] += noise[:, :1]
    both = (told.noise_aug_strength.square() + strength.square()).sqrt()
    return replace(told, condition_latents=latents, noise_aug_strength=both), scale * unit
