"""A small real run of `optim.fit`: a network learns a noisy parabola in milliseconds a step.

As a program it is a process of its own, which can be killed, or kills itself at a file operation:

    python parabola.py FOLDER STEPS [KILL_AT]
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from aid import optim
from aid.config import LoopConfig

CONFIG = LoopConfig(
    steps=4,
    batch_size=8,
    learning_rate=0.05,
    warmup_steps=2,
    ema_decay=0.9,
    log_every=1,
    check_every=2,
    save_every=2,
)
LONG = replace(CONFIG, steps=100_000, schedule="constant", save_every=1, log_every=2)
"""Saves all the time; its first n steps are the same whatever `steps` is."""

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


class Killed(Exception):
    """Stands for a kill: nothing in the code under test catches it."""


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def run(folder, model=None, config=CONFIG, kill_at=None, on_step=None, accelerator=None, **options):
    """Fits the network to a noisy parabola; raises `Killed` before step `kill_at`."""
    model = network() if model is None else model

    def loss(step):
        if step == kill_at:
            raise Killed
        if on_step:
            on_step(step)
        generator = optim.generator_for(config.seed, step)
        x = torch.randn(config.batch_size, 3, generator=generator)
        return (model(x) - x.square().sum(1, keepdim=True)).square().mean()

    parameters = dict(model.named_parameters())
    accelerator = accelerator or Accelerator(cpu=True)
    return optim.fit(accelerator, folder, parameters, loss, config, title="t", **options)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def watch_changes(folder: Path, on_change: Callable[[], None]) -> None:
    """Calls `on_change` before every file operation that could change `folder`.

    Python announces them itself (audit events), so no operation of the code under test is missed. A
    hook stays for the life of the process.
    """

    def hook(event, args):
        if event not in CHANGES:
            return
        if event == "open" and not str(args[0]).startswith(str(folder)):
            return  # such as a module that is imported
        on_change()

    sys.addaudithook(hook)


def main(folder: str, steps: str, kill_at: str = "0") -> None:
    torch.set_num_threads(1)
    number = 0

    def count():
        nonlocal number
        number += 1
        if number == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    watch_changes(Path(folder), count)
    run(
        Path(folder),
        config=replace(LONG, steps=int(steps)),
        on_check=lambda step: {"checked": step},
        on_step=lambda step: print("step", step, flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
