"""Training AID: `build` makes a run from a cache and its settings, `train` runs it.

Reference: AID, method; the loop itself is `optim.fit`.
"""

import gc
import math
import platform
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
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
from aid.models.conditions import Conditions
from aid.models.denoiser import Denoiser
from aid.models.devices import dtype_of
from aid.optim import fit, flat
from aid.train.batches import Encode, Feed, Parts, empty_text
from aid.train.checking import Checker
from aid.train.execution import (
    compile_unet,
    enough_memory,
    plain_errors,
    refuse_to_spread_alone,
    share_of_frozen,
    spread_frozen_weights,
    tracked_accelerator,
    try_step,
    without_compiling,
)
from aid.train.hard_examples import drawn_groups

MAY_CHANGE = (
    "batch_size",
    "accumulate",
    "log_every",
    "check_every",
    "save_every",
    "trackers",
    "num_workers",
    "use_gradient_checkpointing",
    "checkpointed_levels",
    "use_compile",
    "spread_frozen",
)
"""Settings of `train` that may differ when a run is resumed; the whole batch may not."""
CONDITIONS_MAY_CHANGE = (
    "fps",
    "motion_bucket_id",
    "noise_aug_mean",
    "noise_aug_std",
    "noise_aug_strength",
    "text_dropout",
    "loss_on_given_frames",
)
"""Settings of `model.condition` that change the input of a network, not its shape."""
RATE_TOLERANCE = 0.05
"""The relative difference of the recipe's rate and the videos' without a warning."""
PACKAGES = ("aid-video", "torch", "diffusers", "accelerate", "safetensors")


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
        cache: what `aid prepare` wrote.
        out: folder of the run. A run that was stopped there is resumed exactly.
        backbone: folder of the frozen backbone; the cache must have been made with it.
        model: shape of the trained part; None takes that of `start`, or the defaults.
        train: the training settings.
        sampler: how check videos are sampled, and the checkpoint's defaults for predicting; None as
            for `model`.
        held_out: a cache of unseen videos for the checks; none are made without it.
        start: a checkpoint whose weights initialize the run, such as one trained on every second
            frame.
        accept: names of facts in which the run may differ from the state that it resumes;
            "backbone" also allows a `start` on another backbone of the same sizes.
        device: as for `choose_device`.
        precision: of the frozen UNet and all arithmetic. Trained weights are float32; float16 has a
            gradient scaler.

    Raises:
        ValueError: the device is not there or has too little memory, the cache was made
            with another backbone or recipe, or `out` holds another run.
        Stopped: the run was asked to end; its state is saved.
    """
    accelerator = tracked_accelerator(train, out, device, precision)
    run = build(
        accelerator,
        cache,
        out,
        backbone,
        model=model,
        train=train,
        sampler=sampler,
        held_out=held_out,
        start=start,
        accept=accept,
        precision=precision,
    )
    if accelerator.is_main_process:
        print(describe(run.denoiser), file=sys.stderr)
    with plain_errors(), closing(run.feed):
        if accelerator.device.type != "cpu":  # the system would kill a process on a CPU
            try_step(accelerator, run.loss, train.accumulate - 1, run.parameters.values())
        fit(
            accelerator,
            out,
            run.parameters,
            run.loss,
            train,
            title="aid",
            rates=partial(peak_rate, train),
            parts=train.accumulate,
            group_of=group_of,
            facts=run.facts,
            record=run.record,
            accept=accept,
            on_check=without_compiling(run.check) if train.use_compile else run.check,
            on_save=run.save,
        )
    # DDP's reducer must be freed before the process group. Otherwise it waits, holding Python's
    # lock, for gloo's thread, which may wait for that lock.
    accelerator.free_memory()
    del run
    gc.collect()
    accelerator.end_training()
    return out / "checkpoint"


@dataclass(kw_only=True)
class Run:
    """One training run, built.

    Attributes:
        loss_module: makes the loss of a batch; accelerate has prepared it.
        encode: condition latents of given frames, where they are noised anew.
        checker: makes the checks on held-out videos, if there are any.
        info: of the checkpoint.
        facts: must be equal for the run to be resumed.
        record: what made the run, for people (run.json).
    """

    out: Path
    accelerator: Accelerator
    denoiser: Denoiser
    train: TrainConfig
    loss_module: nn.Module
    feed: Feed
    encode: Encode | None
    checker: Checker | None
    info: CheckpointInfo
    facts: dict[str, Any]
    record: dict[str, Any]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained tensors by name."""
        return dict(self.denoiser.trained.named_parameters())

    def loss(self, step: int, part: int = 0) -> Float[Tensor, ""]:
        """The mean loss of one forward pass, on this process's share of the whole batch."""
        drawn = self.feed(step, part)
        if self.encode is not None:
            condition = self.denoiser.config.condition
            drawn = drawn.encoded(self.encode, condition.frame_condition == "repeat_first")
        # Gradients of several passes are exchanged once, with the last.
        is_last = part == self.train.accumulate - 1
        with nullcontext() if is_last else self.accelerator.no_sync(self.loss_module):
            return self.loss_module(drawn.latents, drawn.noise, drawn.sigma, drawn.conditions)

    def check(self, step: int) -> dict[str, Any]:
        """The checks' values for the log. Every process must call it."""
        values = {} if self.checker is None else self.checker(step)
        return {**values, **_up_norms(self.denoiser)}

    def save(self, step: int) -> None:
        """Writes the checkpoint."""
        if self.accelerator.is_main_process:
            info = replace(self.info, step=step)
            save_checkpoint(self.out / "checkpoint", self.denoiser, info)


