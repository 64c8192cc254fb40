"""Trains, predicts and scores the runs of a comparison in parallel, and writes the tables."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from aid.ablate.drawing import FACTS
from aid.ablate.learning import steps_within
from aid.ablate.methods import code_digest, find_method, is_code
from aid.ablate.results import COST, REPORT, RESULT, Cost, read_result, result_of, write
from aid.ablate.rows import ROWS, TABLES, Row, Run, Table, choose_rows, model_of, plan, read_recipe
from aid.ablate.tables import write_tables
from aid.ablate.training_videos import decode_pixels
from aid.config import (
    ModelConfig,
    Precision,
    SamplerConfig,
    SourceConfig,
    TrainConfig,
    from_json,
    to_json,
)
from aid.config.bounds import MOST_FRAMES, require
from aid.data.cache import Cache, read_settings
from aid.data.formats import refuse_several
from aid.files import make_folder
from aid.models.devices import choose_device
from aid.models.sizes import Configs, read_configs
from aid.predict import find_backbone
from aid.train.cost import step_cost
from aid.video import remove_leftovers, whole_file

MANIFEST = "manifest.jsonl"
SETTINGS = "ablation.json"
FLAGS = {"flops": "budget_flops", "like": "budget_like", "sampling_steps": "num_steps"}
"""Flags of `aid ablate` that are called otherwise than their settings."""
LONGEST = 100
"""Characters of a setting that an error shows."""
REFUSED = 2
"""Exit code of a command for a mistake that the user can mend."""
SHARED = {
    "recipe": "backbone, autoencoder, text and image encoder",
    "latents": "autoencoder",
    "pixels": "-",
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget, equal for every row."""

    steps: int = 1000
    """Optimizer steps of AID, whose operations are the budget of every other method."""
    flops: float | None = None
    """The floating-point operations themselves; AID's number of steps follows from them."""
    like: Path | None = None
    """The recipe whose `steps` are counted; None takes the shared one."""
    train_videos: int | None = None
    """Training videos; all if None."""
    limit: int = 100
    """Videos that are predicted and scored."""
    num_frames: int | None = None
    """Frames of a video, for all rows; the recipe's if None."""
    sampling_steps: int | None = None
    """Sampling steps; the recipe's, and each method's own, if None."""
    precision: Precision = "float32"
    """Arithmetic of training and prediction."""

    def __post_init__(self) -> None:
        """Refuses a budget of nothing."""
        require(
            self, steps=(1, 10**9), flops=(1, 1e30), train_videos=(1, 10**9), limit=(1, 10**9),
            num_frames=(1, MOST_FRAMES),
        )  # fmt: skip
        if self.sampling_steps is not None:
            SamplerConfig(num_steps=self.sampling_steps)


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """How the commands are told which videos to train on and which to predict."""

    train: list[Any]
    evaluate: list[Any]
    place: Path
    """The data set of the training videos."""
    split: str


