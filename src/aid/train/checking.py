"""Checks on unseen videos while training, distributed over all processes.

Every process does its share, and `gather` and `reduce` join the results. If one process sampled
alone, the others would wait for it until a timeout.
"""

import math
import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor

from aid.config import SamplerConfig, TrainConfig
from aid.data.cache import Cache
from aid.diffusion.edm import karras_sigmas
from aid.diffusion.sampler import SOLVERS
from aid.metrics.pairs import motion_ratio
from aid.models.backbone import load_backbone
from aid.models.conditions import Conditions
from aid.models.denoiser import Denoiser, guided_denoise
from aid.optim import sample_generators
from aid.train.batches import conditions_of, empty_text, every
from aid.train.hard_examples import other_instruction
from aid.video import contact_sheet, to_uint8, write_png

CHECKED_SIGMAS = (0.5, 1.5, 4.0, 12.0, 40.0)
NUM_CHECKED = 32
NUM_DRAWN = 4
DECODED_PIXELS = 2**18
"""At a time: 4 frames of 256 x 256, for which SVD's decoder takes 1.1 GB; 64 of 64 x 64."""
SEED = -1
"""Of every check, so that two checks differ in the weights only."""
STILL = 0.5
"""The motion ratio below which the run warns."""


def share_of(number: int, rank: int, num_processes: int) -> list[int]:
    """A process's places of `number`, equally many for each: the last ones wrap to the start.

    What all give, one after another and cut to `number`, is in order.
    """
    each = math.ceil(number / num_processes)
    return [place % number for place in range(rank * each, (rank + 1) * each)]


