"""Trains a method on a cache at a budget, stage after stage; every stage is a run of `optim.fit`.

`aid train --method` calls it. The steps of a stage follow from its share of the budget and from the
measured operations of one of its steps.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aid.ablate.drawing import FACTS, draw_videos, weights_file
from aid.ablate.methods import code_digest, find_method, make_method, title_of
from aid.ablate.training_videos import TrainingVideos, sizes_of
from aid.config import Precision, TrainConfig
from aid.data.cache import Cache
from aid.data.order import batch_indices
from aid.files import write_whole
from aid.optim import fit, generator_for, make_accelerator
from aid.optim.flops import count_flops
from aid.rivals.method import Method, Videos
from aid.video import remove_leftovers, whole_file

if TYPE_CHECKING:
    from accelerate import Accelerator

RATE = 1e-3
"""Peak learning rate of a stage for which the method names none."""
LONGEST_WARMUP = 0.1
"""Of a stage's steps."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What a stage costs and how long it is."""

    steps: int
    flops_per_step: int
    learning_rate: float
    num_trained: int

    @property
    def flops(self) -> int:
        """Operations of the whole stage."""
        return self.steps * self.flops_per_step


def train_method(
    name: str,
    cache: Path,
    out: Path,
    *,
    train: TrainConfig,
    flops: float | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> Path:
    """Trains a method and returns the folder `out`. A run that was stopped is resumed exactly.

    Args:
        name: as for `find_method`.
        cache: what `aid prepare` wrote; for a method on pixels these lie beside it
            (`training_videos.decode_pixels`).
        out: folder of the run.
        train: batch size, seed, average, how often what is written; the learning rates are the
            method's own, and so is the noise.
        flops: the budget, in floating-point operations of all stages; None takes `train.steps`
            steps instead, which the stages share.
        device: as for `aid.models.devices.choose_device`.
        precision: of the forward pass; trained weights are float32.

    Raises:
        ValueError: the method is none, draws or loses what it may not, the budget is less than a
            step of each stage, or `out` is the folder of another run.
        Stopped: the run was asked to end; its state is saved.
    """
    space = find_method(name).space
    data = Cache(cache)
    videos, sizes = TrainingVideos(data, space), sizes_of(data, space)
    method = make_method(name, sizes, train.seed)
    accelerator = make_accelerator(device, precision)
    method.network.to(accelerator.device)
    run = _Run(name, method, videos, train, accelerator)
    facts = {
        "method": name,
        "code": code_digest(name),
        "title": title_of(name, type(method)),
        "space": space,
        "reads_text": bool(method.reads_text),
        "sizes": asdict(sizes),
        "backbone": data.settings["fingerprint"]["backbone"],
        "manifest": data.settings["fingerprint"]["manifest"],
        "height": data.settings["fingerprint"]["height"],
        "width": data.settings["fingerprint"]["width"],
        "fps": data.fps,
        "source": data.settings.get("source", {}),
        "frames": data.settings.get("frames", {}),
        "seed": train.seed,
        "precision": precision,
        "whole_batch": train.batch_size * train.accumulate,
        "budget": flops,
    }
    plans = run.plans(flops)
    run.check_drawing()
    facts["stages"] = {
        stage: {**asdict(plan), "flops": plan.flops} for stage, plan in plans.items()
    }
    trained = {id(p): p for stage in plans for p in method.trained(stage).values()}
    facts["num_trained"] = sum(p.numel() for p in trained.values())
    facts["num_parameters"] = sum(p.numel() for p in method.network.parameters())
    _begin(out, facts)
    for stage, plan in plans.items():
        run.learn(stage, plan, out, facts)
    return out


def steps_within(flops: float, flops_per_step: int, name: str) -> int:
    """The number of steps whose operations are nearest to a budget: at most half a step off.

    Raises:
        ValueError: the budget is less than half a step.
    """
    steps = round(flops / max(1, flops_per_step))
    if steps < 1:
        raise ValueError(
            f"a step of {name} takes {flops_per_step:.3g} operations, and its budget is "
            f"{flops:.3g}. Give a larger budget, or a smaller batch (--train.batch_size)."
        )
    return steps


def _begin(out: Path, facts: dict[str, Any]) -> None:
    """Refuses the folder of another run, and records this one's facts."""
    facts, path = json.loads(json.dumps(facts)), out / FACTS
    remove_leftovers(out, "*")
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if changed := [key for key in facts if before.get(key) != facts[key]]:
            raise ValueError(
                f"{str(out)!r} holds a run with another {changed[0]} ({before.get(changed[0])!r}, "
                f"now {facts[changed[0]]!r}). Choose another --out."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(facts, indent=1) + "\n")


class _Run:
    """A method with its videos, settings and device."""

    def __init__(
        self,
        name: str,
        method: Method,
        videos: TrainingVideos,
        train: TrainConfig,
        accelerator: "Accelerator",
    ) -> None:
        self.name, self.method, self.videos = name, method, videos
        self.train, self.accelerator = train, accelerator

    def batch(self, stage: str, step: int, part: int) -> tuple[Videos, torch.Generator]:
        """The videos of a forward pass on the device, and its generator."""
        train = self.train
        size = train.batch_size * train.accumulate
        chosen = batch_indices(len(self.videos), size, train.seed, step)
        own = chosen[part * train.batch_size : (part + 1) * train.batch_size]
        stream = 1 + part + train.accumulate * list(self.method.stages).index(stage)
        generator = generator_for(train.seed, step, stream)
        made, device = self.videos.batch(own, generator), self.accelerator.device
        moved = replace(
            made,
            videos=made.videos.to(device),
            text=made.text.to(device),
            text_mask=made.text_mask.to(device),
        )
        return moved, generator

    def loss(self, stage: str, step: int, part: int = 0) -> Float[Tensor, ""]:
        """The mean loss of a forward pass.

        Raises:
            ValueError: the method does not return a number for each video.
        """
        batch, generator = self.batch(stage, step, part)
        with self.accelerator.autocast():
            losses = self.method.loss(stage, batch, generator)
        if not isinstance(losses, Tensor) or losses.shape != (len(batch.videos),):
            shape = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"method {self.name!r}: the loss of stage {stage!r} must be a number for each of "
                f"{len(batch.videos)} videos, got {shape}."
            )
        return losses.float().mean()

    def prepare(self, stage: str) -> dict[str, nn.Parameter]:
        """The parameters of a stage; no other one gets gradients."""
        self.method.network.train().requires_grad_(False)
        parameters = dict(self.method.trained(stage))
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        return parameters

    def plans(self, flops: float | None) -> dict[str, StagePlan]:
        """The length of every stage, from a measured step of each.

        Raises:
            ValueError: a loss is wrong, changes buffers or depends on no parameter.
        """
        made, rates = {}, getattr(self.method, "learning_rates", {})
        for stage, share in self.method.stages.items():
            parameters = self.prepare(stage)
            before = {name: b.clone() for name, b in self.method.network.named_buffers()}
            cost = self.train.accumulate * count_flops(partial(self.measured, stage))
            for name, buffer in self.method.network.named_buffers():
                if not torch.equal(before.get(name, buffer.new_empty(0)), buffer):
                    raise ValueError(
                        f"method {self.name!r}: training changes the buffer {name!r}, which a "
                        "resumed run would lose. Use a layer without running statistics, such as "
                        "GroupNorm."
                    )
            if all(p.grad is None for p in parameters.values()):
                raise ValueError(
                    f"method {self.name!r}: the loss of stage {stage!r} depends on none of the "
                    "parameters that the stage trains."
                )
            for parameter in parameters.values():
                parameter.grad = None
            what = f"stage {stage!r} of {self.name!r}"
            if flops is None:
                steps = max(1, round(share * self.train.steps))
            else:
                steps = steps_within(share * flops, cost, what)
            made[stage] = StagePlan(
                steps=steps, flops_per_step=cost, learning_rate=rates.get(stage, RATE),
                num_trained=sum(p.numel() for p in parameters.values()),
            )  # fmt: skip
        return made

    def measured(self, stage: str) -> Float[Tensor, ""]:
        """The loss of a stage's first step.

        Raises:
            ValueError: it is not a number, or has no gradient.
        """
        value = self.loss(stage, 0)
        if not bool(value.isfinite()):
            raise ValueError(
                f"method {self.name!r}: the first loss of stage {stage!r} is {value.item():g}. "
                "Correct its loss."
            )
        if not value.requires_grad:
            raise ValueError(
                f"method {self.name!r}: the loss of stage {stage!r} depends on none of the "
                "parameters that the stage trains."
            )
        return value

    def check_drawing(self) -> None:
        """Draws a video from the first batch, so that a method that cannot is refused at once."""
        batch, generator = self.batch(next(iter(self.method.stages)), 0, 0)
        self.method.network.eval()
        text = (batch.text[:1], batch.text_mask[:1])
        with self.accelerator.autocast():
            draw_videos(
                self.name, self.method, batch.videos[:1, 0], *text, generator,
                num_frames=batch.videos.shape[1],
            )  # fmt: skip

    def learn(self, stage: str, plan: StagePlan, out: Path, facts: Mapping[str, Any]) -> None:
        """One stage; a finished one is loaded."""
        path, network = weights_file(out, stage), self.method.network
        if path.is_file():
            network.load_state_dict(load_file(path), strict=True)
            return
        parameters, train = self.prepare(stage), self.train
        config = replace(
            train,
            steps=plan.steps,
            learning_rate=plan.learning_rate,
            warmup_steps=min(train.warmup_steps, int(LONGEST_WARMUP * plan.steps)),
            log_every=min(train.log_every, plan.steps),
            check_every=plan.steps,
        )
        average = fit(
            self.accelerator, out / stage, parameters, partial(self.loss, stage), config,
            title=f"{facts['title']}, {stage}", parts=train.accumulate, facts=facts,
        )  # fmt: skip
        average.swap(parameters)
        tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
        with whole_file(path) as temporary:
            save_file(tensors, temporary)
