"""Writes a table-top data set: videos, manifests and their settings.

Scenes are independent jobs, each a function of (seed, split, index), so the number of workers has
no effect on the result, and a killed run continues where it stopped.
"""

import importlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from aid.config.bounds import MOST_FRAMES, require_seed
from aid.files import make_folder
from aid.tabletop.language import Group
from aid.tabletop.other_worlds import OTHER_WORLDS
from aid.tabletop.world.record import other_world_row, video_row
from aid.tabletop.world.render import (
    Renderer,
    choose_gl_library,
    close_kept_canvases,
    kept_canvas,
)
from aid.tabletop.world.simulate import Episode, Simulator
from aid.tabletop.world.splits import MAX_ATTEMPTS, SPLITS, Plan, Split, candidate_plans
from aid.types import VideoRow
from aid.video import remove_leftovers, whole_file, write_mp4

GENERATOR_VERSION = 2
CARD = """---
license: {licence}
---

Videos of {about}, made by `aid tabletop make`; its settings are in `../dataset.json`.
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One scene or rollout of one split, to be made by a worker."""

    folder: Path
    split: str
    index: int
    seed: int
    size: int
    num_frames: int
    shadows: bool
    wordings: Group = "simple"

    @property
    def part(self) -> Path:
        """The file of the finished scene's rows, until the manifest is written."""
        return self.folder / "parts" / f"{self.index:06d}.json"


