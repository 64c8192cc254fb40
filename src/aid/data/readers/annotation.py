"""Episodes with a JSON file each, as IRASim, VPP, Ctrl-World and Cosmos' robot post-training have.

    annotation/SPLIT/ID.json    {"texts": ["..."], "videos": [{"video_path": "..."}, ...], ...}
    videos/SPLIT/ID/0.mp4       one video per camera, or ID.mp4

Several texts are wordings. A row per episode and camera; a camera is called by its number, or by
the file where only one is there.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from aid.data.files import inside, read_json
from aid.data.readers.caption_lists import words_in
from aid.data.tally import Tally
from aid.types import VideoRow

FOLDERS = ("annotation", "annotations")
KEYS = ("videos", "video_path")


def is_annotation(folder: Path) -> bool:
    """Whether there is a file of an episode that names videos."""
    for name in _files(folder):
        try:
            return any(key in read_json(folder, name, dict) for key in KEYS)
        except ValueError:
            return False
    return False


def read_annotation(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per episode and camera, in the order of the splits and numbers.

    Raises:
        ValueError: a file is malformed.
    """
    tally = Tally()
    try:
        for name in _files(folder):
            yield from _rows(folder, name, read_json(folder, name, dict), tally)
    finally:
        notes += tally.notes()


def _rows(folder: Path, name: str, told: dict[str, Any], tally: Tally) -> Iterator[VideoRow]:
    path = PurePosixPath(name)
    split = path.parts[1] if len(path.parts) > 2 else ""
    episode = path.relative_to(path.parts[0]).with_suffix("").as_posix()
    words = words_in(told)
    videos = told.get("videos", told.get("video_path"))
    videos = videos if isinstance(videos, list) else [] if videos is None else [videos]
    paths = [video.get("video_path") if isinstance(video, dict) else video for video in videos]
    if words is None or not paths or not all(isinstance(path, str) for path in paths):
        raise ValueError(
            f"{str(folder / name)!r}: an episode needs videos, each with a video_path, and text as "
            f"texts, got {str({key: told.get(key) for key in (*KEYS, 'texts')})[:160]}."
        )
    if told.get("success") in (0, False):
        tally.add("episodes are marked as failed and are kept", episode)
    for number, path in enumerate(paths):
        video = _found(folder, path)
        camera = str(number) if len(paths) > 1 else ""
        if video is None:
            which = f" of camera {camera}" if camera else ""
            tally.add(f"videos{which} that annotations name are not there", path)
            continue
        if not words:
            tally.add("videos have no words", video)
        yield VideoRow(
            id=f"{episode}/{camera}" if camera else episode,
            video=video,
            instruction=next(iter(words), ""),
            wordings=words if len(words) > 1 else [],
            num_frames=0,
            fps=0.0,
            height=0,
            width=0,
            camera=camera,
            split=split,
            world={"episode": episode} | {k: told[k] for k in ("success",) if k in told},
        )


def _found(folder: Path, name: str) -> str | None:
    """The video's path below the folder; of a path on another disk the end that is there."""
    path = PurePosixPath(name)
    ends = [path] if not path.is_absolute() else []
    if path.is_absolute():
        if Path(name).exists():
            inside(folder, name)  # refuses what leads out
        ends = [PurePosixPath(*path.parts[n:]) for n in range(1, len(path.parts))]
    found = next((end for end in ends if inside(folder, str(end)).exists()), None)
    return None if found is None else found.as_posix()


def _files(folder: Path) -> Iterator[str]:
    """Files of episodes, by split and number."""
    for name in FOLDERS:
        home = folder / name
        if not home.is_dir():
            continue
        found = [p for pattern in ("*/*.json", "*.json") for p in home.glob(pattern)]
        for path in sorted(found, key=lambda p: (p.parent.name, _number(p.stem), p.stem)):
            yield path.relative_to(folder).as_posix()


def _number(stem: str) -> int:
    return int(stem) if stem.isdecimal() and len(stem) < 19 else -1
