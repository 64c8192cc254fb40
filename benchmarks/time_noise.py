r"""Motion and instruction accuracy with and without TimeNoise, after equal training.

COMMAND  python benchmarks/time_noise.py --cache runs/cache8 --data data/tabletop/val \
             --out runs/time_noise --config configs/tabletop/time_noise.yaml \
             --strengths 0 1 --steps 60 --limit 48
HARDWARE one CPU core without AMX
TIME     about six minutes per strength for training

Each line is an `aid train`, equal except for `train.time_noise.max_strength`, and an `aid
evaluate` of its checkpoint. Both resume, so a repeated command does, too. Writes time_noise.json
and prints the table of docs/experiments/time_noise.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from aid.video import whole_file

SET = "the instruction"


def aid(*arguments: Any) -> None:
    """One of the commands, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "aid.cli", *map(str, arguments)])
    if done.returncode:
        raise SystemExit(done.returncode)


def line(strength: float, options: argparse.Namespace) -> dict[str, Any]:
    """Trains with one strength, draws and scores; what is done already is not done again."""
    folder = options.out / f"strength-{strength:g}"
    recipe = [part for path in options.config for part in ("--config", path)]
    begun = [] if options.start is None else ["--start", options.start]
    report = folder / "score" / "report.json"
    if not report.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        aid(
            "train", *recipe, *begun, "--backbone", options.backbone, "--cache", options.cache,
            "--out", folder / "run", "--train.steps", options.steps,
            "--train.check_every", options.steps, "--train.save_every", 25,
            "--train.time_noise.max_strength", strength,
        )  # fmt: skip
        aid(
            "evaluate", "--data", options.data, "--model", folder / "run/checkpoint",
            "--backbone", options.backbone, "--out", folder / "score", "--limit", options.limit,
            "--precision", options.precision,
        )  # fmt: skip
    card = json.loads(report.read_text(encoding="utf-8"))
    scores = card["scores"][SET]
    likeness = card["comparison"]["likeness"][SET]
    return {
        "strength": strength,
        "motion_ratio": likeness["motion_ratio"],
        "frechet": likeness["frechet"],
        "accuracy": scores["accuracy"],
        "num_videos": scores["num_videos"],
    }


def main() -> None:
    """Makes what is missing, writes the numbers and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="from aid prepare")
    parser.add_argument("--data", type=Path, required=True, help="a split of unseen scenes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, action="append", required=True, help="recipes")
    parser.add_argument("--start", type=Path, help="a checkpoint that all lines start from")
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--limit", type=int, default=32, help="videos of the score")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [line(strength, options) for strength in options.strengths]
    with whole_file(options.out / "time_noise.json") as temporary:
        temporary.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    print(f"| max_strength | motion ratio | Fréchet distance | accuracy, N = {options.limit} |")
    print("|---|---|---|---|")
    for one in lines:
        motion, distance = one["motion_ratio"], one["frechet"]
        print(
            f"| {one['strength']:g} | {motion['value']:.2f} ({motion['low']:.2f} to "
            f"{motion['high']:.2f}) | {distance['value']:.1f} | {one['accuracy']:.0%} |"
        )


if __name__ == "__main__":
    main()