def generate(
    out: Path,
    *,
    splits: dict[str, int],
    size: int = 64,
    num_frames: int = 16,
    seed: int = 0,
    num_workers: int | None = None,
    shadows: bool = False,
    wordings: Group = "simple",
) -> None:
    """Writes `out/<split>/{videos/*.mp4,README.md,manifest.jsonl}` and `out/dataset.json`.

    A split's manifest is written when the split is complete, so training can start while later
    splits are made. A second call with the same settings continues where the first stopped.

    Args:
        out: folder of the data set; made if it does not exist.
        splits: number of scenes per split, made in this order. Splits: play, train, val, test,
            forks, combos, twins.
        size: height and width of the videos in pixels, 64 to 256 and a multiple of 8.
        num_frames: frames per video, spread evenly over 4 to 5.5 seconds.
        seed: data sets of different seeds share no scene.
        num_workers: number of processes; None takes one for each core. No effect on the result.
        shadows: whether to cast shadows, several times slower; otherwise each item has a dark disc.
        wordings: the group of wordings that the instructions are drawn from (`language.wordings`).
            Videos do not depend on it. `held_out` is refused for splits to learn from.

    Raises:
        ValueError: a setting is out of range, `out` holds a data set with other settings, or no GL
            library works.
    """
    _check(splits, size, num_frames, seed, num_workers, wordings)
    choose_gl_library()
    settings = {
        "size": size,
        "num_frames": num_frames,
        "seed": seed,
        "shadows": shadows,
        "wordings": wordings,
    }
    _check_settings(out, settings, splits)
    for split, num_scenes in splits.items():
        folder = out / split
        if (folder / "manifest.jsonl").exists():
            shutil.rmtree(folder / "parts", ignore_errors=True)  # left by a killed run
            continue
        for name in ("videos", "parts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        jobs = [Job(folder=folder, split=split, index=i, **settings) for i in range(num_scenes)]
        _run(jobs, num_workers or os.cpu_count() or 1, title=split)
        _finish_split(out, split, jobs)


def make_scene(job: Job) -> None:
    """Makes all videos of one scene, and then its part file, which marks it as finished."""
    rows = []
    for row, frames in _other_world(job) if job.split in OTHER_WORLDS else _table_top(job):
        write_mp4(job.folder / row.video, frames, fps=row.fps, lossless=True)
        rows.append(row.to_json())
    with whole_file(job.part) as temporary:
        temporary.write_text(json.dumps(rows))


def _table_top(job: Job) -> Iterator[tuple[VideoRow, np.ndarray]]:
    split = SPLITS[job.split]
    plan, episodes = _simulate(job, split)
    for number, episode in enumerate(episodes):
        identity = f"{job.split}-{job.index:06d}-{number}"
        yield video_row(split, plan, number, episode, identity), episode.frames


def _other_world(job: Job) -> Iterator[tuple[VideoRow, np.ndarray]]:
    world = OTHER_WORLDS[job.split]
    seed = job.seed * 1_000_000 + job.index
    play = importlib.import_module(world.module).play
    for number, window in enumerate(play(seed, size=job.size, num_frames=job.num_frames)):
        identity = f"{job.split}-{job.index:06d}-{number}"
        yield other_world_row(world, seed, window, identity), window.frames


def _simulate(job: Job, split: Split) -> tuple[Plan, list[Episode]]:
    renderer = kept_canvas(Renderer, job.size)
    for plan in candidate_plans(split, job.seed, job.index, job.wordings):
        simulator = Simulator(plan.scene, renderer, shadows=job.shadows)
        episodes: list[Episode] = []
        for task, failure in zip(plan.tasks, plan.failures, strict=True):
            episodes.append(simulator.run(task, num_frames=job.num_frames, failure=failure))
            if split.must_succeed and not episodes[-1].success:
                break
        else:
            return plan, episodes
    raise RuntimeError(f"no scene for {job.split} {job.index} after {MAX_ATTEMPTS} attempts")


def _run(jobs: list[Job], num_workers: int, title: str) -> None:
    waiting = [job for job in jobs if not job.part.exists()]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress, _results(waiting, num_workers) as results:
        bar = progress.add_task(f"{title} scenes", total=len(jobs))
        progress.update(bar, completed=len(jobs) - len(waiting))
        for _ in results:
            progress.advance(bar)


@contextmanager
def _results(jobs: list[Job], num_workers: int) -> Iterator[Iterable[None]]:
    """Runs the jobs; with one worker in this process."""
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        try:
            yield map(make_scene, jobs)
        finally:
            close_kept_canvases()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield pool.imap_unordered(make_scene, jobs)


def _finish_split(out: Path, split: str, jobs: list[Job]) -> None:
    """Writes the counts, the data card and the manifest, and removes the parts."""
    rows = [row for job in jobs for row in json.loads(job.part.read_text())]
    dataset = json.loads((out / "dataset.json").read_text())
    dataset["counts"][split] = {
        "scenes": len(jobs),
        "videos": len(rows),
    }
    licence, about = "apache-2.0", "a simulated table-top"
    if split in OTHER_WORLDS:
        licence, about = OTHER_WORLDS[split].licence, OTHER_WORLDS[split].about
    else:
        dataset["counts"][split] |= {
            "successes": sum(row["world"]["success"] for row in rows),
            "planned_failures": sum(row["world"]["failure"] is not None for row in rows),
        }
    _write_json(out / "dataset.json", dataset)
    with whole_file(out / split / "README.md") as temporary:
        temporary.write_text(CARD.format(licence=licence, about=about))
    with whole_file(out / split / "manifest.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.rmtree(out / split / "parts")
    for half_written in (out / split / "videos").glob(".*.tmp.mp4"):  # of a killed run
        half_written.unlink()


def _check_settings(out: Path, settings: dict[str, Any], splits: dict[str, int]) -> None:
    """Writes the settings of a new data set, or refuses other settings of an existing one."""
    make_folder(out)
    remove_leftovers(out)
    path = out / "dataset.json"
    wanted = {"generator": GENERATOR_VERSION, "mujoco": mujoco.__version__, **settings}
    if not path.exists():
        if taken := [out / name for name in splits if (out / name).exists()]:
            raise ValueError(
                f"{str(taken[0])!r} exists and is not of a table-top data set. Choose another "
                "--out."
            )
        _write_json(path, {**wanted, "splits": splits, "counts": {}})
        return
    try:
        dataset = json.loads(path.read_text(encoding="utf-8"))
        if not {"generator", "splits", "counts"} <= dataset.keys():
            raise ValueError("it names no generator")
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} is not of a table-top data set ({error}). Choose another --out."
        ) from None
    dataset.setdefault("wordings", "simple")  # older data sets do not say it
    wanted |= {f"splits.{split}": count for split, count in splits.items()}
    known = {**dataset, **{f"splits.{name}": n for name, n in dataset["splits"].items()}}
    for name, value in wanted.items():
        if name in known and known[name] != value:
            raise ValueError(
                f"{str(out)!r} holds a data set with {name} = {known[name]!r}, "
                f"but now {name} = {value!r}. Use the same setting or another folder."
            )
    dataset["splits"] |= splits
    _write_json(path, dataset)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _check(
    splits: dict[str, int],
    size: int,
    num_frames: int,
    seed: int,
    num_workers: int | None,
    wordings: Group,
) -> None:
    names = [*SPLITS, *OTHER_WORLDS]
    unknown = [name for name in splits if name not in names]
    if unknown or not splits:
        raise ValueError(
            f"splits must name some of {', '.join(names)}, got {unknown or 'none'}. "
            "Give for example splits={'train': 1000, 'val': 60}."
        )
    for name, count in splits.items():
        if not 1 <= count < 1_000_000:
            raise ValueError(f"split {name} must have 1 to 999,999 scenes, got {count}.")
        if name in OTHER_WORLDS:
            OTHER_WORLDS[name].check_installed()
    if not 64 <= size <= 256 or size % 8:
        raise ValueError(f"size must be a multiple of 8 from 64 to 256, got {size}. Try 64 or 96.")
    if num_frames < 2:
        raise ValueError(f"num_frames must be at least 2, got {num_frames}. Try 16.")
    if num_frames > MOST_FRAMES:
        raise ValueError(f"num_frames must be at most {MOST_FRAMES}, got {num_frames}. Try 16.")
    require_seed(seed, least=0)
    learned = [name for name in splits if name in SPLITS and SPLITS[name].is_learned]
    if wordings == "held_out" and learned:
        raise ValueError(
            f"the held-out wordings are not for the split {learned[0]!r}, which models learn from. "
            "Use wordings 'train' there, or another folder for the splits to test with."
        )
    if num_workers is not None and num_workers < 1:
        raise ValueError(
            f"num_workers must be at least 1, got {num_workers}. Leave it out for one per core."
        )
