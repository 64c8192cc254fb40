"""One training run of AID: what is trained, at which rate, on what, checked how."""

import gc
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import ModelConfig, Precision, SamplerConfig, TrainConfig, to_json
from aid.data.cache import Cache, refuse_mixed_states
from aid.models.attention import use_plain_attention
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
from aid.models.denoiser import Denoiser
from aid.models.devices import dtype_of
from aid.optim import fit, flat
from aid.train.batches import Encode, empty_text
from aid.train.checking import Checker
from aid.train.compiling import as_written, compile_unet, plain_errors
from aid.train.hard_examples import drawn_groups
from aid.train.loading import Feed, Parts
from aid.train.processes import (
    enough_memory,
    refuse_to_spread_alone,
    spread_frozen_weights,
    tracked_accelerator,
    try_step,
)
from aid.train.records import describe, run_record

FREE = ("batch_size", "accumulate", "log_every", "check_every", "save_every", "trackers")
FREE += (
    "num_workers",
    "use_gradient_checkpointing",
    "checkpointed_levels",
    "use_compile",
    "spread_frozen",
)
"""Settings of `train` that may differ when a run goes on; the whole batch may not."""

RATE_TOLERANCE = 0.05
"""By which share the rate that a recipe tells may differ from the videos' without a warning."""


def train(
    cache: Path,
    out: Path,
    backbone: Path,
    *,
    model: ModelConfig | None,
    train: TrainConfig,
    sampler: SamplerConfig | None,
    held_out: Path | None = None,
    start: Path | None = None,
    accept: Sequence[str] = (),
    device: str | None = None,
    precision: Precision = "float32",
) -> Path:
    """Trains AID on `cache` and returns the checkpoint folder `out/checkpoint`.

    Args:
        backbone: folder of the frozen backbone; the cache must have been made with it.
        model: shape of the trained part; None takes that of `start`, or the defaults.
        sampler: how sheets are sampled, and the checkpoint's defaults for predicting; None as for
            `model`.
        held_out: a cache of unseen videos for the checks; none are made without it.
        start: a checkpoint whose weights the run starts from, such as one on every second frame.
        accept: names of facts in which the run may differ from the state that it goes on from;
            "backbone" also lets `start` come from another backbone of the same sizes.
        device: as for `choose_device`.
        precision: in which the frozen UNet is stored and all networks compute. What is trained
            stays float32; float16 has a gradient scaler.

    Raises:
        ValueError: the device is not there or has too little memory, the cache was made
            with another backbone or recipe, or `out` holds another run.
        Stopped: somebody asked the run to end; it is saved.
    """
    accelerator = tracked_accelerator(train, out, device, precision)
    model = model or (ModelConfig() if start is None else model_of(start))
    sampler = sampler or (SamplerConfig() if start is None else read_info(start).sampler)
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
        seen.require(**needed, **{"frames.fps": data.settings["fingerprint"].get("frames.fps")})
    if accelerator.is_main_process:
        _warn_of_rate(model, data)
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
    unet = load_backbone(backbone, ("unet",), dtype_of(precision)).part("unet")
    denoiser = _denoiser(unet, begun_id, data, model, start, accelerator)
    if train.use_gradient_checkpointing:
        denoiser.enable_gradient_checkpointing(train.checkpointed_levels)
    if train.use_compile:
        compile_unet(denoiser.unet, accelerator.device)
    if train.spread_frozen:
        refuse_to_spread_alone(accelerator)
        spread_frozen_weights(denoiser)
    with enough_memory(accelerator.device):
        denoiser.to(accelerator.device)
    parameters = dict(denoiser.trained.named_parameters())
    wrapped = accelerator.prepare(_Loss(denoiser, train))
    checker = None
    if seen is not None:
        checker = Checker(seen, denoiser, sampler, out, backbone, accelerator, train)
        if accelerator.is_main_process and not checker.has_other_words:
            warnings.warn(
                f"all videos of {str(held_out)!r} that are checked have the same instruction, so "
                "the log has no swap_gap and the sheets no videos with other words.",
                stacklevel=2,
            )
    info = _info(data, denoiser, backbone, backbone_id, sampler, train, begun_on)

    def save(step: int) -> None:
        if accelerator.is_main_process:
            save_checkpoint(out / "checkpoint", denoiser, replace(info, step=step))

    def check(step: int) -> dict[str, Any]:
        values = {} if checker is None else checker(step)
        return {**values, **_up_norms(denoiser)}

    settings = to_json(train)
    kept = {name: value for name, value in settings.items() if name not in FREE}
    if train.schedule == "constant":
        del kept["steps"]  # the first n steps are the same however many follow
    size = train.batch_size * train.accumulate * accelerator.num_processes
    facts = {
        "backbone": backbone_id,
        "data": info.data_fingerprint,
        "state_writer": info.state_writer,
        "model": to_json(model),
        "train": kept,
        "precision": precision,
        "whole_batch": size,
    }
    if accelerator.is_main_process:
        print(describe(denoiser), file=sys.stderr)
    record = run_record(denoiser, model, train, sampler, facts, accelerator)
    parts = Parts(
        data=data,
        groups=drawn_groups(data, train.hard_examples),
        condition=model.condition,
        null=denoiser.null_text(empty_text(data)),
        train=train,
        num_processes=accelerator.num_processes,
        rank=accelerator.process_index,
    )
    feed = Feed(parts, accelerator.device)
    encode = _encoder(backbone, accelerator.device) if train.redraw_noise_aug else None
    repeats_first = model.condition.frame_condition == "repeat_first"
    loss = _loss_of(accelerator, wrapped, feed, train.accumulate, encode, repeats_first)
    with plain_errors(), closing(feed):
        if accelerator.device.type != "cpu":  # a CPU's process would be killed, not told
            try_step(accelerator, loss, train.accumulate - 1, parameters.values())
        fit(
            accelerator,
            out,
            parameters,
            loss,
            train,
            title="aid",
            rates=_rates(train),
            parts=train.accumulate,
            group_of=group_of,
            facts=facts,
            record=record,
            accept=accept,
            on_check=as_written(check) if train.use_compile else check,
            on_save=save,
        )
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
    unet: nn.Module,
    backbone_id: str,
    data: Cache,
    model: ModelConfig,
    start: Path | None,
    accelerator: Accelerator,
) -> Denoiser:
    """A new one, or the one of `start`."""
    example = data.batch([0])
    if accelerator.device.type == "cpu":
        use_plain_attention(unet, math.prod(example.latents.shape[-2:]))
    if start is None:
        text_dim, image_dim = example.instruction_tokens.shape[-1], example.image_tokens.shape[-1]
        return Denoiser(unet, text_dim, image_dim, model)
    _refuse_another_shape(start, model)
    denoiser, _ = load_checkpoint(start, unet, backbone_id)
    denoiser.config = model
    return denoiser.train()


