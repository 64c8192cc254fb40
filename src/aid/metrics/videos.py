"""A set of videos on disk: files or folders of images, by names that define the pairs."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from aid.video import Note, is_video, list_frames, read_clip, read_folder

Video = UInt8[np.ndarray, "f H W 3"]


@dataclass(frozen=True, kw_only=True)
class VideoSet:
    """Videos by name. `derived`, if given, computes from each video another, as baselines do.

    `derived_from` identifies everything that `derived` depends on besides the video.
    """

    title: str
    paths: dict[str, Path]
    derived: Callable[[Video], Video] | None = None
    derived_from: str = ""
    is_sorted: bool = True
    notes: dict[str, tuple[Note, ...]] = field(default_factory=dict, compare=False)
    """What was done to each video beyond plain decoding, for the videos that were read."""

    def read(self, name: str) -> Video:
        """All frames of a video.

        Raises:
            ValueError: it is missing, damaged, or its images differ in size.
        """
        path = self.paths[name]
        if path.is_dir():
            video, notes = read_folder(path, self.is_sorted)
        else:
            clip = read_clip(path)
            video, notes = clip.pixels, clip.notes
        self.notes[name] = notes
        return video if self.derived is None else self.derived(video)

    def stamp(self, name: str) -> list[int]:
        """Size and modification time of a video's files; they change when it is written again."""
        path = self.paths[name]
        parts = [path, *path.iterdir()] if path.is_dir() else [path]
        facts = [part.stat() for part in parts if part.exists()]
        return [sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0)]

    def content(self) -> dict[str, str]:
        """Each video's name by the SHA-256 of its files."""
        names = {}
        for name, path in self.paths.items():
            digest = hashlib.sha256()
            for part in sorted(path.iterdir()) if path.is_dir() else [path]:
                if part.is_file():
                    with part.open("rb") as file:
                        digest.update(hashlib.file_digest(file, "sha256").digest())
            names[digest.hexdigest()] = name
        return names

    def hash(self) -> str:
        """12 hex digits of all names and contents, which identify the split."""
        lines = sorted(f"{name} {content}" for content, name in self.content().items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def find_videos(folder: Path, title: str, is_sorted: bool = True) -> VideoSet:
    """The videos of a folder, by the name of each file (without suffix) or folder of images.

    Raises:
        ValueError: there is no folder, no video in it, or two videos have one name.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r} does not exist. Give a folder of videos.")
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=_natural):
        is_folder = path.is_dir() and bool(list_frames(path).files)
        if not is_folder and (
            path.name.startswith(".") or not path.is_file() or not is_video(path)
        ):
            continue
        if (name := path.name if is_folder else path.stem) in paths:
            raise ValueError(
                f"{str(folder)!r} holds two videos named {name!r} ({paths[name].name} and "
                f"{path.name}). Keep one of them."
            )
        paths[name] = path
    if not paths:
        raise ValueError(
            f"{str(folder)!r} holds no video. Give .mp4, .webm or .gif files, or a folder of "
            "images for each video."
        )
    return VideoSet(title=title, paths=paths, is_sorted=is_sorted)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