def ablate(
    data: Path,
    out: Path,
    backbone: str,
    recipe: Path,
    folder: Path,
    *,
    budget: Budget,
    split: str | None = None,
    hold_out: float = 0.0,
    states: str = "replay",
    rows: Sequence[str] | None = None,
    tables: Sequence[Table] | None = None,
    seeds: int = 2,
    jobs: int = 1,
    extractor: Path | None = None,
    backbone_flops: float | None = None,
    on_run: Callable[[int, int], None] | None = None,
    device: str | None = None,
) -> list[Path]:
    """Runs the missing runs and returns the files of the tables.

    Args:
        data: a folder with a data set for each split, one of them `train`, as the table-top's; or
            any data set, with splits of its own or with `hold_out`.
        out: folder of the cache, the runs and the tables.
        backbone: "tabletop" or a folder.
        recipe: the settings that all rows share.
        folder: of the recipes with the settings that differ.
        budget: equal for every row.
        split: whose videos are predicted: a folder of `data`, or a split of the data set. None:
            "val", or the episodes that are held out.
        hold_out: share of the episodes that is kept out of training, for any data set.
        states: who writes the states, as for `aid prepare`.
        rows: only these, by their names; or methods of one's own (`choose_rows`).
        tables: all rows of these.
        seeds: number of runs of each row.
        jobs: number of parallel runs; they share the processor's cores.
        extractor: folder of the feature extractor; the data's own one if None.
        backbone_flops: operations of the backbone's pretraining, for the table of costs.
        on_run: called with (runs done, number of runs).
        device: as for `choose_device`.

    Raises:
        ValueError: a recipe, split or device is missing, or `out` holds a comparison with another
            budget.
        RuntimeError: a run failed, with the path of its log; all other runs are finished.
    """
    chosen_device = str(choose_device(device))
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}. Two runs at once need more memory.")
    if extractor is not None and not extractor.is_dir():
        raise ValueError(f"extractor {str(extractor)!r} is no folder. Leave --weights out.")
    chosen = choose_rows(rows, tables)
    planned = plan(chosen, recipe, folder, seeds)
    if budget.like is not None:
        read_recipe(budget.like)
    flags = _data_flags(data, split, hold_out)
    read_configs(find_backbone(backbone))
    settings = {
        **{name: str(v) if isinstance(v, Path) else v for name, v in vars(budget).items()},
        "backbone": backbone, "recipe": recipe.read_text(encoding="utf-8"),
        "split": flags.split, "hold_out": hold_out, "states": states,
    }  # fmt: skip
    _require_same_budget(out, settings)
    bench = _Bench(
        out=out, recipe=recipe, folder=folder, backbone=backbone, flags=flags, budget=budget,
        jobs=jobs, device=chosen_device, extractor=extractor, states=states,
        backbone_flops=backbone_flops,
    )  # fmt: skip
    bench.prepare(planned)
    _note(out / SETTINGS, settings)
    runs = list(dict.fromkeys(run for of_row in planned.values() for run in of_row))
    steps = bench.steps_of(runs)
    failed: dict[Run, str] = {}
    shown = [name for name in TABLES if any(row.table == name for row in chosen)]
    known = [row for row in ROWS if row.table in shown and bench.has_recipe(row)]
    if "main" in shown:
        known += _own_rows(out)
    all_planned = plan(known, recipe, folder, seeds) | planned
    spent = {**vars(budget), "split": flags.split}
    spent = {name: value for name, value in spent.items() if value is not None}
    measured_on = f"{device_name(chosen_device)}, {jobs} {'row' if jobs == 1 else 'rows'} at a time"
    lock = Lock()

    def tell() -> list[Path]:
        with lock:
            return write_tables(out, all_planned, shown, failed, spent, measured_on)

    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(bench.carry_out, run, steps.get(run)): run for run in runs}
        for number, future in enumerate(as_completed(waiting), 1):
            try:
                future.result()
            except RuntimeError as error:
                failed[waiting[future]] = str(error)
            except ValueError as error:
                failed[waiting[future]] = f"{error} ({out / waiting[future].name})"
            tell()
            if on_run is not None:
                on_run(number, len(runs))
    written = tell()
    if failed:
        first = next(iter(failed.values()))
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed: {first}")
    return written


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """Everything that the runs share, and how one of them is carried out."""

    out: Path
    recipe: Path
    folder: Path
    backbone: str
    flags: DataFlags
    budget: Budget
    jobs: int
    device: str
    extractor: Path | None
    states: str
    backbone_flops: float | None

    @property
    def cache(self) -> Path:
        """The folder of the cache."""
        return self.out / "cache"

    def has_recipe(self, row: Row) -> bool:
        """Whether the recipe of a row is there."""
        return row.recipe is None or (self.folder / f"{row.recipe}.yaml").is_file()

    def shared(self) -> dict[str, Any]:
        """The settings that all rows share, with the comparison's number of frames."""
        return _with_frames(read_recipe(self.recipe), self.budget.num_frames)

    def frame_flags(self) -> list[Any]:
        """The same number of frames as flags."""
        if self.budget.num_frames is None:
            return []
        flags = ["--model.num_frames", self.budget.num_frames, "--model.condition.fps", "null"]
        rate = self.shared().get("frames", {}).get("fps")
        return flags if rate is None else [*flags, "--frames.fps", rate]

    def prepare(self, planned: dict[Row, list[Run]]) -> None:
        """The cache, and the pixels if a method reads them."""
        limit = [] if self.budget.train_videos is None else ["--limit", self.budget.train_videos]
        log = self.out / "prepare.log"
        try:
            _command(
                log, jobs=1,
                arguments=["prepare", "--config", self.recipe, "--backbone", self.backbone,
                           *self.flags.train, "--out", self.cache, "--states", self.states,
                           "--device", self.device, *self.frame_flags(), *limit],
            )  # fmt: skip
        except ValueError:
            if {path.name for path in self.out.iterdir()} == {log.name}:
                log.unlink()
                self.out.rmdir()
            raise
        methods = [row.name for row in planned if row.kind == "method"]
        if any(find_method(name).space == "pixels" for name in methods):
            decode_pixels(Cache(self.cache), self.flags.place)

    def steps_of(self, runs: Sequence[Run]) -> dict[Run, tuple[int, Cost]]:
        """The number of steps and the cost of every run of AID, with whichever settings.

        Notes the budget, which other methods take as a number of operations.
        """
        settings, shared = read_settings(self.cache)["fingerprint"], self.shared()
        configs, recipes = read_configs(find_backbone(self.backbone)), self._recipe_of(shared)
        known: dict[str, tuple[int, int, int]] = {}

        def cost(model: ModelConfig, train: dict[str, Any]) -> tuple[int, int, int]:
            key = json.dumps([to_json(model), train], sort_keys=True)
            if key not in known:
                size = settings["height"], settings["width"]
                known[key] = _step_cost(configs, model, train, *size)
            return known[key]

        like, flops = recipes, self.budget.flops
        if self.budget.like is not None:
            like = self._recipe_of(
                _with_frames(read_recipe(self.budget.like), self.budget.num_frames)
            )
        if flops is None:
            flops = float(self.budget.steps * cost(*like)[0])
        _note(self.out / "budget.json", {"flops": flops})
        found: dict[Run, tuple[int, Cost]] = {}
        for run in runs:
            if run.row.kind != "recipe":
                continue
            step, trained, parameters = cost(
                model_of(run.row, shared, self.folder), shared.get("train", {})
            )
            own = cost(*recipes)[0] if run.row.has_equal_steps else step
            number = steps_within(flops, own, "AID" if run.row.has_equal_steps else run.row.title)
            text = SHARED["recipe"]
            if self.backbone_flops is not None:
                text += f": {self.backbone_flops:.3g} FLOPs"
            found[run] = number, Cost(
                steps={"": number}, flops=number * step, budget=flops, num_trained=trained,
                num_parameters=parameters, shared=text, stages={"": step},
            )  # fmt: skip
        return found

    @staticmethod
    def _recipe_of(settings: dict[str, Any]) -> tuple[ModelConfig, dict[str, Any]]:
        return from_json(ModelConfig, settings.get("model", {})), settings.get("train", {})

    def carry_out(self, run: Run, planned: tuple[int, Cost] | None) -> None:
        """Trains, predicts and scores one run; what is finished is kept."""
        folder, row = self.out / run.name, run.row
        result = read_result(folder / RESULT)
        code = code_digest(row.name) if row.kind == "method" else None
        if result is not None:
            if result.code != code:
                raise RuntimeError(
                    f"{str(folder)!r} was made by another version of {row.name!r}. Delete it, or "
                    "choose another --out"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder, "*")
        on = ["--device", self.device, "--precision", self.budget.precision]
        trained = ["train", "--config", self.recipe]
        scored = ["evaluate", *self.flags.evaluate, "--out", folder / "report"]
        if row.kind == "method":
            flops = json.loads((self.out / "budget.json").read_text(encoding="utf-8"))["flops"]
            trained += ["--method", row.name, "--flops", flops]
            scored += ["--method", row.name, "--model", folder / "train"]
        else:
            if row.recipe is not None:
                trained += ["--config", self.folder / f"{row.recipe}.yaml"]
            trained += [*self.frame_flags(), "--backbone", self.backbone, "--tuning", row.tuning]
            trained += ["--train.steps", planned[0], "--train.check_every", planned[0]]
            scored += ["--model", folder / "train/checkpoint"]
        trained += ["--cache", self.cache, "--out", folder / "train"]
        trained += ["--train.seed", run.seed, *on]
        scored += ["--backbone", self.backbone, "--limit", self.budget.limit, *on]
        if self.budget.sampling_steps is not None:
            scored += ["--num_steps", self.budget.sampling_steps]
        if self.extractor is not None:
            scored += ["--weights", self.extractor]
        _command(folder / "train.log", jobs=self.jobs, arguments=trained)
        _command(folder / "evaluate.log", jobs=self.jobs, arguments=scored)
        facts = None
        if row.kind == "method":
            facts = json.loads((folder / "train" / FACTS).read_text(encoding="utf-8"))
        write(folder / COST, planned[1] if facts is None else _cost_of(facts))
        reads_text = True if facts is None else facts["reads_text"]
        if facts is None:
            branches = model_of(row, self.shared(), self.folder).dqformer.branches
            reads_text = branches != "none"
        known = {"row": row.name, "seed": run.seed, "title": row.title, "code": code}
        known |= {"is_own_method": is_code(row.name), "reads_text": reads_text}
        write(folder / RESULT, result_of(folder / REPORT, **known))


