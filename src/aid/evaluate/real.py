"""The real videos of an evaluation: the frames of every row that a model has to predict.

They are read as `prepare` reads them and stored as lossless files, so that all scores compare
files, a killed run can continue, and other programs can score the same videos.
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
from aid.evaluate.ranks import ALONE, Ranks
from aid.evaluate.stored import StoredVideos, safe_name
from aid.types import VideoRow
from aid.video import Note, read_video, to_uint8

CHUNK = 16
"""Number of rows that are read at a time."""
OnVideo = Callable[[str, int, int], None]
Video = UInt8[np.ndarray, "f H W 3"]


@dataclass(frozen=True, kw_only=True)
class RealVideo:
    """The frames of a row as a file."""

    number: int
    """Index of the row among all rows."""
    row: VideoRow
    name: str
    path: Path
    fps: float
    """Frames per second of these frames."""
    first_frame: str
    """Digest of the first frame; equal for rows with the same first frame."""
    notes: tuple[Note, ...] = ()
    """What was done to the row's file beyond plain decoding."""

    def read(self) -> Video:
        """All frames of the video."""
        return read_video(self.path)


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """Which frames of each row are read, and at which size (pixels)."""

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
    """The frames of every row as files in `folder`, and the reason for each row without.

    Args:
        place: folder or URL that the rows' videos are in.
        rows: windows of a data set.
        folder: made if it does not exist; its valid files are not written again.
        settings: which frames are read.
        ranks: the processes that share the rows.
        on_video: called with (task, videos done, number of videos).

    Returns:
        The videos in the order of the rows; the reasons of the rows that cannot be read, by id.

    Raises:
        ValueError: no row can be read, or two rows have one id.
    """
    stored, store = StoredVideos(folder), Store(place)
    names = [safe_name(row.id) for row in rows]
    if len(set(names)) < len(names):
        twice = next(row.id for row, name in zip(rows, names, strict=True) if names.count(name) > 1)
        raise ValueError(f"two rows have the id {twice!r}. Give each video an id of its own.")
    numbers, is_local = list(range(len(rows))), store.folder is not None
    records: dict[int, dict[str, Any]] = {}

    def report() -> None:
        if on_video is not None:
            on_video("real videos", len(records), len(rows))

    def read(chosen: Sequence[int]) -> None:
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(chosen), CHUNK):
                chunk = chosen[start : start + CHUNK]
                with store.local([rows[number].video for number in chunk]) as paths:
                    todo = [(stored, names[n], paths[rows[n].video], rows[n]) for n in chunk]
                    made = pool.map(lambda one: _read_one(*one, settings, is_local), todo)
                    records.update(zip(chunk, made, strict=True))
                report()

    read(ranks.share(numbers))

    def count() -> int:
        number = 0
        for name, row in zip(names, rows, strict=True):
            known = _known(row, settings)
            if store.folder is not None:
                known["stamp"] = _stamp(store.folder / row.video)
            number += stored.has(name, **known)
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
                number=number, row=row, name=name, path=stored.path(name), fps=record["fps"],
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


def mean_of(
    place: Path | str, rows: Sequence[VideoRow], settings: FrameSettings
) -> tuple[Video | None, int]:
    """The mean of the readable videos of some rows, frame by frame, and their number."""
    total, number = None, 0
    with Store(place).local([row.video for row in rows]) as paths:
        for row in rows:
            try:
                read = read_frames(
                    paths[row.video], row, settings.frames, settings.num_frames,
                    settings.height, settings.width,
                )  # fmt: skip
            except ValueError:
                continue
            frames = floats(read.pixels).double()
            total, number = frames if total is None else total + frames, number + 1
    return (None if total is None else to_uint8((total / number).float())), number


def _read_one(
    stored: StoredVideos,
    name: str,
    path: Path,
    row: VideoRow,
    settings: FrameSettings,
    is_local: bool,
) -> dict[str, Any]:
    """The record of one row's video; the video is read if it is not stored yet.

    A fetched file is identified by its size alone, because its time is that of the download.
    """
    made_from = _known(row, settings) | {"stamp": _stamp(path)[: 2 if is_local else 1]}
    if record := stored.find(name, made_from):
        return record
    try:
        read = read_frames(
            path, row, settings.frames, settings.num_frames, settings.height, settings.width
        )
    except ValueError as error:
        return stored.write_failure(name, made_from, str(error))
    pixels = to_uint8(floats(read.pixels))
    digest = hashlib.sha256(pixels[0].tobytes()).hexdigest()[:32]
    return stored.write(
        name, pixels, float(read.fps), made_from, id=row.id, first_frame=digest,
        notes=[[note.text, note.number] for note in read.notes],
    )  # fmt: skip


def _known(row: VideoRow, settings: FrameSettings) -> dict[str, Any]:
    """What a row's video is made from besides its file."""
    span = {"video": row.video, "start": row.start, "stop": row.stop, "fps": row.fps}
    return settings.to_json() | span


def _stamp(path: Path) -> list[int]:
    """Size and modification time of a video's files; they change when it is written again."""
    if path.is_dir():
        files = [one.stat() for one in path.iterdir()]
    else:
        files = [path.stat()] if path.exists() else []
    return [sum(one.st_size for one in files), max((one.st_mtime_ns for one in files), default=0)]
