"""`fit`: the one training loop."""

import functools
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aid.config import LoopConfig
from aid.files import alone_in, check_free_space, restore, write_whole
from aid.optim.log import JsonLog, progress_bar
from aid.optim.optimizer import AveragedWeights, make_optimizer, set_rate
from aid.optim.report import write_report
from aid.optim.state import flat, load_state, save_state, size_of, state_tensors
from aid.types import Stopped
from aid.video import remove_leftovers

if TYPE_CHECKING:
    from accelerate import Accelerator

SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""They let the present step finish and be saved."""


@dataclass
class Position:
    """Where a run stands, besides its tensors."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Time spent, in all pieces of the run."""
    running: float = 0.0
    """Sum of the losses since the last line of the log."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Facts that were changed on resuming, by `accept`."""
    pieces: list[int] = field(default_factory=list)
    """The step at which each piece of the run began."""


def _one_at_a_time(run: Callable[..., AveragedWeights]) -> Callable[..., AveragedWeights]:
    """A second run in one folder, such as what a killed launcher left behind, is refused."""

    @functools.wraps(run)
    def wrapped(
        accelerator: "Accelerator",
        folder: Path,
        parameters: Any,
        loss: Any,
        config: LoopConfig,
        **rest: Any,
    ) -> AveragedWeights:
        _check_writable(folder)
        with alone_in(folder) if accelerator.is_main_process else nullcontext():
            if accelerator.is_main_process:
                remove_leftovers(folder, "*")
            return run(accelerator, folder, parameters, loss, config, **rest)

    return wrapped


@_one_at_a_time
def fit(
    accelerator: "Accelerator",
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    loss: Callable[..., Tensor],
    config: LoopConfig,
    *,
    title: str,
    rates: Callable[[str], float] | None = None,
    parts: int = 1,
    group_of: Callable[[str], str] | None = None,
    on_check: Callable[[int], dict[str, Any]] | None = None,
    on_save: Callable[[int], None] | None = None,
    facts: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    accept: Sequence[str] = (),
) -> AveragedWeights:
    """Trains `parameters` on `loss(step)`, returns their average; goes on where `folder` stopped.

    Args:
        accelerator: `make_accelerator`'s; every process calls `fit` alike.
        folder: where `log.jsonl` and the saved state lie.
        parameters: what is trained, by name.
        loss: the mean loss of step `step`; it must draw all randomness from counters (`draws`).
        config: how long, how fast, what is written when.
        title: of the progress bar.
        rates: the peak learning rate of a parameter by name; the config's if None.
        parts: forward passes whose mean is a step's gradient. Above 1, `loss(step, part)` is called
            for each.
        group_of: the group of a parameter, by name; the log then has each group's norms.
        on_check: called with the step while the averaged weights are in place; returns log values.
        on_save: called with the step after each saved state, while the averaged weights are in
            place; of a run that was finished before, too.
        facts: what must be equal for a saved state to be resumed; a difference is refused by name.
        record: what made the run, for people; written to run.json once the run may begin.
        accept: names of facts that may differ; the state remembers that they did.

    Raises:
        ValueError: `folder` cannot be written to, is another running process's, or holds a damaged
            state or another run's.
        OSError: a state could not be saved; the one before it stands.
        FloatingPointError: the loss is not a number any more.
        Stopped: SIGTERM or ctrl-c; the state is saved.
    """
    state, writes = folder / "state", accelerator.is_main_process
    optimizer = make_optimizer(parameters, config, rates)
    ema = AveragedWeights(parameters, config.ema_decay)
    facts, at = flat({**(facts or {}), "aid": version("aid-video")}), Position()
    if writes:
        restore(state)
    accelerator.wait_for_everyone()
    if state.exists():
        saved = load_state(state, parameters, optimizer, ema, facts, accept)
        at = Position(**saved["position"])
        at.changes += [{"step": at.step, **change} for change in saved["changes"]]
        _load_scaler(accelerator, saved)
    elif writes:  # a state has four numbers a weight: itself, its average, two moments of AdamW
        check_free_space(folder, 4 * size_of(parameters.values()))
    if writes and record is not None:
        write_whole(folder / "run.json", json.dumps(record, indent=1))
    optimizer = accelerator.prepare(optimizer)
    log = JsonLog(folder / "log.jsonl", at.step) if writes else None
    began = time.monotonic() - at.seconds
    if at.step < config.steps:
        at.pieces.append(at.step)
    else:  # the results of a finished run may have been lost since
        _results(accelerator, folder, parameters, ema, at.step, on_save)

    with stop_request() as stop, progress_bar(title, at.step, config.steps, writes) as show:
        for step in range(at.step, config.steps):
            set_rate(optimizer, step, config)
            mean = _backward(accelerator, loss, step, parts)
            _check_finite(mean, step, state)
            norm = float(accelerator.clip_grad_norm_(parameters.values(), config.max_grad_norm))
            logs = (step + 1) % config.log_every == 0
            values = dict(_norms(parameters, group_of, norm, config)) if logs and group_of else {}
            optimizer.step()
            optimizer.zero_grad()
            ema.update(parameters, step)
            at.step, at.running = step + 1, at.running + mean
            at.seconds, is_last = time.monotonic() - began, step + 1 == config.steps
            show(at.step, mean)
            if logs:
                values = {
                    "loss": round(at.running / config.log_every, 5),
                    "grad_norm": round(norm, 4),
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "seconds": round(at.seconds, 1),
                    **values,
                }
                at.running = 0.0
                _write(accelerator, log, at.step, values)
            if on_check and (at.step % config.check_every == 0 or is_last):
                ema.swap(parameters)
                values = on_check(at.step)
                ema.swap(parameters)
                _write(accelerator, log, at.step, values)
            if stop.is_made:
                accelerator.set_trigger()
            is_stopped = accelerator.check_trigger()  # by any process
            if at.step % config.save_every == 0 or is_last or is_stopped:
                tensors = state_tensors(parameters, optimizer, ema)
                _check_state(tensors, at.step, state, group_of)
                if log is not None:
                    log.flush()
                    _save(accelerator, state, tensors, at, facts)
                _results(accelerator, folder, parameters, ema, at.step, on_save)
            if is_stopped and not is_last:
                raise Stopped(f"stopped after step {at.step} of {config.steps}; the state is saved")
    return ema


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot write to folder {str(folder)!r} ({error.strerror}). Choose another --out."
        ) from None


