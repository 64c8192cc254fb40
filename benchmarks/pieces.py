r"""A training run that is killed and stopped many times, compared with the same run in one piece.

COMMAND  python benchmarks/pieces.py --out runs/pieces --pieces 8 -- \
             --config configs/tabletop/aid.yaml --cache runs/cache/train --held_out runs/cache/val
HARDWARE any
TIME     twice that of the run, and a start for each piece

Arguments after `--` go to `aid train`, in `--processes` processes on CPU cores. Pieces end at
random times, by SIGKILL and SIGTERM in turn; the last one runs to the end. Then weights,
averages, optimizer and checkpoint must be equal bit for bit, and the logs must have the same
lines except for times, none lost and none twice. `--alone` leaves out the run in one piece, for a
long run whose log alone is checked.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file

STATE, CHECKPOINT = "state/trainer.safetensors", "checkpoint/trained.safetensors"


def start(out: Path, flags: list[str], processes: int = 1) -> subprocess.Popen:
    """`aid train` in a process, or several."""
    launch, env = ["-m", "aid.cli"], dict(os.environ)
    if processes > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launch += ["-m", "--", "aid.cli"]  # `--`: torch would take --start for its own
        env = {"OMP_NUM_THREADS": "1", **env, "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launch, "train", *flags, "--out", str(out)]
    return subprocess.Popen(command, env=env)


def send(process: subprocess.Popen, number: signal.Signals) -> None:
    """The signal to the process and to all that it started, also in sessions of their own."""
    launcher = psutil.Process(process.pid)
    for one in [*launcher.children(recursive=True), launcher]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(number)


def lines_of(out: Path) -> list[dict[str, Any]]:
    """The log so far; a line that is being written is left out."""
    path = out / "log.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def one_piece(
    out: Path, flags: list[str], number: signal.Signals, steps: int, wait: float, processes: int
) -> int:
    """Runs until the log is `steps` steps on, and `wait` seconds; the exit code."""
    begun = max((line["step"] for line in lines_of(out)), default=0)
    process = start(out, flags, processes)
    # A resumed run first cuts the log back to its state, so it may stand lower for a while.
    while process.poll() is None:
        if max((line["step"] for line in lines_of(out)), default=0) >= begun + steps:
            time.sleep(wait)
            send(process, number)
            return process.wait()
        time.sleep(0.02)
    return process.returncode


def in_pieces(
    out: Path, flags: list[str], pieces: int, steps: int, seed: int, processes: int
) -> list[str]:
    """The whole run in at most so many pieces; how each ended."""
    # A launcher of several processes that was stopped says so, though they ended well.
    well = (0, -signal.SIGKILL) if processes == 1 else (0, 1, -signal.SIGKILL, -signal.SIGTERM)
    draw, ends = random.Random(seed), []
    for piece in range(pieces - 1):
        number = (signal.SIGKILL, signal.SIGTERM)[piece % 2]
        code = one_piece(out, flags, number, steps, draw.uniform(0, 1), processes)
        if code not in well:
            raise SystemExit(f"piece {piece + 1} ended with {code}")
        step = max((line["step"] for line in lines_of(out)), default=0)
        ends.append(f"{number.name} after the line of step {step}")
    if code := start(out, flags, processes).wait():
        raise SystemExit(f"the last piece ended with {code}")
    return ends


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log without its times, which differ between equal runs."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def seams(lines: list[dict[str, Any]]) -> list[str]:
    """What gives away that a log was written in pieces."""
    found, losses = [], [line for line in lines if "loss" in line]
    steps = [line["step"] for line in losses]
    if len(steps) > 2 and len({after - before for before, after in pairwise(steps)}) > 1:
        found.append("a line is missing or there twice")
    times = [line["seconds"] for line in losses]
    if times != sorted(times):
        found.append("time runs backwards")
    return found


def main() -> None:
    """Runs, compares, says what was found; exit code 1 if there is a seam."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10, help="of a piece, at least, as logged")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the times at which pieces end")
    parser.add_argument("--alone", action="store_true", help="without the run in one piece")
    parser.add_argument("flags", nargs=argparse.REMAINDER, help="-- and flags of aid train")
    options = parser.parse_args()
    flags = options.flags[1:] if options.flags[:1] == ["--"] else options.flags
    pieced = options.out / "pieces"
    ends = in_pieces(pieced, flags, options.pieces, options.steps, options.seed, options.processes)
    found = seams(lines_of(pieced))
    if not options.alone:
        whole = options.out / "whole"
        if code := start(whole, flags, options.processes).wait():
            raise SystemExit(code)
        if timeless(lines_of(whole)) != timeless(lines_of(pieced)):
            found.append("the logs differ")
        if (whole / STATE).read_bytes() != (pieced / STATE).read_bytes():
            found.append(f"{STATE} differs")
        # Its header names the same facts in any order, so the tensors are compared.
        ours, theirs = load_file(pieced / CHECKPOINT), load_file(whole / CHECKPOINT)
        if ours.keys() != theirs.keys() or any(not ours[n].equal(theirs[n]) for n in ours):
            found.append(f"{CHECKPOINT} differs")
    position = json.loads((pieced / "state/trainer.json").read_text())["position"]
    print(f"{len(ends) + 1} pieces, begun at steps {position['pieces']}: {'; '.join(ends)}")
    print(f"seams: {'; '.join(found) or 'none'}")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
