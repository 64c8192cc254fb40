"""The input of a training step: videos of a cache with everything drawn for them, as a DataLoader.

Every draw of a sample comes from a generator of its own, a function of (seed, step, place in the
step's whole batch). So a step's samples depend neither on how the batch is split over processes and
forward passes nor on the number of workers, and a resumed run has those of the straight run.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aid.config import ConditionConfig, TrainConfig
from aid.data.cache import Batch, Cache
from aid.data.order import batch_indices
from aid.diffusion.edm import sample_sigmas
from aid.diffusion.leakage import time_noise_strength
from aid.models.conditions import Conditions, TextTokens
from aid.optim import sample_generators

NUM_WORKERS_BESIDE_A_GPU = 2
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
    """The conditions of a cached batch of which one frame of `stride` was kept."""
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
    """The motion of each video, 0 (a still) to 255 (uncorrelated frames).

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
    """Given frames with newly drawn noise, not encoded yet.

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
    """Videos with everything drawn for them, ready for the loss.

    If there is a `given`, the condition latents of the given frames are still to be encoded.
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
        """With the condition latents of the given frames encoded, if there is a `given`.

        Args:
            encode: condition latents of frames, on this batch's device.
            repeats_first: whether the first frame's are also those of the unknown frames.
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
    """Video `index` with a drawn wording, dropped conditions, noise level and noise.

    Args:
        condition: how conditions are made, and the share of samples that loses them.
        null: the tokens of a dropped instruction (b = 1); None: zeros.
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
    conditions = conditions_of(batch, condition, config.frame_stride)
    if config.time_noise.max_strength > 0:
        conditions, time_noise = _with_time_noise(conditions, condition, sigma, config, generator)
    conditions = conditions.dropped_at_random(null, condition.text_dropout, generator)
    given = None
    if pixels is not None:
        k, cell = pixels.shape[1], conditions.condition_latents.shape[2:]
        given = Given(
            pixels=pixels,
            time_noise=torch.zeros(1, k, *cell) if time_noise is None else time_noise,
            is_given=conditions.condition_latents.flatten(1).any(dim=1),
        )
    return Noised(
        latents=batch.latents, conditions=conditions, sigma=sigma, noise=noise, given=given
    )


def _noised_anew(
    data: Cache,
    index: int,
    condition: ConditionConfig,
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "1 k 3 H W"], Float[Tensor, " 1"]]:
    """The given frames of a video with noise whose strength is drawn as by `aid prepare`."""
    pixels = data.given_frames([index])[:, :: config.frame_stride]
    normal = torch.randn(1, generator=generator)
    strength = (condition.noise_aug_mean + condition.noise_aug_std * normal).exp()
    return pixels + strength * torch.randn(pixels.shape, generator=generator), strength


def _with_time_noise(
    conditions: Conditions,
    condition: ConditionConfig,
    sigma: Float[Tensor, " b"],
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Conditions, Float[Tensor, "b k c h w"]]:
    """Noise on the given frames' latents, the more the noisier the video is (`time_noise`).

    In units of those latents' own standard deviation, as they are not scaled to one. The condition
    `noise_aug_strength` becomes that of both noises, this and the one on the pixels.

    Returns:
        The conditions, and the noise in those units.
    """
    normal = torch.randn(len(conditions), generator=generator)
    strength = time_noise_strength(sigma, normal, config.noise, config.time_noise)
    latents = conditions.condition_latents.clone()
    k = len(range(0, condition.num_given_frames, config.frame_stride))
    given = latents[:, :k]
    scale = strength[:, None, None, None, None]
    unit = torch.randn(given.shape, generator=generator)
    noise = scale * given.std(dim=(1, 2, 3, 4), keepdim=True) * unit
    latents[:, :k] += noise
    if condition.frame_condition == "repeat_first":  # the rest repeats frame 0, noise and all
        latents[:, k:] += noise[:, :1]
    both = (conditions.noise_aug_strength.square() + strength.square()).sqrt()
    return replace(conditions, condition_latents=latents, noise_aug_strength=both), scale * unit


@dataclass(frozen=True, kw_only=True)
class Parts(Dataset):
    """Item `step * accumulate + part`: this process's share of one forward pass, on the CPU.

    Attributes:
        groups: videos that are drawn together, all of one length (`hard_examples.drawn_groups`).
        null: the tokens of a dropped instruction; None: zeros.
        num_processes: that share each forward pass; `rank` is this one's number.
    """

    data: Cache
    groups: list[list[int]]
    condition: ConditionConfig
    null: TextTokens | None
    train: TrainConfig
    num_processes: int
    rank: int

    def __len__(self) -> int:
        """Forward passes of the whole run."""
        return self.train.steps * self.train.accumulate

    def __getitem__(self, number: int) -> Noised | ValueError | OSError:
        """The samples of a forward pass, or the error of reading them, which `Feed` raises."""
        try:
            return self._drawn(*divmod(number, self.train.accumulate))
        except (ValueError, OSError) as error:  # a DataLoader would wrap it in a worker's traceback
            return error

    def _drawn(self, step: int, part: int) -> Noised:
        train, each, together = self.train, self.train.batch_size, len(self.groups[0])
        begin = (part * self.num_processes + self.rank) * each
        places = range(begin, begin + each)
        size = each * self.num_processes * train.accumulate
        chosen = batch_indices(len(self.groups), size // together, train.seed, step)
        whole = [index for group in chosen for index in self.groups[group]]
        own = sample_generators(train.seed, step, places)
        # A group shares its noise, drawn from a generator of its own beside the samples'.
        alike = own
        if together > 1:
            alike = sample_generators(train.seed, step, [-1 - p // together for p in places])
        return Noised.cat(
            [
                draw_sample(self.data, whole[place], self.condition, self.null, train, *generators)
                for place, *generators in zip(places, own, alike, strict=True)
            ]
        )


class Feed:
    """`feed(step, part)` gives the samples of a forward pass on the device.

    Worker processes load the following ones meanwhile. Passes are requested in order; another one
    restarts the workers from there, as a resumed run does.
    """

    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.parts, self.device = parts, device
        self._items: Iterator[Noised | ValueError | OSError] = iter(())
        self._next: int | None = None

    def __call__(self, step: int, part: int = 0) -> Noised:
        """The samples of a forward pass.

        Raises:
            ValueError: a file of the cache is damaged.
            OSError: it cannot be read.
        """
        number = step * self.parts.train.accumulate + part
        if number != self._next:
            self._items = iter(self._loader(number))
        item = next(self._items)
        self._next = number + 1
        if isinstance(item, Exception):
            raise item
        return item.to(self.device, non_blocking=True)

    def close(self) -> None:
        """Ends the workers."""
        self._items, self._next = iter(()), None

    def _loader(self, number: int) -> DataLoader:
        workers, on_gpu = self.parts.train.num_workers, self.device.type == "cuda"
        if workers is None:
            workers = NUM_WORKERS_BESIDE_A_GPU if on_gpu else 0
        return DataLoader(
            self.parts,
            batch_size=None,
            sampler=range(number, len(self.parts)),
            num_workers=workers,
            pin_memory=on_gpu,
            worker_init_fn=_leave_signals_to_the_run if workers else None,
        )


def _leave_signals_to_the_run(_: int) -> None:
    """Ctrl-c reaches all processes of the terminal; the run handles it and ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
