"""One training run of AID: what is trained, at which rate, on what, checked how."""

import gc
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import ModelConfig, SamplerConfig, TrainConfig, to_json
from aid.data.cache import Cache, refuse_mixed_states
from aid.data.order import batch_indices
from aid.models.attention import use_plain_attention
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
from aid.models.denoiser import Denoiser
from aid.models.spreading import spread_frozen_weights
from aid.optim import fit, sample_generators
from aid.train.batches import Noised, draw_sample, empty_text
from aid.train.checking import Checker
from aid.train.compiling import as_written, compile_unet, plain_errors
from aid.train.groups import drawn_groups
from aid.train.processes import make_accelerator, refuse_to_spread_alone
from aid.train.records import describe, run_record

FREE = ("batch_size", "accumulate", "log_every", "check_every", "save_every", "trackers")
FREE += ("use_gradient_checkpointing", "checkpointed_levels", "use_compile", "spread_frozen")
"""Settings of `train` that may differ when a run goes on; the whole batch may not."""


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
    accept: Sequence[str] = (),
) -> Path:
    """Trains AID on `cache` and returns the checkpoint folder `out/checkpoint`.

    Args:
        backbone: folder of the frozen backbone; the cache must have been made with it.
        sampler: how sheets are sampled, and the checkpoint's defaults for predicting.
        held_out: a cache of unseen videos for the checks; none are made without it.
        start: a checkpoint whose weights the run starts from, such as one on every second frame.
        accept: names of facts in which the run may differ from the state that it goes on from;
            "backbone" also lets `start` come from another backbone of the same sizes.

    Raises:
        ValueError: the cache was made with another backbone or recipe, or `out` holds another run.
        Stopped: somebody asked the run to end; it is saved.
    """
    accelerator = make_accelerator(train, out)
    data = Cache(cache)
    backbone_id = backbone_hash(backbone)
    needed = {
        "backbone": backbone_id,
        "num_frames": model.num_frames,
        "num_given_frames": model.condition.num_given_frames,
        "frame_condition": model.condition.frame_condition,
    }
    data.require(**needed)
    seen = None if held_out is None else Cache(held_out)
    if seen is not None:
        seen.require(**needed)
    states_see = {str(cache): data.states_see}
    if start is not None:
        states_see[str(start)] = read_info(start).states_see or ()
    begun_on = states_see.get(str(start), ())
    if seen is not None:
        states_see[str(held_out)] = seen.states_see
    if not train.allow_mixed_states:
        refuse_mixed_states(states_see)
    torch.manual_seed(train.seed)
    begun_id = backbone_id
    if start is not None and "backbone" in accept:
        begun_id = read_info(start).backbone_hash
    denoiser = _denoiser(backbone, begun_id, data, model, train, start, accelerator)
    if train.use_gradient_checkpointing:
        denoiser.enable_gradient_checkpointing(train.checkpointed_levels)
    if train.use_compile:
        compile_unet(denoiser.unet, accelerator.device)
    if train.spread_frozen:
        refuse_to_spread_alone(accelerator)
        spread_frozen_weights(denoiser)
    denoiser.to(accelerator.device)
    parameters = dict(denoiser.trained.named_parameters())
    wrapped = accelerator.prepare(_Loss(denoiser, train))
    checker = None
    if seen is not None:
        checker = Checker(seen, denoiser, sampler, out, backbone, accelerator, train)
    info = _info(data, denoiser, backbone, backbone_id, sampler, train, begun_on)

    def check(step: int) -> dict[str, Any]:
        if accelerator.is_main_process:
            save_checkpoint(out / "checkpoint", denoiser, replace(info, step=step))
        values = {} if checker is None else checker(step)
        return {**values, **_up_norms(denoiser)}

    settings = to_json(train)
    kept = {name: value for name, value in settings.items() if name not in FREE}
    if train.optimizer == "adamw":
        del kept["optimizer"]  # states from before there was a choice go on
    for name in ("huber_scale", "emphasis", "contrasts"):
        if not kept[name]:
            del kept[name]  # as above
    if train.schedule == "constant":
        del kept["steps"]  # the first n steps are the same however many follow
    size = train.batch_size * train.accumulate * accelerator.num_processes
    facts = {
        "backbone": backbone_id,
        "data": info.data_fingerprint,
        "state_writer": info.state_writer,
        "model": to_json(model),
        "train": kept,
        "whole_batch": size,
    }
    if accelerator.is_main_process:
        print(describe(denoiser), file=sys.stderr)
    record = run_record(denoiser, model, train, sampler, facts, accelerator)
    loss = _loss_of(accelerator, wrapped, denoiser, data, train)
    with plain_errors():
        fit(
            accelerator, out, parameters, loss, train, title="aid", rates=_rates(train),
            parts=train.accumulate, group_of=group_of, facts=facts, record=record, accept=accept,
            on_check=as_written(check) if train.use_compile else check,
        )  # fmt: skip
    # DDP's reducer goes before the process group does. The other way round it waits, holding
    # Python's lock, for gloo's thread, which may be waiting for that lock.
    accelerator.free_memory()
    del wrapped
    gc.collect()
    accelerator.end_training()
    return out / "checkpoint"


