"""Episodes with a JSON file each, as IRASim, VPP, Ctrl-World and Cosmos' robot post-training have.

    annotation/SPLIT/ID.json    {"texts": ["..."], "videos": [{"video_path": "..."}, ...], ...}
    videos/SPLIT/ID/0.mp4       one video per camera, or ID.mp4

A row per episode and camera. Several texts are wordings. A camera is named by its number; a single
one has no name.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from aid.data.files import inside, read_json
from aid.data.readers import unopened_row
from aid.data.readers.caption_lists import words_in
from aid.types import VideoRow
from aid.video.notes import IssueCounter

FOLDERS = ("annotation", "annotations")
KEYS = ("videos", "video_path")


def is_annotation(folder: Path) -> bool:
    """Whether there is an episode's JSON file that names videos."""
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
    issues = IssueCounter()
    try:
        for name in _files(folder):
            yield from _rows(folder, name, read_json(folder, name, dict), issues)
    finally:
        notes += issues.notes()


def _rows(
    folder: Path, name: str, episode: dict[str, Any], issues: IssueCounter
) -> Iterator[VideoRow]:
    path = PurePosixPath(name)
    split = path.parts[1] if len(path.parts) > 2 else ""
    episode_id = path.relative_to(path.parts[0]).with_suffix("").as_posix()
    words = words_in(episode)
    videos = episode.get("videos", episode.get("video_path"))
    videos = videos if isinstance(videos, list) else [] if videos is None else [videos]
    paths = [video.get("video_path") if isinstance(video, dict) else video for video in videos]
    if words is None or not paths or not all(isinstance(path, str) for path in paths):
        raise ValueError(
            f"{str(folder / name)!r}: an episode needs videos, each with a video_path, and text as "
            f"texts, got {str({key: episode.get(key) for key in (*KEYS, 'texts')})[:160]}."
        )
    if episode.get("success") in (0, False):
        issues.add("episodes are marked as failed and are kept", episode_id)
    world = {"episode": episode_id} | {k: episode[k] for k in ("success",) if k in episode}
    for number, path in enumerate(paths):
        video = _found(folder, path)
        camera = str(number) if len(paths) > 1 else ""
        if video is None:
            which = f" of camera {camera}" if camera else ""
            issues.add(f"videos{which} that annotations name do not exist", path)
            continue
        if not words:
            issues.add("videos have no instruction", video)
        name = f"{episode_id}/{camera}" if camera else episode_id
        yield unopened_row(words, id=name, video=video, camera=camera, split=split, world=world)


def _found(folder: Path, name: str) -> str | None:
    """The video's path below the folder; of a path on another disk, the end that exists here."""
    path = PurePosixPath(name)
    ends = [path] if not path.is_absolute() else []
    if path.is_absolute():
        if Path(name).exists():
            inside(folder, name)  # refuses what leads out
        ends = [PurePosixPath(*path.parts[n:]) for n in range(1, len(path.parts))]
    found = next((end for end in ends if inside(folder, str(end)).exists()), None)
    return None if found is None else found.as_posix()


def _files(folder: Path) -> Iterator[str]:
    """The JSON files of episodes, by split and number."""
    for name in FOLDERS:
        place = folder / name
        if not place.is_dir():
            continue
        found = [p for pattern in ("*/*.json", "*.json") for p in place.glob(pattern)]
        for path in sorted(found, key=lambda p: (p.parent.name, _number(p.stem), p.stem)):
            yield path.relative_to(folder).as_posix()


def _number(stem: str) -> int:
    return int(stem) if stem.isdecimal() and len(stem) < 19 else -1