def _own_rows(out: Path) -> list[Row]:
    """The methods of the user's own that have results; their code is not loaded."""
    found = [read_result(path) for path in sorted(out.glob(f"*/{RESULT}"))]
    named = {one.row: one.title for one in found if one.is_own_method}
    return [
        Row(table="main", name=name, title=title, kind="method") for name, title in named.items()
    ]


def _step_cost(
    configs: Configs, model: ModelConfig, train: dict[str, Any], height: int, width: int
) -> tuple[int, int, int]:
    settings = from_json(TrainConfig, train)
    if settings.frame_stride != 1:
        raise ValueError(
            "train.frame_stride trains on fewer frames than are predicted, which only AID can. "
            "Give all rows fewer frames instead: --num_frames 8"
        )
    return step_cost(configs, model, settings, height, width)


def _cost_of(facts: dict[str, Any]) -> Cost:
    """The cost that the training of a method recorded."""
    stages, shared = facts["stages"], SHARED[facts["space"]]
    if facts["reads_text"]:
        shared = "text encoder" if shared == "-" else f"{shared}, text encoder"
    return Cost(
        steps={name: one["steps"] for name, one in stages.items()},
        flops=sum(one["flops"] for one in stages.values()),
        budget=facts["budget"],
        num_trained=facts["num_trained"],
        num_parameters=facts["num_parameters"],
        shared=shared,
        stages={name: one["flops_per_step"] for name, one in stages.items()},
    )