def group_of(name: str) -> str:
    """The group of a trained tensor in the log: its adapter's kind, or the part it belongs to."""
    part, kind = name.split(".")[:2]
    return kind if part == "adapters" else part


def _rates(train: TrainConfig) -> Callable[[str], float]:
    def rate(name: str) -> float:
        if name.startswith(("cross_attention.", "weights.")):  # these start from pretrained ones
            return train.cross_attention_learning_rate
        return train.learning_rate

    return rate


def _denoiser(
    backbone: Path,
    backbone_id: str,
    data: Cache,
    model: ModelConfig,
    train: TrainConfig,
    start: Path | None,
    accelerator: Accelerator,
) -> Denoiser:
    """A new one, or the one of `start`."""
    dtype = getattr(torch, train.frozen_weights)
    unet = load_backbone(backbone, ("unet",), dtype).part("unet")
    example = data.batch([0])
    if accelerator.device.type == "cpu":
        use_plain_attention(unet, math.prod(example.latents.shape[-2:]))
    if start is None:
        text_dim, image_dim = example.instruction_tokens.shape[-1], example.image_tokens.shape[-1]
        return Denoiser(unet, text_dim, image_dim, model)
    denoiser, begun = load_checkpoint(start, unet, backbone_id)
    if begun.model != model:
        raise ValueError(
            f"checkpoint {str(start)!r} has another shape than this recipe's `model` settings. "
            "Start from a checkpoint of the same recipe, or from nothing."
        )
    return denoiser.train()


def _loss_of(
    accelerator: Accelerator, wrapped: nn.Module, denoiser: Denoiser, data: Cache,
    train: TrainConfig,
) -> Callable[..., Tensor]:  # fmt: skip
    """The loss of one part of a step, on this process's share of the whole batch."""
    each, processes, rank = train.batch_size, accelerator.num_processes, accelerator.process_index
    empty, size, siblings = empty_text(data), each * processes * train.accumulate, train.siblings
    groups = drawn_groups(data, train)

    def loss(step: int, part: int = 0) -> Tensor:
        begin = (part * processes + rank) * each
        places = range(begin, begin + each)
        chosen = batch_indices(len(groups), size // siblings, train.seed, step)
        whole = [index for group in chosen for index in groups[group]]
        own = sample_generators(train.seed, step, places)
        # Siblings draw their noise alike, each group from a generator beside the samples' own.
        alike = own
        if siblings > 1:
            alike = sample_generators(train.seed, step, [-1 - p // siblings for p in places])
        samples = [
            draw_sample(data, whole[place], denoiser, empty, train, *generators)
            for place, *generators in zip(places, own, alike, strict=True)
        ]
        drawn = Noised.cat(samples).to(accelerator.device)
        # Gradients of several parts are exchanged once, with the last.
        is_last = part == train.accumulate - 1
        with nullcontext() if is_last else accelerator.no_sync(wrapped):
            return wrapped(drawn.latents, drawn.conditions, drawn.sigma, drawn.noise)

    return loss


def _info(
    data: Cache,
    denoiser: Denoiser,
    backbone: Path,
    backbone_id: str,
    sampler: SamplerConfig,
    train: TrainConfig,
    begun_on: Sequence[str],
) -> CheckpointInfo:
    model, made_with = denoiser.config, data.settings["fingerprint"]
    return CheckpointInfo(
        model=model,
        sampler=sampler,
        text_dim=denoiser.text_dim,
        image_dim=denoiser.image_dim,
        backbone_name=backbone.name,
        backbone_hash=backbone_id,
        state_writer=made_with["state_writer"],
        states_see=tuple(sorted({*data.states_see, *begun_on})),
        data_fingerprint=made_with["manifest"],
        data_licence=data.settings.get("licence"),
        step=train.steps,
        height=made_with["height"],
        width=made_with["width"],
        fps=model.condition.fps or sum(row["fps"] for row in data.rows) / len(data),
    )


def _up_norms(denoiser: Denoiser) -> dict[str, float]:
    """The norm of each kind of adapter's W_up, which starts at 0: is the adapter doing anything?"""
    kinds: dict[str, list[Tensor]] = {}
    for name, p in denoiser.trained.named_parameters():
        if ".up." in name:
            kinds.setdefault(group_of(name), []).append(p.detach().flatten())
    return {f"up_norm_{kind}": round(float(torch.cat(t).norm()), 5) for kind, t in kinds.items()}


class _Loss(nn.Module):
    """The mean loss as a forward pass, which is what accelerate can spread over devices."""

    def __init__(self, denoiser: Denoiser, train: TrainConfig) -> None:
        super().__init__()
        # All that accelerate has to know, and DDP to keep equal: the trained part. The tuple hides
        # the rest, which is frozen and may be spread over the processes.
        self.trained = denoiser.trained
        self._weighting = {
            "motion_weight": train.motion_weight,
            "huber_scale": train.huber_scale,
        }
        self._hidden = (denoiser,)

    def forward(
        self, latents: Tensor, conditions: Any, sigma: Tensor, noise: Tensor
    ) -> Float[Tensor, ""]:
        (denoiser,) = self._hidden
        return denoiser.loss(latents, conditions, sigma, noise, **self._weighting).mean()
