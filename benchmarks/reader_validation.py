"""Accuracy of the outcome reader on real videos whose outcome the simulator knows.

COMMAND  python benchmarks/reader_validation.py --out runs/reader_validation
HARDWARE one CPU core
TIME     about five minutes

Makes new scenes (seed 3, used neither by a data set nor in making the reader), reads their videos
clean and degraded, and prints the table of docs/experiments/outcome_reader.md. A repeated command
uses the videos that exist.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from aid.data.manifest import read_manifest
from aid.evaluate.judge import wilson_interval
from aid.tabletop.language import Task
from aid.tabletop.reader.instruction import (
    OutcomeReader,
    best_task,
    judge,
    outcome_of,
)
from aid.tabletop.reader.sighting import Reading
from aid.tabletop.world.generate import generate
from aid.tabletop.world.outcome import Ending, succeeded
from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.tasks import feasible_tasks
from aid.types import VideoRow
from aid.video import read_video

SPLITS = {"test": 60, "forks": 60, "combos": 60}
Pixels = np.ndarray


def blurred(sigma: float) -> Callable[[Pixels], Pixels]:
    """Gaussian blur of this many pixels."""
    steps = np.arange(-5, 6)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    kernel /= kernel.sum()

    def degrade(video: Pixels) -> Pixels:
        for axis in (1, 2):
            size = video.shape[axis]
            video = sum(
                weight * np.take(video, np.clip(np.arange(size) + step, 0, size - 1), axis)
                for step, weight in zip(steps, kernel, strict=True)
            )
        return video

    return degrade


def noisy(std: float) -> Callable[[Pixels], Pixels]:
    """Independent noise on every pixel; std as a share of the range."""
    random = np.random.default_rng(0)
    return lambda video: video + random.normal(0, 255 * std, video.shape)


def halved(video: Pixels) -> Pixels:
    """Half the size and back."""
    frames = []
    for frame in np.clip(video, 0, 255).astype(np.uint8):
        height, width = frame.shape[:2]
        small = Image.fromarray(frame).resize((width // 2, height // 2), Image.Resampling.BOX)
        frames.append(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)))
    return np.stack(frames).astype(float)


def paler(share: float) -> Callable[[Pixels], Pixels]:
    """Colours this much closer to grey."""
    return lambda video: (1 - share) * video + share * video.mean(-1, keepdims=True)


DEGRADATIONS: dict[str, list[Callable[[Pixels], Pixels]]] = {
    "as rendered": [],
    "blur 1 px": [blurred(1.0)],
    "blur 1.5 px": [blurred(1.5)],
    "noise 0.05": [noisy(0.05)],
    "half size and back": [halved],
    "30 % paler": [paler(0.3)],
    "blur 1 px, half size, 10 % paler, noise 0.04": [blurred(1.0), halved, paler(0.1), noisy(0.04)],
}


def main() -> None:
    """Makes the scenes, reads them and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos")
    parser.add_argument("--seed", type=int, default=3, help="of the scenes")
    out, seed = parser.parse_args().out, parser.parse_args().seed
    generate(out, splits=SPLITS, seed=seed, num_workers=1)
    rows = [(row, out / split) for split in SPLITS for row in read_manifest(out / split)]
    videos = [read_video(folder / row.video)[[0, -2, -1]] for row, folder in rows]
    only_rows = [row for row, _ in rows]
    print("| videos | N | strict | 95 % | outcome holds | right object | items lost |")
    print("|---|---|---|---|---|---|---|")
    for name, steps in DEGRADATIONS.items():
        print(accuracy_line(name, only_rows, [apply(steps, video) for video in videos]))
    print()
    print(specificity(only_rows, videos))


def apply(steps: list[Callable[[Pixels], Pixels]], video: Pixels) -> Pixels:
    """A degraded copy, its first frame included."""
    values = video.astype(float)
    for step in steps:
        values = step(values)
    return np.clip(values, 0, 255).round().astype(np.uint8)