MAY_DIFFER = ("fps", "motion_bucket_id", "noise_aug_mean", "noise_aug_std", "noise_aug_strength")
MAY_DIFFER += ("text_dropout", "loss_on_given_frames")
"""Settings of `model.condition` that change what a network reads, not the network."""


def model_of(start: Path) -> ModelConfig:
    """The model settings of a checkpoint, for a run that starts from it on other data.

    The checkpoint's `condition.fps`, if it has one, is the rate of its own data; the run takes the
    rate of each video instead.
    """
    model = read_info(start).model
    return replace(model, condition=replace(model.condition, fps=None))


def _refuse_another_shape(start: Path, model: ModelConfig) -> None:
    begun, wanted = (flat(to_json(one)) for one in (read_info(start).model, model))
    for name in sorted(begun.keys() | wanted.keys()):
        is_free = name.removeprefix("condition.") in MAY_DIFFER
        if begun.get(name) != wanted.get(name) and not is_free:
            raise ValueError(
                f"checkpoint {str(start)!r} has another shape than this recipe: model.{name} is "
                f"{begun.get(name)!r} there and {wanted.get(name)!r} here. Leave the `model` "
                "settings out, so that the checkpoint's are taken, or start from nothing."
            )


def _loss_of(
    accelerator: Accelerator,
    wrapped: nn.Module,
    feed: Feed,
    accumulate: int,
    encode: Encode | None,
    repeats_first: bool,
) -> Callable[..., Tensor]:
    """The loss of one forward pass, on this process's share of the whole batch."""

    def loss(step: int, part: int = 0) -> Tensor:
        drawn = feed(step, part)
        if encode is not None:
            drawn = drawn.encoded(encode, repeats_first)
        # Gradients of several passes are exchanged once, with the last.
        is_last = part == accumulate - 1
        with nullcontext() if is_last else accelerator.no_sync(wrapped):
            return wrapped(drawn.latents, drawn.conditions, drawn.sigma, drawn.noise)

    return loss


def _encoder(backbone: Path, device: torch.device) -> Encode:
    """Condition latents of given frames by the backbone's VAE, in float32 as in a cache."""
    parts = load_backbone(backbone, ("vae",)).to(device)
    return lambda given: parts.encode_condition(given, given.shape[1], "zero_latents")


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
        source=data.settings.get("source", {}),
        frames=data.settings.get("frames", {}),
        step=train.steps,
        height=made_with["height"],
        width=made_with["width"],
        fps=data.fps,
    )


def _warn_of_rate(model: ModelConfig, data: Cache) -> None:
    """Says so where the model is told another rate than that of the videos."""
    told = model.condition.fps
    if told is not None and abs(told / data.fps - 1) > RATE_TOLERANCE:
        warnings.warn(
            f"model.condition.fps tells the model {told:g} frames a second for every video, and "
            f"those of {str(data.folder)!r} have {data.fps:.3g} on average. Leave it out to tell "
            "each video's true rate.",
            stacklevel=2,
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
