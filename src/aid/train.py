"""Verb 2: a cache -> trained DQFormer, adapters and cross-attention, as a checkpoint folder.

The loop itself is `optim.fit`; here is what AID's loss is, and what is checked on unseen videos:
the loss, the swap gap (does the text matter, and at which noise?) and a sheet of sampled videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import ConditionConfig, ModelConfig, SamplerConfig, TrainConfig, to_json
from aid.data.cache import Batch, Cache, batch_indices, refuse_mixed_states
from aid.diffusion.edm import karras_sigmas, sample_sigmas
from aid.diffusion.sampler import SOLVERS
from aid.models.attention import use_plain_attention
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from aid.models.conditions import Conditions, TextTokens
from aid.models.denoiser import Denoiser, guided_denoise
from aid.optim import fit, generator_for
from aid.video import contact_sheet, to_uint8, write_png

CHECKED_SIGMAS = (0.5, 1.5, 4.0, 12.0)
NUM_CHECKED = 32


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
        motion_bucket_id=torch.full_like(batch.fps, config.motion_bucket_id),
        noise_aug_strength=batch.noise_aug_strength,
        text=text,
    )


def empty_text(cache: Cache) -> TextTokens:
    """The tokens of no instruction and no states."""
    tokens, mask = cache.empty_sentence()
    return TextTokens(
        instruction_tokens=tokens, instruction_mask=mask, state_tokens=tokens, state_mask=mask
    )


def other_instruction(cache: Cache, indices: Sequence[int]) -> list[int]:
    """For each video another one with the same first frame, or itself where there is none."""
    siblings: dict[int, list[int]] = {}
    for index, row in enumerate(cache.rows):
        siblings.setdefault(row["first_frame"], []).append(index)
    swapped = []
    for index in indices:
        family = siblings[cache.rows[index]["first_frame"]]
        swapped.append(family[(family.index(index) + 1) % len(family)])
    return swapped


@dataclass(frozen=True)
class Checker:
    """What is looked at on unseen videos while training."""

    cache: Cache
    denoiser: Denoiser
    sampler: SamplerConfig
    folder: Path
    backbone: Path
    device: torch.device
    frame_stride: int = 1

    @torch.no_grad()
    def swap_gap(self) -> dict[str, Any]:
        """Held-out loss, and how much it grows with another instruction of the same frame.

        The same noise for both. A gap above 0 means that the text is used; it is the cheapest early
        sign of obedience. Also for the empty instruction.
        """
        config = self.denoiser.config.condition
        empty = empty_text(self.cache).to(self.device)
        stride = self.frame_stride
        found: dict[str, list[Tensor]] = {}
        for start in range(0, min(NUM_CHECKED, len(self.cache)), 16):
            indices = list(range(start, min(start + 16, len(self.cache))))
            batch = every(self.cache.batch(indices), stride)
            true = conditions_of(batch, config, stride).to(self.device)
            others = other_instruction(self.cache, indices)
            batch = every(self.cache.batch(indices, text_of=others), stride)
            swapped = conditions_of(batch, config, stride).to(self.device)
            latents = batch.latents.to(self.device)
            generator = generator_for(0, start, stream=9)
            noise = torch.randn(latents.shape, generator=generator).to(self.device)
            for sigma in CHECKED_SIGMAS:
                level = torch.full((len(indices),), sigma, device=self.device)
                for name, conditions in (
                    ("true", true),
                    ("swap", swapped),
                    ("empty", true.without_text(self.denoiser.null_text(empty))),
                ):
                    loss = self.denoiser.loss(latents, conditions, level, noise)
                    found.setdefault(f"{name}_{sigma:g}", []).append(loss)
        means = {name: float(torch.cat(losses).mean()) for name, losses in found.items()}
        values = {name: round(value, 5) for name, value in means.items() if name[:4] == "true"}
        for sigma in CHECKED_SIGMAS:
            for name in ("swap", "empty"):
                gap = means[f"{name}_{sigma:g}"] - means[f"true_{sigma:g}"]
                values[f"{name}_gap_{sigma:g}"] = round(gap, 5)
        return values

    @torch.no_grad()
    def sheet(self, step: int, num_videos: int = 6) -> None:
        """Samples the first held-out videos and draws them under the real ones."""
        indices = list(range(min(num_videos, len(self.cache))))
        batch = every(self.cache.batch(indices), self.frame_stride)
        config = self.denoiser.config.condition
        conditions = conditions_of(batch, config, self.frame_stride).to(self.device)
        denoise = guided_denoise(
            self.denoiser, conditions, empty_text(self.cache).to(self.device), self.sampler
        )
        s = self.sampler
        sigmas = karras_sigmas(s.num_steps, s.sigma_min, s.sigma_max, s.rho).to(self.device)
        noise = torch.randn(batch.latents.shape, generator=generator_for(0, 0, stream=8))
        solve = SOLVERS[self.sampler.solver]
        latents = solve(denoise, noise.to(self.device) * sigmas[0], sigmas)
        decoder = load_backbone(self.backbone, ("vae",)).to(self.device)
        real, predicted = decoder.decode(batch.latents.to(self.device)), decoder.decode(latents)
        rows = []
        for index in indices:
            name = str(self.cache.rows[index]["id"])
            rows.append((f"{name}: real", to_uint8(real[index])))
            rows.append((f"{name}: predicted", to_uint8(predicted[index])))
        write_png(self.folder / f"sheet-{step:06d}.png", contact_sheet(rows, scale=2))


def train(
    cache: Path,
    out: Path,
    backbone: Path,
    *,
    model: ModelConfig,
    train: TrainConfig,
    sampler: SamplerConfig,
    held_out: Path | None = None,
    start: Path | None = None,
) -> Path:
    """Trains AID on `cache` and returns the checkpoint folder `out/checkpoint`.

    Args:
        backbone: folder of the frozen backbone; the cache must have been made with it.
        sampler: how sheets are sampled, and the checkpoint's defaults for predicting.
        held_out: a cache of unseen videos for the checks; none are made without it.
        start: a checkpoint whose weights the run starts from, such as one on every second frame.

    Raises:
        ValueError: the cache was made with another backbone or recipe, or `out` holds another run.
    """
    accelerator = Accelerator(mixed_precision=train.mixed_precision)
    data = Cache(cache)
    backbone_id = backbone_hash(backbone)
    needed = {
        "backbone": backbone_id,
        "num_frames": model.num_frames,
        "num_given_frames": model.condition.num_given_frames,
        "frame_condition": model.condition.frame_condition,
    }
    data.require(**needed)
    torch.manual_seed(train.seed)
    unet = load_backbone(backbone, ("unet",)).part("unet")
    if accelerator.device.type == "cpu":
        use_plain_attention(unet)
    example = data.batch([0])
    if start is None:
        denoiser = Denoiser(
            unet, example.instruction_tokens.shape[-1], example.image_tokens.shape[-1], model
        )
    else:
        denoiser, begun = load_checkpoint(start, unet, backbone_id)
        if begun.model != model:
            raise ValueError(
                f"checkpoint {str(start)!r} has another shape than this recipe's `model` settings. "
                "Start from a checkpoint of the same recipe, or from nothing."
            )
    states_see = {str(cache): data.states_see}
    if start is not None:
        states_see[str(start)] = begun.states_see or ()
    if held_out is not None:
        states_see[str(held_out)] = Cache(held_out).states_see
    if not train.allow_mixed_states:
        refuse_mixed_states(states_see)
    if train.use_gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()
    wrapped = accelerator.prepare(_Loss(denoiser, train.motion_weight))
    empty = empty_text(data).to(accelerator.device)
    size = train.batch_size * accelerator.num_processes
    mine = slice(
        accelerator.process_index * train.batch_size,
        (accelerator.process_index + 1) * train.batch_size,
    )

    def loss(step: int) -> Tensor:
        indices = batch_indices(len(data), size, train.seed, step)[mine]
        generator = generator_for(train.seed, step, stream=accelerator.process_index)
        batch = every(data.batch(indices, generator), train.frame_stride)
        conditions = conditions_of(batch, model.condition, train.frame_stride)
        conditions = conditions.to(accelerator.device)
        conditions = denoiser.drop_conditions(conditions, empty, generator)
        sigma = sample_sigmas(len(indices), train.noise, generator).to(accelerator.device)
        noise = torch.randn(batch.latents.shape, generator=generator).to(accelerator.device)
        return wrapped(batch.latents.to(accelerator.device), conditions, sigma, noise)

    checker = None
    if held_out is not None:
        seen = Cache(held_out)
        seen.require(**needed)
        checker = Checker(
            seen, denoiser, sampler, out, backbone, accelerator.device, train.frame_stride
        )
    made_with = data.settings["fingerprint"]
    info = CheckpointInfo(
        model=model,
        sampler=sampler,
        text_dim=example.instruction_tokens.shape[-1],
        image_dim=example.image_tokens.shape[-1],
        backbone_name=backbone.name,
        backbone_hash=backbone_id,
        state_writer=made_with["state_writer"],
        states_see=tuple(sorted({*data.states_see, *states_see.get(str(start), ())})),
        data_fingerprint=made_with["manifest"],
        step=train.steps,
        height=made_with["height"],
        width=made_with["width"],
        fps=model.condition.fps or sum(row["fps"] for row in data.rows) / len(data),
    )

    def check(step: int) -> dict[str, Any]:
        if not accelerator.is_main_process:
            return {}
        save_checkpoint(out / "checkpoint", denoiser, replace(info, step=step))
        if checker is None:
            return {}
        denoiser.eval()
        checker.sheet(step)
        values = checker.swap_gap()
        denoiser.train()
        return values

    parameters = dict(denoiser.trained.named_parameters())
    rates = {name: train.learning_rate for name in parameters}
    for name in parameters:
        if name.startswith("cross_attention."):
            rates[name] = train.cross_attention_learning_rate
    facts = {"backbone": backbone_id, "model": to_json(model), "seed": train.seed}
    fit(
        accelerator, out, parameters, loss, train,
        title="aid", rates=rates.__getitem__, on_check=check, facts=facts,
    )  # fmt: skip
    return out / "checkpoint"


class _Loss(nn.Module):
    """The mean loss as a forward pass, which is what accelerate can spread over devices."""

    def __init__(self, denoiser: Denoiser, motion_weight: float) -> None:
        super().__init__()
        self.denoiser, self.motion_weight = denoiser, motion_weight

    def forward(
        self, latents: Tensor, conditions: Conditions, sigma: Tensor, noise: Tensor
    ) -> Float[Tensor, ""]:
        return self.denoiser.loss(latents, conditions, sigma, noise, self.motion_weight).mean()
