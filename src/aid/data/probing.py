"""What a video's header says of it, without decoding: number of frames, rate, size.

Called by `data.sources` for rows whose source does not say. A file that cannot be opened keeps its
zeros; whoever decodes it will name it.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
from PIL import Image

from aid.data.files import inside
from aid.types import VideoRow
from aid.video import frame_files

NUM_THREADS = 8


def probe(folder: Path, rows: list[VideoRow]) -> list[VideoRow]:
    """The rows with what their files' headers say filled in where the row says 0.

    Raises:
        ValueError: a folder of frames has a link that leads out of the data set.
    """
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return list(pool.map(lambda row: _probed(folder, row), rows, chunksize=64))


def _probed(folder: Path, row: VideoRow) -> VideoRow:
    path = folder / row.video
    if row.num_frames and row.fps and row.height and row.width and not path.is_dir():
        return row
    facts = _frames_facts(folder, row.video) if path.is_dir() else _file_facts(path)
    num_frames, fps, height, width = facts
    fps = row.fps or fps
    if fps and (row.start or row.stop is not None):
        stop = row.stop if row.stop is not None else num_frames / fps
        num_frames = round(max(0.0, stop - row.start) * fps)
    return replace(
        row,
        num_frames=row.num_frames or num_frames,
        fps=fps,
        height=row.height or height,
        width=row.width or width,
    )


def _frames_facts(root: Path, name: str) -> tuple[int, float, int, int]:
    files = frame_files(root / name)
    with os.scandir(root / name) as entries:
        for link in (entry.name for entry in entries if entry.is_symlink()):
            inside(root, f"{name}/{link}")
    if not files:
        return 0, 0.0, 0, 0
    try:
        with Image.open(files[0]) as image:
            return len(files), 0.0, image.height, image.width
    except (OSError, Image.DecompressionBombError):
        return len(files), 0.0, 0, 0


def _file_facts(path: Path) -> tuple[int, float, int, int]:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return 0, 0.0, 0, 0
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            seconds = 0.0
            if stream.duration and stream.time_base:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration:
                seconds = container.duration / av.time_base
            return stream.frames or round(seconds * fps), fps, stream.height, stream.width
    except (av.FFmpegError, OSError, ValueError):
        return 0, 0.0, 0, 0
