"""Time of a LoRA layer with peft's three products, and with one product by the summed matrix.

COMMAND  python benchmarks/lora.py
         python benchmarks/lora.py --cache runs/cache/train     # also a whole training step
HARDWARE one CPU core
TIME     about two minutes

`aid.models.tuning` uses the sum up to a size, `MAX_COST_RATIO`, whose value was measured here.
Prints a table for docs/performance.md: milliseconds of CPU time for 4,096 tokens, forward and
backward, the best of several. Training steps of the two kinds alternate.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import peft
import torch
from torch import nn

from aid.models import tuning

TOKENS, TRIES = 4096, 7
SIZES = (
    (32, 32), (96, 96), (768, 96), (96, 384), (128, 128), (1024, 128), (128, 512), (192, 192),
    (256, 256), (320, 320), (640, 640), (1280, 1280),
)  # fmt: skip


class One(nn.Module):
    """A projection, for peft to find."""

    def __init__(self, out: int, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, out).requires_grad_(False)


def updated(out: int, dim: int, rank: int) -> nn.Module:
    """A frozen projection with a LoRA of peft's around it."""
    host = One(out, dim)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["layer"])
    peft.inject_adapter_in_model(config, host, adapter_name=tuning.NAME)
    return host.layer


def milliseconds(forward: Callable, x: torch.Tensor, is_half: bool) -> float:
    """The best time of a pass there and back."""
    best = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16) if is_half else nullcontext():
            said = forward(x)
        said.backward(torch.ones_like(said))
        best = min(best, time.process_time() - begun)
    return 1000 * best


def steps_by_turns(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of the processor for a training step, each way; medians over the steps."""
    from jsonargparse import ArgumentParser
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from aid.cli.training import train as command
    from aid.predict import find_backbone
    from aid.train import train

    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(command, as_group=False)
    flags = ["--config", str(options.config), "--cache", str(options.cache), "--out", "unused"]
    flags += ["--model.lora.rank", "32", "--model.lora.layers", "attention_and_feed_forward"]
    values = parser.instantiate(parser.parse_args(flags))
    loop = replace(
        values.train, steps=options.steps, batch_size=options.batch_size,
        log_every=10**6, check_every=10**6, save_every=10**6,
    )  # fmt: skip
    made: list[tuning.LowRankUpdates] = []
    make = tuning.LowRankUpdates.__init__

    def noted(self: tuning.LowRankUpdates, *settings: object) -> None:
        make(self, *settings)
        made.append(self)

    tuning.LowRankUpdates.__init__ = noted
    times: dict[str, list[float]] = {"sum": [], "peft": []}
    way, begun = "sum", time.process_time()

    def turn(*_: object) -> None:
        nonlocal way, begun
        times[way].append(time.process_time() - begun)
        way = "peft" if way == "sum" else "sum"
        for layer in made[0].layers.values():
            vars(layer).pop("forward", None)
            if way == "sum" and tuning.sum_is_cheaper(layer.get_base_layer().weight, 32):
                layer.forward = partial(tuning.multiply_by_the_sum, layer)
        begun = time.process_time()

    register_optimizer_step_post_hook(turn)
    with tempfile.TemporaryDirectory() as folder:
        train(
            options.cache, Path(folder), find_backbone(options.backbone), model=values.model,
            train=loop, sampler=values.sampler,
        )  # fmt: skip
    return {way: statistics.median(seconds[1:]) for way, seconds in times.items()}


def layers() -> None:
    """Prints the table."""
    print("| out, in | rank | out in / (rank (out + in)) | float32: peft, sum | bf16: peft, sum |")
    print("|---|---|---|---|---|")
    for out, dim in SIZES:
        for rank in (16, 32):
            layer = updated(out, dim, rank)
            x = torch.randn(TOKENS, dim, requires_grad=True)
            ways = (layer.forward, partial(tuning.multiply_by_the_sum, layer))
            times = [
                ", ".join(f"{milliseconds(way, x, is_half):.2f}" for way in ways)
                for is_half in (False, True)
            ]
            worth = out * dim / (rank * (out + dim))
            print(f"| {out}, {dim} | {rank} | {worth:.1f} | {times[0]} | {times[1]} |", flush=True)


def main() -> None:
    """Measures layers, and a step if there is a cache."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="from aid prepare")
    parser.add_argument("--config", type=Path, default=Path("configs/tabletop/aid.yaml"))
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=14)
    options = parser.parse_args()
    torch.set_num_threads(1)
    layers()
    if options.cache is not None:
        found = steps_by_turns(options)
        print(f"a step of {options.batch_size} videos: {found['peft']:.2f} s by peft, "
              f"{found['sum']:.2f} s by the sum")  # fmt: skip


if __name__ == "__main__":
    main()
