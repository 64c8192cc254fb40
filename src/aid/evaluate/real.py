"""The real videos of an evaluation: of every row the frames that a model is asked to predict.

They are read as `prepare` reads them and kept as lossless files, so that every score compares
files, a killed run goes on, and other programs can score the same videos.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.config import FrameConfig, to_json
from aid.data.frames import floats, read_frames
from aid.data.store import Store
from aid.evaluate.kept import KeptVideos, safe_name
from aid.evaluate.ranks import ALONE, Ranks
from aid.types import VideoRow
from aid.video import Note, read_video, to_uint8

CHUNK = 16
"""Rows that are read at a time."""
OnVideo = Callable[[str, int, int], None]
Video = UInt8[np.ndarray, "f H W 3"]


@dataclass(frozen=True, kw_only=True)
class RealVideo:
    """A row's frames as a file.

    `number` is the row's place among all rows, `fps` the rate of these frames (frames per second),
    `first_frame` a digest of the first one: rows with an equal one are siblings. `notes` say what
    was done to the row's file beyond plain decoding.
    """

    number: int
    row: VideoRow
    name: str
    path: Path
    fps: float
    first_frame: str
    notes: tuple[Note, ...] = ()

    def read(self) -> Video:
        """All frames."""
        return read_video(self.path)


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """Which frames of each row are read, and in which size (pixels)."""

    frames: FrameConfig
    num_frames: int
    height: int
    width: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        size = [self.height, self.width]
        return {"frames": to_json(self.frames), "num_frames": self.num_frames, "size": size}


def read_real_videos(
    place: Path | str,
    rows: Sequence[VideoRow],
    folder: Path,
    settings: FrameSettings,
    *,
    ranks: Ranks = ALONE,
    on_video: OnVideo | None = None,
) -> tuple[list[RealVideo], dict[str, str]]:
    """The frames of every row as files in `folder`, and why some rows have none.

    Args:
        place: folder or URL that the rows' videos are in.
        rows: windows of a data set.
        folder: made if it does not exist; files that are there already are kept.
        settings: which frames.
        ranks: the processes share the rows.
        on_video: told (what is done, videos done, all of them).

    Returns:
        The videos in the order of the rows; of rows that cannot be read the reasons by their ids.

    Raises:
        ValueError: no row can be read, or two rows have one id.
    """
    kept, store = KeptVideos(folder), Store(place)
    names = [safe_name(row.id) for row in rows]
    if len(set(names)) < len(names):
        twice = next(row.id for row, name in zip(rows, names, strict=True) if names.count(name) > 1)
        raise ValueError(f"two rows have the id {twice!r}. Give each video an id of its own.")
    numbers, is_here = list(range(len(rows))), store.folder is not None
    records: dict[int, dict[str, Any]] = {}

    def tell() -> None:
        if on_video is not None:
            on_video("real videos", len(records), len(rows))

    def read(chosen: Sequence[int]) -> None:
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(chosen), CHUNK):
                chunk = chosen[start : start + CHUNK]
                with store.local([rows[number].video for number in chunk]) as paths:
                    todo = [(kept, names[n], paths[rows[n].video], rows[n]) for n in chunk]
                    made = pool.map(lambda one: _read_one(*one, settings, is_here), todo)
                    records.update(zip(chunk, made, strict=True))
                tell()

    read(ranks.share(numbers))

    def count() -> int:
        number = 0
        for name, row in zip(names, rows, strict=True):
            known = _known(row, settings)
            if store.folder is not None:
                known["stamp"] = _stamp(store.folder / row.video)
            number += kept.has(name, **known)
        return number

    ranks.wait(count, len(rows))
    read([number for number in numbers if number not in records])
    real, unreadable = [], {}
    for number in numbers:
        row, name, record = rows[number], names[number], records[number]
        if record["sha256"] is None:
            unreadable[row.id] = record["reason"]
            continue
        real.append(
            RealVideo(
                number=number, row=row, name=name, path=kept.path(name), fps=record["fps"],
                first_frame=record["first_frame"],
                notes=tuple(Note(*one) for one in record.get("notes", [])),
            )
        )  # fmt: skip
    if not real:
        name, reason = next(iter(unreadable.items()))
        raise ValueError(
            f"none of the {len(rows)} videos can be read, the first, {name!r}: {reason}"
        )
    return real, unreadable


def _read_one(
    kept: KeptVideos, name: str, path: Path, row: VideoRow, settings: FrameSettings, is_here: bool
) -> dict[str, Any]:
    """The record of one row's video; the video is read if it is not there.

    A file that was fetched from elsewhere is known by its size alone: its time is now.
    """
    made_from = _known(row, settings) | {"stamp": _stamp(path)[: 2 if is_here else 1]}
    if record := kept.find(name, made_from):
        return record
    try:
        read = read_frames(
            path, row, settings.frames, settings.num_frames, settings.height, settings.width
        )
    except ValueError as error:
        return kept.write_failure(name, made_from, str(error))
    pixels = to_uint8(floats(read.pixels))
    digest = hashlib.sha256(pixels[0].tobytes()).hexdigest()[:32]
    return kept.write(
        name, pixels, float(read.fps), made_from, id=row.id, first_frame=digest,
        notes=[[note.text, note.number] for note in read.notes],
    )  # fmt: skip


def _known(row: VideoRow, settings: FrameSettings) -> dict[str, Any]:
    """What a row's video is made from besides its file."""
    span = {"video": row.video, "start": row.start, "stop": row.stop, "fps": row.fps}
    return settings.to_json() | span


def _stamp(path: Path) -> list[int]:
    """Size and time of a video's files: they change when it is written again."""
    if path.is_dir():
        files = [one.stat() for one in path.iterdir()]
    else:
        files = [path.stat()] if path.exists() else []
    return [sum(one.st_size for one in files), max((one.st_mtime_ns for one in files), default=0)]
