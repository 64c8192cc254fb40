"""Trains, predicts and scores the runs of an ablation in parallel, and writes the tables."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.ablate.rows import ROWS, Run, choose_rows, plan
from aid.ablate.tables import Result, result_of, write_tables
from aid.config import Precision
from aid.models.devices import choose_device
from aid.video import remove_leftovers, whole_file


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget, equal for every row."""

    steps: int = 1000
    """Optimizer steps of each run."""
    train_videos: int | None = None
    """Training videos; all if None."""
    limit: int = 100
    """Videos that are predicted and scored."""
    sampling_steps: int | None = None
    """Sampling steps; the recipe's if None."""
    precision: Precision = "float32"
    """Arithmetic of training and prediction."""


def ablate(
    data: Path,
    out: Path,
    backbone: str,
    recipe: Path,
    folder: Path,
    *,
    budget: Budget,
    split: str = "val",
    rows: Sequence[str] | None = None,
    seeds: int = 2,
    jobs: int = 1,
    extractor: Path | None = None,
    on_run: Callable[[int, int], None] | None = None,
    device: str | None = None,
) -> list[Path]:
    """Runs the missing runs and returns the files of the tables.

    Args:
        data: a data set with the splits train and `split`.
        out: folder of the cache, the runs and the tables.
        backbone: "tabletop" or a folder.
        recipe: the settings that all rows share.
        folder: of the recipes with the settings that differ.
        budget: equal for every row.
        split: the split whose videos are predicted, such as val, test, forks or combos.
        rows: only these rows, by the names of their recipes.
        seeds: number of runs of each row.
        jobs: number of parallel runs; they share the processor's cores.
        extractor: folder of the table-top's feature extractor; the shipped one if None.
        on_run: called with (runs done, number of runs).
        device: as for `choose_device`.

    Raises:
        ValueError: a recipe, split or device is missing, or `out` holds an ablation with another
            budget.
        RuntimeError: a run failed, with the path of its log; all other runs are finished.
    """
    on = ["--device", str(choose_device(device))]
    planned = plan(choose_rows(rows), recipe, folder, seeds)
    for name in ("train", split):
        if not (data / name / "manifest.jsonl").is_file():
            raise ValueError(
                f"{str(data)!r} has no split {name!r}. Make it: "
                f"aid tabletop make --out {data} --scenes.{name} 100"
            )
    settings = {**vars(budget), "backbone": backbone, "recipe": recipe.read_text(), "split": split}
    _require_same_budget(out, settings)
    cache = out / "cache"
    limit = [] if budget.train_videos is None else ["--limit", budget.train_videos]
    _command(
        out / "prepare.log", jobs=1,
        arguments=["prepare", "--config", recipe, "--backbone", backbone, "--data", data / "train",
                   "--out", cache, *on, *limit],
    )  # fmt: skip
    runs = list(dict.fromkeys(run for row in planned.values() for run in row))
    results: dict[Run, Result] = {}
    failed: dict[Run, str] = {}

    def carry_out(run: Run) -> Result:
        run_folder = out / run.name
        run_folder.mkdir(parents=True, exist_ok=True)
        trained = ["train", "--config", recipe, "--config", folder / f"{run.recipe}.yaml"]
        trained += ["--backbone", backbone, "--cache", cache, "--out", run_folder / "train"]
        trained += ["--train.steps", budget.steps, "--train.seed", run.seed]
        trained += ["--train.check_every", budget.steps]
        trained += ["--precision", budget.precision, *on]
        scored = ["evaluate", "--data", data / split, "--out", run_folder / "report"]
        scored += ["--model", run_folder / "train/checkpoint", "--backbone", backbone]
        scored += ["--limit", budget.limit, "--precision", budget.precision, *on]
        if budget.sampling_steps is not None:
            scored += ["--num_steps", budget.sampling_steps]
        if extractor is not None:
            scored += ["--weights", extractor]
        if not (run_folder / "report/report.json").is_file():
            _command(run_folder / "train.log", jobs=jobs, arguments=trained)
            _command(run_folder / "evaluate.log", jobs=jobs, arguments=scored)
        return result_of(run_folder / "report/report.json")

    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(carry_out, run): run for run in runs}
        for number, future in enumerate(as_completed(waiting), 1):
            try:
                results[waiting[future]] = future.result()
            except RuntimeError as error:
                failed[waiting[future]] = str(error)
            if on_run is not None:
                on_run(number, len(runs))
    written = write_tables(out, ROWS, planned, results, failed, vars(budget) | {"split": split})
    if failed:
        first = next(iter(failed.values()))
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {first}")
    return written


def _command(log: Path, *, jobs: int, arguments: Sequence[Any]) -> None:
    """Runs one of the public commands in its own process, with its output in `log`."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    command = [sys.executable, "-m", "aid.cli", *map(str, arguments)]
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(
            command, stdout=file, stderr=file, env={"OMP_NUM_THREADS": threads} | os.environ,
        )  # fmt: skip
    if done.returncode:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise RuntimeError(
            f"aid {command[3]} ended with {done.returncode}: {' '.join(last)} ({log})"
        )


def _require_same_budget(out: Path, settings: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out, "*")
    note = out / "ablation.json"
    if note.is_file():
        before = json.loads(note.read_text(encoding="utf-8"))
        if changed := [key for key, value in settings.items() if before.get(key) != value]:
            raise ValueError(
                f"{str(out)!r} holds an ablation with another {changed[0]}: rows can only be "
                "compared at one budget. Choose another --out."
            )
        return
    with whole_file(note) as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