@dataclass(frozen=True)
class Checker:
    """The checks of one run.

    They process no more videos at once than a training step, so they need no more memory.
    """

    cache: Cache
    denoiser: Denoiser
    sampler: SamplerConfig
    folder: Path
    backbone: Path
    accelerator: Accelerator
    train: TrainConfig

    def __call__(self, step: int) -> dict[str, Any]:
        """All checks; the values for the log. Every process must call it."""
        self.denoiser.eval()
        values = {"motion_ratio": round(self.sheet(step), 4), **self.swap_gap()}
        self.denoiser.train()
        if values["motion_ratio"] < STILL:
            values["alarm"] = "the videos have almost stopped moving"
            if self.accelerator.is_main_process:
                warnings.warn(
                    f"step {step}: the drawn videos move {values['motion_ratio']:.2f} times as "
                    "much as the real ones. Early in a run this is usual; if it stays, the given "
                    "frame is being copied: try train.time_noise.max_strength (docs/training.md).",
                    stacklevel=2,
                )
        return values

    def _conditions(
        self, indices: list[int]
    ) -> tuple[Float[Tensor, "b f c h w"], dict[str, Conditions]]:
        """Latents of held-out videos, and their conditions by name.

        With the true instruction ("true"), another one ("swap"), and none ("empty").
        """
        config, stride = self.denoiser.config.condition, self.train.frame_stride
        device = self.accelerator.device
        batch = every(self.cache.batch(indices), stride)
        true = conditions_of(batch, config, stride).to(device)
        others = other_instruction(self.cache, indices)
        other = every(self.cache.batch(indices, text_of=others), stride)
        empty = self.denoiser.null_text(empty_text(self.cache).to(device))
        conditions = {"true": true}
        if self.has_other_words:
            conditions["swap"] = conditions_of(other, config, stride).to(device)
        return batch.latents.to(device), {**conditions, "empty": true.without_text(empty)}

    @cached_property
    def has_other_words(self) -> bool:
        """Whether any of the checked videos has another instruction to swap with."""
        checked = range(min(NUM_CHECKED, len(self.cache)))
        return other_instruction(self.cache, checked) != list(checked)

    def _noise(self, indices: list[int], shape: torch.Size) -> Tensor:
        """Noise of each video, the same at every check and in every process."""
        generators = sample_generators(SEED, 0, indices)
        noise = torch.stack([torch.randn(shape[1:], generator=g) for g in generators])
        return noise.to(self.accelerator.device)

    @torch.no_grad()
    def swap_gap(self) -> dict[str, float]:
        """Held-out loss by noise level, and how much it grows with another instruction or none.

        The same noise for all. A gap above 0 means that the text is used; it is the cheapest early
        sign of obedience. Without `has_other_words` there is no gap to another instruction.
        """
        number, rank = min(NUM_CHECKED, len(self.cache)), self.accelerator.process_index
        # As many for each process, so that all run the model equally often; none counts twice.
        mine = share_of(number, rank, self.accelerator.num_processes)
        counted = torch.arange(rank * len(mine), (rank + 1) * len(mine)) < number
        compared = ("swap", "empty") if self.has_other_words else ("empty",)
        names = [f"{name}_{sigma:g}" for name in ("true", *compared) for sigma in CHECKED_SIGMAS]
        total = dict.fromkeys(names, 0.0)
        for start in range(0, len(mine), self.train.batch_size):
            indices = mine[start : start + self.train.batch_size]
            latents, by_name = self._conditions(indices)
            noise = self._noise(indices, latents.shape)
            for name, conditions in by_name.items():
                for sigma in CHECKED_SIGMAS:
                    level = torch.full((len(indices),), sigma, device=latents.device)
                    losses = self.denoiser.loss(latents, noise, level, conditions)
                    own = losses.cpu().double()[counted[start : start + len(indices)]]
                    total[f"{name}_{sigma:g}"] += float(own.sum())
        summed = torch.tensor([total[name] for name in names], device=self.accelerator.device)
        means = dict(zip(names, (self.accelerator.reduce(summed) / number).tolist(), strict=True))
        values = {f"true_{s:g}": round(means[f"true_{s:g}"], 5) for s in CHECKED_SIGMAS}
        for sigma in CHECKED_SIGMAS:
            for name in compared:
                gap = means[f"{name}_{sigma:g}"] - means[f"true_{sigma:g}"]
                values[f"{name}_gap_{sigma:g}"] = round(gap, 5)
        return values

    @torch.no_grad()
    def sheet(self, step: int) -> float:
        """Samples held-out videos with the true, another and no instruction, below the real ones.

        Returns the motion ratio of those with the true one.
        """
        number = min(NUM_DRAWN, len(self.cache))
        gather = self.accelerator.gather
        mine = share_of(number, self.accelerator.process_index, self.accelerator.num_processes)
        decoder = load_backbone(self.backbone, ("vae",)).to(self.accelerator.device)
        decode = partial(decoder.decode, chunk=self._chunk(decoder.down_scaling))
        each = max(1, self.train.batch_size // 3)  # guidance makes up to three predictions of one
        shown: dict[str, list[Tensor]] = {}
        for start in range(0, len(mine), each):
            indices = mine[start : start + each]
            latents, by_name = self._conditions(indices)
            videos = {"real": latents}
            for name, conditions in by_name.items():
                if name == "true" or self.denoiser.reads_text:
                    videos[name] = self._sample(indices, latents.shape, conditions)
            for name, all_of_them in videos.items():
                shown.setdefault(name, []).extend(map(decode, all_of_them.split(1)))
        drawn = {name: gather(torch.cat(ones))[:number].cpu() for name, ones in shown.items()}
        real = drawn.pop("real")
        if self.accelerator.is_main_process:
            words = {"true": "its own words", "swap": "other words", "empty": "no words"}
            rows = []
            for place in range(number):
                name = str(self.cache.rows[place]["id"])
                rows.append((f"{name}: real", to_uint8(real[place])))
                rows += [(f"{name}: {words[k]}", to_uint8(v[place])) for k, v in drawn.items()]
            write_png(self.folder / f"sheet-{step:06d}.png", contact_sheet(rows, scale=2))
        return motion_ratio(drawn["true"], real)

    def _chunk(self, down_scaling: int) -> int:
        """Frames that are decoded at a time."""
        h, w = self.cache.batch([0]).latents.shape[-2:]
        return max(1, DECODED_PIXELS // (h * w * down_scaling**2))

    def _sample(
        self, indices: list[int], shape: torch.Size, conditions: Conditions
    ) -> Float[Tensor, "b f c h w"]:
        """Latents of drawn videos, each from noise of its own."""
        s, device = self.sampler, self.accelerator.device
        empty = empty_text(self.cache).to(device)
        denoise = guided_denoise(self.denoiser, conditions, empty, s)
        sigmas = karras_sigmas(s.num_steps, s.sigma_min, s.sigma_max, s.rho).to(device)
        return SOLVERS[self.sampler.solver](
            denoise, self._noise(indices, shape) * sigmas[0], sigmas
        )