def build(
    accelerator: Accelerator,
    cache: Path,
    out: Path,
    backbone: Path,
    *,
    model: ModelConfig | None,
    train: TrainConfig,
    sampler: SamplerConfig | None,
    held_out: Path | None,
    start: Path | None,
    accept: Sequence[str],
    precision: Precision,
) -> Run:
    """Loads and joins everything that a run needs; nothing is written. Arguments as for `train`."""
    begun = None if start is None else read_info(start)
    if model is None:
        model = ModelConfig() if start is None else model_of(start)
    if sampler is None:
        sampler = SamplerConfig() if begun is None else begun.sampler
    backbone_id = backbone_hash(backbone)
    data, unseen = _open_caches(cache, held_out, model, backbone_id)
    states_see = {str(cache): data.states_see}
    if begun is not None:
        states_see[str(start)] = begun.states_see or ()
    if unseen is not None:
        states_see[str(held_out)] = unseen.states_see
    if not train.allow_mixed_states:
        refuse_mixed_states(states_see)
    if accelerator.is_main_process:
        _warn_of_rate(model, data)

    torch.manual_seed(train.seed)
    unet = load_backbone(backbone, ("unet",), dtype_of(precision)).part("unet")
    begun_id = begun.backbone_hash if begun and "backbone" in accept else backbone_id
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
    loss_module = accelerator.prepare(LossModule(denoiser, train))

    checker = None
    if unseen is not None:
        checker = Checker(unseen, denoiser, sampler, out, backbone, accelerator, train)
        if accelerator.is_main_process and not checker.has_other_words:
            warnings.warn(
                f"all checked videos of {str(held_out)!r} have the same instruction, so the log "
                "has no swap_gap and the sheets have no videos with other words.",
                stacklevel=3,
            )
    parts = Parts(
        data=data,
        groups=drawn_groups(data, train.hard_examples),
        condition=model.condition,
        null=denoiser.null_text(empty_text(data)),
        train=train,
        num_processes=accelerator.num_processes,
        rank=accelerator.process_index,
    )
    begun_on = () if begun is None else begun.states_see or ()
    info = _info(data, denoiser, backbone, backbone_id, sampler, train, begun_on)
    facts = _facts(info, train, precision, accelerator.num_processes)
    return Run(
        out=out,
        accelerator=accelerator,
        denoiser=denoiser,
        train=train,
        loss_module=loss_module,
        feed=Feed(parts, accelerator.device),
        encode=_encoder(backbone, accelerator.device) if train.redraw_noise_aug else None,
        checker=checker,
        info=info,
        facts=facts,
        record=_record(denoiser, train, sampler, facts, accelerator),
    )


def _open_caches(
    cache: Path, held_out: Path | None, model: ModelConfig, backbone_id: str
) -> tuple[Cache, Cache | None]:
    """The training and the held-out cache; refused if they were made for anything else."""
    needed = {
        "backbone": backbone_id,
        "num_frames": model.num_frames,
        "num_given_frames": model.condition.num_given_frames,
        "frame_condition": model.condition.frame_condition,
    }
    data = Cache(cache)
    data.require(**needed)
    if held_out is None:
        return data, None
    unseen = Cache(held_out)
    unseen.require(**needed, **{"frames.fps": data.settings["fingerprint"].get("frames.fps")})
    return data, unseen


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
        may_change = name.removeprefix("condition.") in CONDITIONS_MAY_CHANGE
        if begun.get(name) != wanted.get(name) and not may_change:
            raise ValueError(
                f"checkpoint {str(start)!r} has another shape than this recipe: model.{name} is "
                f"{begun.get(name)!r} there and {wanted.get(name)!r} here. Leave the `model` "
                "settings out, so that the checkpoint's are taken, or train without --start."
            )


