"""Given frames and tokens -> pixels: the left column of the figure below the words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from aid.conditioning.encoders import encode_sentences, join_states, state_sentences
from aid.config import ConditionConfig, SamplerConfig
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import SOLVERS, Callback
from aid.models.backbone import Backbone
from aid.models.denoiser import Conditions, Denoiser, TextTokens, guided_denoise
from aid.predict.encodings import FrameEncodings
from aid.video import to_uint8

USUAL_MOTION = 127.0
"""The motion bucket of a model that was told each video's own: SVD's default."""


@dataclass(frozen=True, kw_only=True)
class MicroConditions:
    """SVD's micro-conditions of each video; None stands for the model's own.

    A model with `condition.fps` was trained at that rate alone and is told nothing else.
    """

    fps: Sequence[float]
    motion_bucket_id: Sequence[float] | None = None
    noise_aug_strength: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that are not one for each video, or that mean nothing."""
        for name in ("motion_bucket_id", "noise_aug_strength"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.fps):
                raise ValueError(
                    f"{name} needs a number for each video, {len(self.fps)}, got {len(given)}."
                )
            if given is not None and min(given, default=0) < 0:
                raise ValueError(f"{name} must be 0 or more, got {min(given)}.")

    def part(self, chosen: slice) -> "MicroConditions":
        """Those of some of the videos."""
        names = ("motion_bucket_id", "noise_aug_strength")
        own = {name: getattr(self, name) for name in names}
        cut = {name: None if values is None else values[chosen] for name, values in own.items()}
        return replace(self, fps=self.fps[chosen], **cut)

    def told(self, condition: ConditionConfig) -> dict[str, Float[Tensor, " b"]]:
        """What the UNet is told of each video, by the names that `Conditions` has."""
        b = len(self.fps)
        bucket, strength = self.motion_bucket_id, self.noise_aug_strength
        if bucket is None:
            own = condition.motion_bucket_id
            bucket = [USUAL_MOTION if own is None else own] * b
        if strength is None:
            strength = [condition.noise_aug_strength] * b
        fps = self.fps if condition.fps is None else [condition.fps] * b
        values = {"fps": fps, "motion_bucket_id": bucket, "noise_aug_strength": strength}
        return {name: torch.tensor(v, dtype=torch.float32) for name, v in values.items()}


def text_tokens(
    backbone: Backbone, instructions: Sequence[str], states: Sequence[Sequence[str]]
) -> TextTokens:
    """The tokens of each video's instruction and states, every distinct sentence encoded once.

    No instruction is "", and no states are the one state "".
    """
    staged = [state_sentences(stages) for stages in states]
    sentences = list(dict.fromkeys([*instructions, *(s for stages in staged for s in stages)]))
    tokens, mask = encode_sentences(backbone.tokenizer, backbone.text_encoder, sentences)
    number = {sentence: index for index, sentence in enumerate(sentences)}
    made = []
    for instruction, stages in zip(instructions, staged, strict=True):
        own = number[instruction]
        of_states = [number[stage] for stage in stages]
        state_tokens, state_mask = join_states(tokens[of_states], mask[of_states])
        made.append(
            TextTokens(
                instruction_tokens=tokens[own][None],
                instruction_mask=mask[own][None],
                state_tokens=state_tokens[None],
                state_mask=state_mask[None],
            )
        )
    return TextTokens.cat(made)


def randomness(
    given: Float[Tensor, "b k 3 H W"],
    seeds: Sequence[int],
    noise_aug_strength: Float[Tensor, " b"],
    latent_shape: tuple[int, int, int, int],
) -> tuple[Float[Tensor, "b k 3 H W"], Float[Tensor, "b f c h w"]]:
    """Noise-augmented given frames and the starting noise, each video's from its own seed.

    Drawn on the CPU and in the stock pipeline's order, so that a seed means the same everywhere.
    """
    noised, noise = [], []
    for frames, seed, strength in zip(given, seeds, noise_aug_strength.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        added = torch.randn(frames.shape, generator=generator)
        noised.append(frames + strength * added)
        noise.append(torch.randn(latent_shape, generator=generator))
    return torch.stack(noised), torch.stack(noise)


@torch.no_grad()
def draw_videos(
    backbone: Backbone,
    denoiser: Denoiser,
    given: Float[Tensor, "b k 3 H W"],
    text: TextTokens | None,
    seeds: Sequence[int],
    micro: MicroConditions,
    sampler: SamplerConfig,
    callback: Callback | None = None,
    encodings: FrameEncodings | None = None,
) -> list[UInt8[np.ndarray, "f H W 3"]]:
    """A batch of videos.

    Args:
        backbone: encodes and decodes.
        denoiser: on the same device.
        given: the given frames in [-1, 1].
        text: instruction and states; None for a denoiser that reads none.
        seeds: one for each video.
        micro: fps, motion bucket and noise augmentation of each video.
        sampler: how to draw.
        callback: called after each sampling step.
        encodings: of frames drawn before; None starts with none.
    """
    condition, num_frames = denoiser.config.condition, denoiser.config.num_frames
    device, scale = denoiser.device, backbone.down_scaling
    _, _, _, height, width = given.shape
    latent_shape = (num_frames, backbone.latent_channels, height // scale, width // scale)
    numbers = micro.told(condition)
    noised, noise = randomness(given, seeds, numbers["noise_aug_strength"], latent_shape)
    encodings = encodings or FrameEncodings()
    image_embedding, image_tokens = encodings.look_up(
        "image", given[:, 0].to(device), backbone.encode_image
    )
    (condition_latents,) = encodings.look_up(
        "condition",
        noised.to(device),
        lambda rows: (backbone.encode_condition(rows, num_frames, condition.frame_condition),),
    )
    conditions = Conditions(
        condition_latents=condition_latents,
        image_embedding=image_embedding,
        image_tokens=image_tokens,
        **{name: values.to(device) for name, values in numbers.items()},
        text=text,
    )
    null_text = None if text is None else text_tokens(backbone, [""], [[]])
    sigmas = karras_sigmas(sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho)
    denoise = guided_denoise(denoiser, conditions, null_text, sampler)
    sigmas = sigmas.to(device)
    solve = SOLVERS[sampler.solver]
    latents = solve(denoise, noise.to(device) * sigmas[0], sigmas, callback)
    return [to_uint8(video) for video in backbone.decode(latents)]


def preview(
    backbone: Backbone, latents: Float[Tensor, "b f c h w"], num_frames: int
) -> list[UInt8[np.ndarray, "n H W 3"]]:
    """A few frames of each video, evenly spread, as the latents of a half-done sampling show them.

    The last frame is among them. Decoded without their neighbours: rougher than the end.
    """
    number = min(num_frames, latents.shape[1])
    chosen = torch.linspace(latents.shape[1] - 1, 0, number).round().long().flip(0)
    return [to_uint8(video) for video in backbone.decode(latents[:, chosen])]
