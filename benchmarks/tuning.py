"""Ways to adapt the backbone, measured in one run: what is trained, time of a step, peak memory.

    python benchmarks/tuning.py --cache runs/cache/train                  # each way, one process
    python benchmarks/tuning.py --cache runs/cache/train --processes 2    # what a second one brings

Each way trains in a process of its own (peak memory is a process's), a few steps of real batches
with the settings of a recipe, and saves nothing. Prints a table for docs/performance.md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

WAYS = ("aid", "lora", "cross_attention", "temporal", "full")


def measure(options: argparse.Namespace) -> None:
    """In a process of its own: trains a few steps and prints what they cost as JSON."""
    import torch
    from jsonargparse import ArgumentParser

    from aid.cli.training import train as command
    from aid.config import TrainConfig, tuned
    from aid.optim import loop
    from aid.predict import find_backbone
    from aid.train import records, training

    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(command, as_group=False)
    flags = ["--config", str(options.config), "--cache", str(options.cache), "--out", "unused"]
    values = parser.instantiate(parser.parse_args(flags))
    settings = {**vars(values.train), "steps": options.steps, "batch_size": options.batch_size,
                "mixed_precision": options.precision, "log_every": 10**6, "check_every": 10**6,
                "save_every": 10**6}  # fmt: skip
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    seconds, found = [], {}
    backward, describe = loop._backward, training.describe

    def timed(*arguments: object) -> float:
        seconds.append(time.perf_counter())
        return backward(*arguments)

    def noted(denoiser: object) -> str:
        found.update(records.num_trained(denoiser))
        return describe(denoiser)

    loop._backward, training.describe = timed, noted
    training.save_checkpoint = lambda *_, **__: None
    loop._save = lambda *_: None
    out = Path(tempfile.mkdtemp())
    training.train(
        options.cache, out, find_backbone(options.backbone),
        model=tuned(values.model, options.way), train=TrainConfig(**settings),
        sampler=values.sampler,
    )  # fmt: skip
    steps = [after - before for before, after in pairwise(seconds)][1:]
    print(
        "MEASURED",
        json.dumps(
            {
                "trained": sum(found.values()),
                "step": statistics.median(steps),
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "rank": os.environ.get("RANK", "0"),
            }
        ),
        flush=True,
    )


def run_way(options: argparse.Namespace, way: str, processes: int) -> dict[str, float]:
    """What one way costs: medians over the steps, the largest process's memory."""
    own = [
        __file__, "--way", way, "--cache", str(options.cache), "--config", str(options.config),
        "--backbone", options.backbone, "--steps", str(options.steps),
        "--batch_size", str(options.batch_size // processes), "--precision", options.precision,
    ]  # fmt: skip
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), *own]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "MEASURED" in line]
    if len(lines) != processes:
        raise SystemExit(f"{way}: {done.stderr[-2000:]}")
    found = [json.loads(line.split("MEASURED")[1]) for line in lines]
    worst = max(found, key=lambda one: one["step"])
    return {**worst, "memory": max(one["memory"] for one in found)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="from aid prepare")
    parser.add_argument("--config", type=Path, default=Path("configs/tabletop/aid.yaml"))
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--steps", type=int, default=7, help="the first two are not counted")
    parser.add_argument("--batch_size", type=int, default=8, help="videos a step, of all processes")
    parser.add_argument("--precision", default="no", choices=("no", "bf16"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help="only this one, in this process")
    options = parser.parse_args()
    if options.way:
        return measure(options)
    if options.processes > 1:
        one, many = (run_way(options, "aid", n) for n in (1, options.processes))
        share = one["step"] / many["step"] / options.processes
        print(
            f"{options.batch_size} videos a step: {one['step']:.2f} s with 1 process, "
            f"{many['step']:.2f} s with {options.processes}: efficiency {share:.0%}"
        )
        return None
    print("| way | trained parameters | a step, s | peak memory, MB |\n|---|---|---|---|")
    for way in WAYS:
        found = run_way(options, way, 1)
        print(
            f"| `{way}` | {found['trained'] / 1e6:.2f} M | {found['step']:.2f} | "
            f"{found['memory']:.0f} |",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
