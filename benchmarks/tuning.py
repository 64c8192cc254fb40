"""Trained parameters, time per step and peak memory of each way to adapt the backbone.

COMMAND  python benchmarks/tuning.py --cache runs/cache/train                  # one process each
         python benchmarks/tuning.py --cache runs/cache/train --processes 2    # gain by a second
HARDWARE one CPU core per process

Each way trains a few steps of real batches with the settings of a recipe, in a process of its own
(peak memory is a process's) with one thread. "Computing" is CPU time, which other jobs do not
lengthen. Prints a table for docs/experiments/tuning.md.
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
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

WAYS = ("aid", "lora", "cross_attention", "temporal", "full")


def measure(options: argparse.Namespace) -> None:
    """In a process of its own: trains a few steps and prints what they cost as JSON."""
    import torch
    from jsonargparse import ArgumentParser
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from aid.cli.training import train as command
    from aid.config import tuned
    from aid.predict import find_backbone
    from aid.train import train

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(command, as_group=False)
    flags = ["--config", str(options.config), "--cache", str(options.cache), "--out", "unused"]
    values = parser.instantiate(parser.parse_args(flags))
    loop = replace(
        values.train, steps=options.steps, batch_size=options.batch_size,
        log_every=10**6, check_every=10**6, save_every=10**6,
    )  # fmt: skip
    wall, processor = [], []

    def note(*_: object) -> None:
        wall.append(time.perf_counter())
        processor.append(time.process_time())

    register_optimizer_step_post_hook(note)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(os.environ.get("AID_BENCHMARK_OUT", folder))
        train(
            options.cache, out, find_backbone(options.backbone),
            model=tuned(values.model, options.way), train=loop, sampler=values.sampler,
            precision=options.precision,
        )  # fmt: skip
        trained = json.loads((out / "run.json").read_text())["trained"]
    step = {
        name: statistics.median(after - before for before, after in pairwise(times[1:]))
        for name, times in (("wall", wall), ("processor", processor))
    }
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("MEASURED", json.dumps({"trained": sum(trained.values()), "memory": memory, **step}))


def run_way(options: argparse.Namespace, way: str, processes: int) -> dict[str, float]:
    """What one way costs: medians over the steps, the largest process's memory."""
    own = [
        __file__, "--way", way, "--cache", str(options.cache), "--config", str(options.config),
        "--backbone", options.backbone, "--steps", str(options.steps),
        "--batch_size", str(options.batch_size // processes), "--precision", options.precision,
    ]  # fmt: skip
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), *own]
    with tempfile.TemporaryDirectory() as out:  # one for all processes of a run
        own_settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        env = {**os.environ, **own_settings, "AID_BENCHMARK_OUT": out}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if "MEASURED" in line]
    if len(lines) != processes:
        raise SystemExit(f"{way}: {done.stderr[-2000:]}")
    found = [json.loads(line.split("MEASURED")[1]) for line in lines]
    return {name: max(one[name] for one in found) for name in found[0]}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="from aid prepare")
    parser.add_argument("--config", type=Path, default=Path("configs/tabletop/aid.yaml"))
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--steps", type=int, default=6, help="the first two are not counted")
    parser.add_argument("--batch_size", type=int, default=8, help="videos a step, of all processes")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--way", choices=WAYS, help="only this one, in this process")
    options = parser.parse_args()
    if options.way:
        return measure(options)
    if options.processes > 1:
        one, many = (run_way(options, "aid", n) for n in (1, options.processes))
        share = one["wall"] / many["wall"] / options.processes
        print(
            f"{options.batch_size} videos a step: {one['wall']:.2f} s with 1 process, "
            f"{many['wall']:.2f} s with {options.processes}: efficiency {share:.0%}"
        )
        return None
    print("| `--tuning` | trained | a step, s | of it computing, s | peak memory, MB |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        found = run_way(options, way, 1)
        print(
            f"| `{way}` | {found['trained'] / 1e6:.2f} M | {found['wall']:.2f} | "
            f"{found['processor']:.2f} | {found['memory']:.0f} |",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
