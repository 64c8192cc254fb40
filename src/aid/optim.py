"""The training loop, once: the rate, the averaged weights, the counted randomness, the saved state.

`train.py` and `pretrain/` say what the loss is; `fit` does the rest. A saved state is safetensors
and JSON, never a pickle, and a resumed run is the same run.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aid.config import LoopConfig


def rate_factor(step: int, num_steps: int, warmup_steps: int, schedule: str) -> float:
    """The share of the peak rate at a step: a linear rise, then constant or a cosine to 0.02."""
    rise = min(1.0, (step + 1) / max(1, warmup_steps))
    if schedule == "constant":
        return rise
    done = min(1.0, max(0, step - warmup_steps) / max(1, num_steps - warmup_steps))
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets each group's rate to its `peak_lr` times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def generator_for(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """All the randomness of one step: a function of (seed, step, stream), so resuming is exact."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 97 + stream) % (2**63))


class AveragedWeights:
    """Exponential moving average of some parameters, kept in float32.

    ema <- d ema + (1 - d) p,  d = min(decay, (1 + step) / (10 + step))
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone().float() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, nn.Parameter], step: int) -> None:
        """Moves the average towards the present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            [self.weights[name] for name in parameters],
            [p.detach().float() for p in parameters.values()],
            1 - decay,
        )

    @torch.no_grad()
    def swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Exchanges the average and the present weights in place; call twice to come back."""
        for name, p in parameters.items():
            present = p.detach().clone()
            p.copy_(self.weights[name])
            self.weights[name].copy_(present)


def save_state(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: AveragedWeights,
    facts: dict[str, Any],
) -> None:
    """Writes all that a run needs to go on: weights, average, optimizer moments, step.

    Whole or not at all.
    """
    tensors: dict[str, Tensor] = {}
    for name, p in parameters.items():
        tensors[f"weights/{name}"] = p.detach()
        tensors[f"average/{name}"] = ema.weights[name]
        for key, value in optimizer.state.get(p, {}).items():
            tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary / "trainer.safetensors")
    (temporary / "trainer.json").write_text(json.dumps(facts, indent=1))
    previous = folder.with_name(f".{folder.name}.previous")
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    temporary.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


@torch.no_grad()
def load_state(
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    ema: AveragedWeights,
) -> dict[str, Any]:
    """Restores what `save_state` wrote and returns its facts.

    Raises:
        ValueError: a file is damaged, or names other parameters than this run has.
    """
    if not folder.exists():  # a kill between the two renames of save_state
        folder = folder.with_name(f".{folder.name}.previous")
    path = folder / "trainer.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"training state {str(path)!r} cannot be read ({error}). Start anew in another folder."
        ) from None
    _refuse_other_names(path, tensors, parameters)
    for name, p in parameters.items():
        p.copy_(tensors.pop(f"weights/{name}"))
        ema.weights[name].copy_(tensors.pop(f"average/{name}"))
    for key, value in tensors.items():
        _, slot, name = key.split("/", 2)
        optimizer.state[parameters[name]][slot] = value.to(parameters[name].device)
    return json.loads((folder / "trainer.json").read_text())


def _refuse_other_names(path: Path, saved: Mapping[str, Tensor], wanted: Iterable[str]) -> None:
    have = {key.removeprefix("weights/") for key in saved if key.startswith("weights/")}
    if odd := sorted(have ^ set(wanted)):
        raise ValueError(
            f"training state {str(path)!r} was made by another model: {len(odd)} parameters "
            f"differ, the first is {odd[0]!r}. Use the recipe that started this run, or another "
            "folder."
        )


class JsonLog:
    """A log of one JSON object per line; resuming cuts what a killed run wrote after its state."""

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        kept = []
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in lines if json.loads(line)["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept))

    def write(self, step: int, **values: Any) -> None:
        """Appends a line."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def fit(
    accelerator: Accelerator,
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    loss: Callable[[int], Tensor],
    config: LoopConfig,
    *,
    title: str,
    rates: Callable[[str], float] | None = None,
    on_check: Callable[[int], dict[str, Any]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> AveragedWeights:
    """Trains `parameters` on `loss(step)`, returns their average; goes on where `folder` stopped.

    Args:
        folder: where `log.jsonl` and the saved state lie.
        loss: the mean loss of step `step`; it must draw all randomness from
            `generator_for(seed, step)`.
        rates: the peak learning rate of a parameter by name; the config's if None.
        on_check: called with the step while the averaged weights are in place; returns log values.
        facts: what must be equal for a saved state to be resumed; a difference is refused by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(rates(name) if rates else config.learning_rate, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": members, "lr": lr, "peak_lr": lr} for lr, members in groups.items()],
        betas=(0.9, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )
    ema = AveragedWeights(parameters, config.ema_decay)
    start, seconds, running = 0, 0.0, 0.0
    if state.exists() or state.with_name(".state.previous").exists():
        saved = load_state(state, parameters, optimizer, ema)
        _refuse_other_facts(state, saved["facts"], dict(facts or {}))
        start, seconds = saved["step"], saved["seconds"]
        running = saved.get("running", 0.0)
    optimizer = accelerator.prepare(optimizer)
    writes = accelerator.is_main_process
    log = JsonLog(folder / "log.jsonl", start) if writes else None
    began = time.monotonic() - seconds

    with _progress() as progress:
        bar = progress.add_task(title, total=config.steps, completed=start, loss="")
        for step in range(start, config.steps):
            set_rate(
                optimizer,
                rate_factor(step, config.steps, config.warmup_steps, config.schedule),
            )
            value = loss(step)
            accelerator.backward(value)
            norm = accelerator.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            ema.update(parameters, step)
            done = step + 1
            running += value.item()
            progress.update(bar, completed=done, loss=f"loss {value.item():.4f}")
            if done % config.log_every == 0:
                mean, running = running / config.log_every, 0.0
                values = {
                    "loss": round(mean, 5),
                    "grad_norm": round(float(norm), 4),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "seconds": round(time.monotonic() - began, 1),
                }
                if writes:
                    log.write(done, **values)
            if on_check and (done % config.check_every == 0 or done == config.steps):
                ema.swap(parameters)
                values = on_check(done)
                ema.swap(parameters)
                if writes:
                    log.write(done, **values)
            if writes and (done % config.save_every == 0 or done == config.steps):
                saved = {
                    "step": done,
                    "seconds": time.monotonic() - began,
                    "running": running,
                    "facts": dict(facts or {}),
                }
                save_state(state, parameters, optimizer, ema, saved)
    return ema


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )


def _refuse_other_facts(state: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            raise ValueError(
                f"{str(state)!r} was made with {name} = {saved.get(name)!r}, this run has "
                f"{wanted.get(name)!r}. Resume with the same setting, or train in another folder."
            )