def _with_frames(settings: dict[str, Any], num_frames: int | None) -> dict[str, Any]:
    """A recipe's settings for another number of frames of the same length of time."""
    if num_frames is None:
        return settings
    model, frames = dict(settings.get("model", {})), dict(settings.get("frames", {}))
    if frames.get("fps") is not None:
        before = model.get("num_frames", ModelConfig().num_frames)
        frames["fps"] = frames["fps"] * num_frames / before
    model["num_frames"] = num_frames
    model["condition"] = {**model.get("condition", {}), "fps": None}
    return {**settings, "model": model, **({"frames": frames} if frames else {})}


def device_name(device: str) -> str:
    """A device in words."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device} with {len(os.sched_getaffinity(0))} cores" if device == "cpu" else device


def _data_flags(data: Path, split: str | None, hold_out: float) -> DataFlags:
    """The flags of a data set whose splits are folders, or of any other.

    Raises:
        ValueError: a split is missing, or nothing says what is predicted.
    """
    if (data / "train" / MANIFEST).is_file() or (split and (data / split / MANIFEST).is_file()):
        if hold_out:
            raise ValueError(
                f"--hold_out {hold_out:g} divides one data set, and {str(data)!r} has a folder for "
                "each split. Leave it out."
            )
        split = split or "val"
        for name in ("train", split):
            if not (data / name / MANIFEST).is_file():
                there = sorted(path.parent.name for path in data.glob(f"*/{MANIFEST}"))
                raise ValueError(
                    f"{str(data)!r} has no split {name!r}, only {', '.join(map(repr, there))}. "
                    "Choose another --split; one of the table-top's can be made: "
                    f"aid tabletop make --out {data} --scenes.{name} 100"
                )
        return DataFlags(
            train=["--data", data / "train"], evaluate=["--data", data / split],
            place=data / "train", split=split,
        )  # fmt: skip
    if not data.is_dir():
        raise ValueError(f"data set {str(data)!r} does not exist. Give a folder: --data")
    refuse_several(data)
    SourceConfig(hold_out=hold_out)  # refuses a share that is none
    if hold_out:
        split, more = split or "held_out", ["--hold_out", hold_out]
    elif split is None:
        raise ValueError(
            f"nothing says which videos of {str(data)!r} are predicted. Keep some out of training "
            "(--hold_out 0.15), or name a split of the data set (--split)."
        )
    else:
        more = []
    return DataFlags(
        train=["--data", data, "--split", "train", *more],
        evaluate=["--data", data, "--split", split, *more],
        place=data,
        split=split,
    )


def _command(log: Path, *, jobs: int, arguments: Sequence[Any]) -> None:
    """Runs one of the public commands in its own process, with its output in `log`."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    command = [sys.executable, "-m", "aid.cli", *map(str, arguments)]
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(
            command, stdout=file, stderr=file, env={"OMP_NUM_THREADS": threads} | os.environ,
        )  # fmt: skip
    if done.returncode:
        last = " ".join(log.read_text(encoding="utf-8").strip().splitlines()[-1:])
        if done.returncode == REFUSED:
            raise ValueError(last.removeprefix("error: "))
        raise RuntimeError(f"aid {command[3]} ended with {done.returncode}: {last} ({log})")


def _note(path: Path, values: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _require_same_budget(out: Path, settings: dict[str, Any]) -> None:
    make_folder(out)
    remove_leftovers(out, "*")
    note = out / SETTINGS
    if not note.is_file():
        return
    before = json.loads(note.read_text(encoding="utf-8"))
    for key, value in settings.items():
        if (old := before.get(key)) == value:
            continue
        flag = f"--{FLAGS.get(key, key)}"
        shown = f" ({flag} {old}, now {value})" if len(f"{old}{value}") < LONGEST else ""
        raise ValueError(
            f"{str(out)!r} holds a comparison with another {key}{shown}: rows can "
            "only be compared at one budget. Give the same again, or choose another --out."
        )
