"""Samples videos: encodes the given frames and sentences, runs the sampler, decodes the latents."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

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
from aid.predict.static import keep_static
from aid.video import to_uint8

USUAL_MOTION = 127.0
"""SVD's default, for a model that was trained with each video's own motion bucket."""


@dataclass(frozen=True, kw_only=True)
class MicroConditions:
    """SVD's micro-conditions of each video; None stands for the model's own.

    A model with `condition.fps` was trained at that rate alone and always gets it.
    """

    fps: Sequence[float]
    motion_bucket_id: Sequence[float] | None = None
    noise_aug_strength: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Refuses a wrong number of values, and negative values."""
        for name in ("motion_bucket_id", "noise_aug_strength"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.fps):
                raise ValueError(
                    f"{name} needs a number for each video, {len(self.fps)}, got {len(given)}."
                )
            if given is not None and min(given, default=0) < 0:
                raise ValueError(f"{name} must be 0 or more, got {min(given)}.")

    def part(self, chosen: slice) -> "MicroConditions":
        """The micro-conditions of some of the videos."""
        names = ("motion_bucket_id", "noise_aug_strength")
        own = {name: getattr(self, name) for name in names}
        cut = {name: None if values is None else values[chosen] for name, values in own.items()}
        return replace(self, fps=self.fps[chosen], **cut)

    def tensors(self, condition: ConditionConfig) -> dict[str, Float[Tensor, " b"]]:
        """The UNet's micro-conditions, by their names in `Conditions`."""
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


class FrameEncodings:
    """A cache of the latest frames' encodings, for further instructions on the same frame.

    It is for one backbone and one denoiser. The key is the content of the encoder's input tensor,
    so a changed pixel, seed or noise augmentation never finds an old encoding.

    Args:
        capacity: number of frames of each kind whose encodings are stored. Choice: 32, about 120 MB
            at Stable Video Diffusion's full size.
    """

    def __init__(self, capacity: int = 32) -> None:
        self.capacity = capacity
        self._kept: dict[str, OrderedDict[bytes, tuple[Tensor, ...]]] = {}
        self._lock = Lock()

    def look_up(
        self,
        kind: str,
        frames: Float[Tensor, "b ..."],
        encode: Callable[[Tensor], tuple[Tensor, ...]],
    ) -> tuple[Tensor, ...]:
        """`encode(frames)`; only frames that are not in the cache are encoded, each once.

        Choice: one at a time, because rounding differs between batches, and a video must not depend
        on earlier predictions. The encoders take a small share of the time.

        Args:
            kind: the encoder; each has its own part of the cache.
            frames: the encoder's input, one row for each video.
            encode: returns tensors; each of their rows depends on that row of its input only.
        """
        keys = [hashlib.sha256(row.cpu().contiguous().numpy()).digest() for row in frames]
        with self._lock:
            kept = self._kept.setdefault(kind, OrderedDict())
            known = {key: kept[key] for key in keys if key in kept}
        for key, row in zip(keys, frames, strict=True):
            if key not in known:
                known[key] = tuple(part[0] for part in encode(row[None]))
        with self._lock:
            kept.update(known)
            for key in keys:
                kept.move_to_end(key)
            while len(kept) > self.capacity:
                kept.popitem(last=False)
        parts = zip(*(known[key] for key in keys), strict=True)
        return tuple(torch.stack(part).to(frames.device) for part in parts)


def text_tokens(
    backbone: Backbone, instructions: Sequence[str], states: Sequence[Sequence[str]]
) -> TextTokens:
    """The tokens of each video's instruction and states; equal sentences are encoded once.

    A missing instruction is "", and missing states are one state "".
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
    """Noise-augmented given frames and the initial noise, from each video's own seed.

    Both are drawn on the CPU in the order of diffusers' pipeline, so that a seed gives the same
    noise on every device.
    """
    noised, noise = [], []
    for frames, seed, strength in zip(given, seeds, noise_aug_strength.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        added = torch.randn(frames.shape, generator=generator)
        noised.append(frames + strength * added)
        noise.append(torch.randn(latent_shape, generator=generator))
    return torch.stack(noised), torch.stack(noise)


@torch.no_grad()
def sample_videos(
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
    """Samples a batch of videos.

    Args:
        backbone: encodes and decodes.
        denoiser: on the same device.
        given: the given frames in [-1, 1].
        text: tokens of instruction and states; None for a denoiser that reads none.
        seeds: one for each video.
        micro: fps, motion bucket and noise augmentation of each video.
        sampler: settings of the sampler.
        callback: called after each sampling step.
        encodings: cache of the frames' encodings; None starts with an empty one.
    """
    condition, num_frames = denoiser.config.condition, denoiser.config.num_frames
    device, scale = denoiser.device, backbone.down_scaling
    _, _, _, height, width = given.shape
    latent_shape = (num_frames, backbone.latent_channels, height // scale, width // scale)
    numbers = micro.tensors(condition)
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
    frames = backbone.decode(latents)
    if sampler.static_threshold:
        last = given[:, -1:].to(frames)
        (known,) = encodings.look_up("given", last, lambda rows: (backbone.encode(rows)[:, 0],))
        frames = keep_static(frames, latents, last[:, 0], known, sampler.static_threshold)
    return [to_uint8(video) for video in frames]


def preview(
    backbone: Backbone, latents: Float[Tensor, "b f c h w"], num_frames: int
) -> list[UInt8[np.ndarray, "n H W 3"]]:
    """A few evenly spread frames of each video, decoded from intermediate latents.

    The last frame is among them. They are decoded without their neighbours, which is less accurate.
    """
    number = min(num_frames, latents.shape[1])
    chosen = torch.linspace(latents.shape[1] - 1, 0, number).round().long().flip(0)
    return [to_uint8(video) for video in backbone.decode(latents[:, chosen])]
