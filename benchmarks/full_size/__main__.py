r"""AID at full size and what public scripts do, in one run; figures for docs/performance.md.

COMMAND   python -m full_size --folder build/svd --out build/full_size.json   (in benchmarks/)
          python -m full_size --size tabletop --folder build/tabletop --only build sample --whole 25
          python -m full_size --size full-float32 --folder build/svd --only sample \
            --frames 2 --whole 25
          (the third in the folder that the first has built, for CPUs that emulate bfloat16)
HARDWARE  CPU cores with AMX, 20 GB of memory, 12 GB of disk; TIME see docs/performance.md

Each part runs in a process of its own, one after another, so that its peak memory is its own
(largest resident set). The allocator gives large blocks back at once, for all parts alike:
otherwise peaks would show what glibc keeps instead of what is needed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from full_size.weights import CONFIGS

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def parts(options: argparse.Namespace) -> dict[str, Callable[[], dict]]:
    """What can be run, by name."""
    from full_size.profiling import profile_step
    from full_size.sampling import aid_sampling, parity, stock_sampling
    from full_size.training import aid_steps, temporal_steps
    from full_size.weights import build

    where = (options.folder, options.size, options.frames)
    number, whole = options.number, options.whole
    out = options.folder.parent / "checkpoint"
    return {
        "build": lambda: {"parameters": build(options.folder, options.size)},
        "parity": lambda: parity(*where),
        "train aid, checkpointing all": lambda: aid_steps(*where, number, "all", out),
        "train temporal, checkpointing all": lambda: temporal_steps(*where, number, "all"),
        "sample aid": lambda: aid_sampling(*where, number, whole),
        "sample stock": lambda: stock_sampling(*where, number, whole),
        "train aid, checkpointing 2": lambda: aid_steps(*where, number, "2", None),
        "train aid, checkpointing 1": lambda: aid_steps(*where, number, "1", None),
        "profile aid": lambda: profile_step(*where),
        "train temporal, checkpointing none": lambda: temporal_steps(*where, number, "none"),
    }


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the random backbone")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--number", type=int, default=3, help="steps; the first is a warm-up")
    parser.add_argument("--whole", type=int, default=0, help="steps of a whole sampling run")
    parser.add_argument("--only", nargs="*", help="parts whose name begins so; default all")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def run_here(options: argparse.Namespace) -> None:
    """Runs one part in this process and prints what it found as one line of JSON."""
    found = parts(options)[options.part]()
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(found))


def main() -> None:
    """Runs the parts one after another and writes every figure."""
    options = read_options()
    if options.part:
        return run_here(options)
    figures: dict[str, dict] = {}
    if options.out and options.out.exists():
        figures = json.loads(options.out.read_text())
    for name in parts(options):
        if options.only and not any(name.startswith(word) for word in options.only):
            continue
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "full_size", *sys.argv[1:], "--part", name],
            env=os.environ | ALLOCATOR, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode:  # such as -9: out of memory
            print(f"{name:<36} failed, {done.returncode}", flush=True)
            continue
        figures[name] = json.loads(done.stdout.splitlines()[-1])
        figures[name]["all_seconds"] = round(time.monotonic() - start, 1)
        print(f"{name:<36}", json.dumps(figures[name])[:400], flush=True)
        if options.out:
            options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