def accuracy_line(name: str, rows: list[VideoRow], videos: list[Pixels]) -> str:
    """One line of the table: every video judged by what it truly shows."""
    count: Counter[str] = Counter()
    for row, video in zip(rows, videos, strict=True):
        verdict = judge(reader_of(row, video).read(video), true_task(row), alternatives_of(row))
        count["obeyed"] += verdict.is_obeyed
        count["holds"] += verdict.holds
        count["right"] += verdict.is_right_object
        count["lost"] += verdict.num_lost
        count["items"] += verdict.num_items
    number = len(rows)
    low, high = wilson_interval(count["obeyed"], number)
    shares = [100 * count[key] / number for key in ("obeyed", "holds", "right")]
    return (
        f"| {name} | {number} | {shares[0]:.1f} % | {100 * low:.1f} to {100 * high:.1f} | "
        f"{shares[1]:.1f} % | {shares[2]:.1f} % | {100 * count['lost'] / count['items']:.1f} % |"
    )


def specificity(rows: list[VideoRow], videos: list[Pixels]) -> str:
    """How often something is seen that is not there."""
    count: Counter[str] = Counter()
    places = []
    for row, video in zip(rows, videos, strict=True):
        reader, own, alternatives = reader_of(row, video), true_task(row), alternatives_of(row)
        still = reader.read(np.repeat(video[:1], 2, 0))
        count["still"] += best_task(still, alternatives) is not None or any(
            outcome_of(still, task) for task in alternatives
        )
        reading = reader.read(video)
        truly = true_outcomes(row)
        for task in alternatives:
            if task != own:
                count["others"] += 1
                count["others seen"] += outcome_of(reading, task)
                count["others true"] += truly[task]
                count["others wrong"] += outcome_of(reading, task) != truly[task]
        places += place_errors(row, reading)
    return (
        f"First frame repeated: {count['still']} of {len(rows)} show a task. "
        f"Other tasks of the same frame: {count['others seen']} of {count['others']} hold besides "
        f"the named one; the simulator says {count['others true']}, and reader and simulator "
        f"differ in {count['others wrong']}.\n"
        f"Ends on the table: mean error {1000 * np.mean(places):.1f} mm, "
        f"99 % within {1000 * np.percentile(places, 99):.1f} mm, worst {1000 * max(places):.1f} mm."
    )


def true_outcomes(row: VideoRow) -> dict[Task, bool]:
    """What the simulator's own success test says of every task of the frame."""
    scene = sample_scene(row.world["scene"])
    start, end = (np.array([item[at] for item in row.world["items"]]) for at in ("start", "end"))
    truly = {}
    for one in feasible_tasks(scene):
        held = row.world["held"] == one.object_index
        # Both tests ask whether the object was moved there; the reader's says so.
        moved = held or np.linalg.norm(end[one.object_index] - start[one.object_index]) > 0.03
        ending = Ending(start=start, shortly_before=end, end=end, is_held=held)
        truly[one.task] = bool(moved) and succeeded(scene, one, ending)
    return truly


def place_errors(row: VideoRow, reading: Reading) -> list[float]:
    """Distances between where items end and where they are read, for those on the table."""
    errors = []
    for item in row.world["items"]:
        read, raised = reading.items[item["name"]], item["end"][2] - item["start"][2]
        if read.end is not None and raised < 0.01:
            errors.append(float(np.linalg.norm(np.subtract(read.end, item["end"][:2]))))
    return errors


def reader_of(row: VideoRow, video: Pixels) -> OutcomeReader:
    """The reader for a video's own first frame."""
    return OutcomeReader(
        video[0], [item["name"] for item in row.world["items"]], row.world["camera"]
    )


def true_task(row: VideoRow) -> Task:
    """The task that the video shows in truth."""
    return Task(
        **{key: row.world["task"][key] for key in ("family", "object", "target", "direction")}
    )


def alternatives_of(row: VideoRow) -> list[Task]:
    """Every task that the first frame allows."""
    return [Task(**task) for task in row.world["alternatives"]]


if __name__ == "__main__":
    main()
