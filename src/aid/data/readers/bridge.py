"""BridgeData v1 as Seer lays it out, and the raw layout of BridgeData v1 and V2.

Seer    rawframes/close_brown1fbox_flap/0/img_00001.jpg (or videos/.../0.mp4), and the list
        path_id_bridgedata.txt, of which the first 80 % are train
raw     .../TASK/[00/]2022-01-01_00-00-00/raw/traj_group0/traj0/images0/im_0.jpg, and lang.txt

Seer's split leaks: most demonstrations were filmed by several cameras, each view is a video of its
own, and the list was shuffled by view. `strict-train` and `strict-val` keep the views of a
demonstration in one split.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aid.data.files import parse_json, read_text
from aid.data.readers import unopened_row
from aid.data.readers.file_tree import SPLITS
from aid.types import VideoRow
from aid.video import IMAGE_SUFFIXES
from aid.video.notes import IssueCounter

LIST = "path_id_bridgedata.txt"
FPS = 5.0
NUM_VIEWS = 3
"""Views of one demonstration, which Seer's export numbers consecutively. Inferred: most tasks have
a multiple of it."""
DATE = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")
IMAGES = re.compile(r"images\d+")


def in_words(task: str) -> str:
    """A task's folder name as an instruction: `put_carrot_on_plate` as "put carrot on plate"."""
    return " ".join(re.split(r"[_\-\s]+", task.strip("_- ")))


def is_seer_bridge(folder: Path) -> bool:
    """Whether Seer's list exists, or frames in Seer's layout."""
    if (folder / LIST).is_file() or (folder / "dataset" / LIST).is_file():
        return True
    return next(_seer_videos(folder), None) is not None


def read_seer_bridge(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per video of Seer's list, in its order; without the list, of the folders.

    Raises:
        ValueError: the list is malformed.
    """
    name = next((n for n in (LIST, f"dataset/{LIST}") if (folder / n).is_file()), None)
    listed = _listed(folder, name) if name else [i for i, _ in _seer_videos(folder)]
    if not name:
        notes.append(f"{LIST} is missing, so the published split is unknown.")
    else:
        notes.append(
            "the published split leaks: other views of most validation demonstrations are in "
            "train. Splits strict-train and strict-val keep the views of a demonstration together "
            f"(assuming that {NUM_VIEWS} consecutive numbers are one demonstration)."
        )
    num_train = int(0.8 * len(listed))
    sizes = Counter[str]()
    for item in listed:
        task, number = item.split("/")
        sizes[task] = max(sizes[task], int(number) + 1)
    missing = 0
    for position, item in enumerate(listed):
        task, number = item.split("/")
        paths = [f"rawframes/{item}", f"videos/{item}.mp4", item, f"{item}.mp4"]
        video = next((path for path in paths if (folder / path).exists()), None)
        if video is None:
            missing += 1
            continue
        demo, num_demos = int(number) // NUM_VIEWS, -(-sizes[task] // NUM_VIEWS)
        strict = "train" if demo < round(0.8 * num_demos) else "val"
        yield unopened_row(
            [in_words(task)],
            fps=FPS,
            id=item,
            video=video,
            split=("train" if position < num_train else "val") if name else "",
            world={"episode": f"{task}/{demo}", "also_in": [f"strict-{strict}"]},
        )
    if missing:
        notes.append(f"{missing} of {len(listed)} videos of {LIST} do not exist.")


def _listed(folder: Path, name: str) -> list[str]:
    where = repr(str(folder / name))
    listed = parse_json(read_text(folder, name), where)
    wrong = listed if not isinstance(listed, list) else [i for i in listed if not _is_item(i)]
    if wrong or not listed:
        raise ValueError(f"{where} must be a list of 'task/number', got {str(wrong)[:80]}.")
    return listed


def _is_item(item: object) -> bool:
    named = re.fullmatch(r"([^/\\\0]+)/\d{1,9}", item) if isinstance(item, str) else None
    return named is not None and named[1] not in (".", "..")


def _seer_videos(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folders of frames or mp4 files `task/number` and their paths, by task and number.

    `videos/SPLIT/NUMBER/0.mp4` is another layout: its numbers are folders without frames.
    """
    for root in ("rawframes", "videos"):
        for task in sorted(p for p in (folder / root).glob("*") if p.is_dir()):
            if task.name.lower() in SPLITS:
                continue
            found = [p for p in task.iterdir() if p.stem.isdecimal()]
            found = [p for p in found if p.suffix == ".mp4" or (p.is_dir() and _has_frames(p))]
            for path in sorted(found, key=lambda p: int(p.stem)):
                yield f"{task.name}/{path.stem}", path


def _has_frames(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def is_raw_bridge(folder: Path) -> bool:
    """Whether there is a trajectory in the raw layout."""
    return next(_trajectories(folder), None) is not None


def read_raw_bridge(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per trajectory and camera, in the order of the paths.

    The first 90 % of the trajectories of each recording session are `train`, the rest `val`, as the
    published conversion does in another order; the views of a trajectory are in one split.

    Raises:
        ValueError: a description is not UTF-8.
    """
    notes.append("train and val share scenes and sessions, but no trajectory.")
    sessions: dict[Path, list[Path]] = {}
    issues = IssueCounter()
    for trajectory in _trajectories(folder):
        sessions.setdefault(trajectory.parents[2], []).append(trajectory)
    for session, trajectories in sessions.items():
        for position, trajectory in enumerate(trajectories):
            name = trajectory.relative_to(folder).as_posix()
            words = _descriptions(folder, trajectory, session)
            names = sorted(p.name for p in trajectory.iterdir() if p.is_dir())
            cameras = [one for one in names if IMAGES.fullmatch(one)]
            for depth in (one for one in names if one.startswith("depth")):
                issues.add("folders of depth images are left out", f"{name}/{depth}")
            if not cameras:
                issues.add("trajectories have no images", name)
            for camera in sorted(cameras, key=lambda c: int(c.removeprefix("images"))):
                yield unopened_row(
                    words,
                    fps=FPS,
                    id=f"{name}/{camera}",
                    video=f"{name}/{camera}",
                    camera=camera,
                    split="train" if position < int(0.9 * len(trajectories)) else "val",
                    world={"episode": name},
                )
    notes += issues.notes()


def _trajectories(folder: Path) -> Iterator[Path]:
    """Folders `raw/traj_group*/traj*`, without listing the images inside."""
    for at, inner, _ in os.walk(folder):
        inner.sort(key=lambda n: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", n)])
        path = Path(at)
        if path.name.startswith("traj_group") and path.parent.name == "raw":
            yield from (path / name for name in inner if re.fullmatch(r"traj\d+", name))
            inner.clear()


def _descriptions(folder: Path, trajectory: Path, session: Path) -> list[str]:
    """The annotators' descriptions, without their confidence; v1 has only the task's name."""
    path = trajectory / "lang.txt"
    if path.is_file():
        lines = read_text(folder, path.relative_to(folder).as_posix()).splitlines()
        lines = [" ".join(line.split()) for line in lines]
        words = [line for line in lines if line and not line.lower().startswith("confidence")]
        return list(dict.fromkeys(words))
    task = session.parent if session.parent != folder else session
    while task.name.isdecimal() and task != folder:
        task = task.parent
    return [] if task == folder or DATE.fullmatch(task.name) else [in_words(task.name)]