class LossModule(nn.Module):
    """The mean loss as a forward pass, which accelerate can distribute.

    Its submodule is the trained part alone: DDP keeps that equal in all processes. The frozen part
    may be sharded over the processes, so it is reached through the function only.
    """

    def __init__(self, denoiser: Denoiser, train: TrainConfig) -> None:
        super().__init__()
        self.trained = denoiser.trained
        weighting = {"motion_weight": train.motion_weight, "huber_scale": train.huber_scale}
        self.loss = partial(denoiser.loss, **weighting)

    def forward(
        self,
        latents: Float[Tensor, "b f c h w"],
        noise: Float[Tensor, "b f c h w"],
        sigma: Float[Tensor, " b"],
        conditions: Conditions,
    ) -> Float[Tensor, ""]:
        """The loss of the batch."""
        return self.loss(latents, noise, sigma, conditions).mean()


def _encoder(backbone: Path, device: torch.device) -> Encode:
    """Condition latents of given frames by the backbone's VAE, in float32 as in a cache."""
    parts = load_backbone(backbone, ("vae",)).to(device)
    return lambda given: parts.encode_condition(given, given.shape[1], "zero_latents")


def group_of(name: str) -> str:
    """The group of a trained tensor in the log: the kind of adapter, or the trained part."""
    part, kind = name.split(".")[:2]
    return kind if part == "adapters" else part


def peak_rate(train: TrainConfig, name: str) -> float:
    """The peak learning rate of a trained tensor; lower for copies of pretrained weights."""
    if name.startswith(("cross_attention.", "weights.")):
        return train.cross_attention_learning_rate
    return train.learning_rate


def _info(
    data: Cache,
    denoiser: Denoiser,
    backbone: Path,
    backbone_id: str,
    sampler: SamplerConfig,
    train: TrainConfig,
    begun_on: Sequence[str],
) -> CheckpointInfo:
    made_with = data.settings["fingerprint"]
    return CheckpointInfo(
        model=denoiser.config,
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


def _facts(
    info: CheckpointInfo, train: TrainConfig, precision: Precision, num_processes: int
) -> dict[str, Any]:
    """What must be equal for a saved state to be resumed."""
    kept = {name: value for name, value in to_json(train).items() if name not in MAY_CHANGE}
    if train.schedule == "constant":
        del kept["steps"]  # the first n steps are the same however many follow
    return {
        "backbone": info.backbone_hash,
        "data": info.data_fingerprint,
        "state_writer": info.state_writer,
        "model": to_json(info.model),
        "train": kept,
        "precision": precision,
        "whole_batch": train.batch_size * train.accumulate * num_processes,
    }


def _record(
    denoiser: Denoiser,
    train: TrainConfig,
    sampler: SamplerConfig,
    facts: dict[str, Any],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Everything that made the run, for its report and for people, as JSON values."""
    return {
        "model": to_json(denoiser.config),
        "train": to_json(train),
        "sampler": to_json(sampler),
        "facts": {k: facts[k] for k in ("backbone", "data", "state_writer", "whole_batch")},
        "precision": facts["precision"],
        "trained": num_trained(denoiser),
        "frozen_share": round(share_of_frozen(denoiser.unet), 4),
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def num_trained(denoiser: Denoiser) -> dict[str, int]:
    """Numbers of trained parameters by part."""
    return {
        name: sum(p.numel() for p in part.parameters()) for name, part in denoiser.trained.items()
    }


def describe(denoiser: Denoiser) -> str:
    """The numbers of trained parameters in one line."""
    parts = {name: number for name, number in num_trained(denoiser).items() if number}
    listed = ", ".join(f"{name} {number / 1e6:.2f} M" for name, number in parts.items())
    total, all_ = sum(parts.values()), sum(p.numel() for p in denoiser.unet.parameters())
    # Weights, average and two moments in float32, and the gradient.
    return (
        f"trained: {total / 1e6:.2f} M parameters ({listed}) beside a UNet of {all_ / 1e6:.2f} M; "
        f"with optimizer and average {20 * total / 2**20:.0f} MB"
    )


def _warn_of_rate(model: ModelConfig, data: Cache) -> None:
    """Warns if the recipe's frame rate is not that of the videos."""
    told = model.condition.fps
    if told is not None and abs(told / data.fps - 1) > RATE_TOLERANCE:
        warnings.warn(
            f"model.condition.fps sets {told:g} frames a second for every video, and those of "
            f"{str(data.folder)!r} have {data.fps:.3g} on average. Leave it out to use each "
            "video's true rate.",
            stacklevel=4,
        )


def _up_norms(denoiser: Denoiser) -> dict[str, float]:
    """The norm of each kind of adapter's W_up, which starts at 0."""
    kinds: dict[str, list[Tensor]] = {}
    for name, p in denoiser.trained.named_parameters():
        if ".up." in name:
            kinds.setdefault(group_of(name), []).append(p.detach().flatten())
    return {f"up_norm_{kind}": round(float(torch.cat(t).norm()), 5) for kind, t in kinds.items()}