def _backward(
    accelerator: "Accelerator", loss: Callable[..., Tensor], step: int, parts: int
) -> float:
    """Leaves the gradient of the step's mean loss; returns that mean over parts and processes."""
    total = torch.zeros((), device=accelerator.device)
    for part in range(parts):
        value = loss(step) if parts == 1 else loss(step, part)
        accelerator.backward(value / parts)
        total += value.detach().float() / parts
    return float(accelerator.reduce(total, "mean"))


def _check_finite(mean: float, step: int, state: Path) -> None:
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"the loss of step {step + 1} is {mean}. The last saved state, {str(state)!r}, is as "
            "it was. Lower the learning rate, or train with precision 'float32' or 'bfloat16'"
        )


def _check_state(
    tensors: Mapping[str, Tensor], step: int, state: Path, group_of: Callable[[str], str] | None
) -> None:
    """Refuses to save weights, averages or moments that are not finite over a state that is."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or bool(tensor.isfinite().all()):
            continue
        kind, _, parameter = name.partition("/")
        if kind == "optimizer":
            slot, _, parameter = parameter.partition("/")
            kind = f"optimizer's {slot}"
        group = group_of(parameter) if group_of else parameter
        raise FloatingPointError(
            f"after step {step} the {kind} of group {group!r} ({parameter}) has values that are "
            f"not finite. It is not saved; the last saved state, {str(state)!r}, is as it was. "
            "Lower the learning rate, or train in another precision"
        )


def _norms(
    parameters: Mapping[str, nn.Parameter],
    group_of: Callable[[str], str],
    norm: float,
    config: LoopConfig,
) -> Iterator[tuple[str, float]]:
    """Each group's norm of weights, and of gradients as they were before they were scaled down."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, p in parameters.items():
        groups.setdefault(group_of(name), []).append(p)
    scaled = max(1.0, norm / config.max_grad_norm)
    for name, members in groups.items():
        gradients = [p.grad for p in members if p.grad is not None]
        yield f"grad_norm_{name}", round(scaled * _norm(gradients), 5)
        yield f"weight_norm_{name}", round(_norm([p.detach() for p in members]), 5)


def _norm(tensors: list[Tensor]) -> float:
    if not tensors:
        return 0.0
    return float(torch.stack(torch._foreach_norm(tensors)).float().norm())


def _write(
    accelerator: "Accelerator", log: JsonLog | None, step: int, values: dict[str, Any]
) -> None:
    """A line of the log, and the same numbers to accelerate's trackers, if there are any."""
    if log is not None:
        log.write(step, **values)
    accelerator.log(values, step=step)


def _save(
    accelerator: "Accelerator",
    state: Path,
    tensors: Mapping[str, Tensor],
    at: Position,
    facts: Mapping[str, Any],
) -> None:
    values = {"step": at.step, "position": asdict(at), "facts": dict(facts)}
    if accelerator.scaler is not None:
        values["scaler"] = accelerator.scaler.state_dict()
    save_state(state, tensors, values)


def _results(
    accelerator: "Accelerator",
    folder: Path,
    parameters: Mapping[str, nn.Parameter],
    ema: AveragedWeights,
    step: int,
    on_save: Callable[[int], None] | None,
) -> None:
    """Whatever is made of a saved state: the caller's results, and the run's report."""
    if on_save:
        ema.swap(parameters)
        on_save(step)
        ema.swap(parameters)
    if accelerator.is_main_process:
        try:
            write_report(folder)
        except OSError as error:  # a report is no reason to end a run
            warnings.warn(f"the report of step {step} was not written: {error}.", stacklevel=3)


def _load_scaler(accelerator: "Accelerator", saved: Mapping[str, Any]) -> None:
    """What fp16 has learned about the size of gradients."""
    if accelerator.scaler is not None and "scaler" in saved:
        accelerator.scaler.load_state_dict(saved["scaler"])


class StopRequest:
    """Whether a signal has asked the run to end."""

    def __init__(self) -> None:
        self.is_made = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second ctrl-c ends at once."""
        if self.is_made and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_made = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within it, SIGTERM and ctrl-c are recorded and end the run after the present step.

    Only the main thread may handle signals; in another thread nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
