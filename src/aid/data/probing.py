"""What a video's header says of it, without decoding: number of frames, rate, size.

Called by `data.sources` for rows whose source does not say. A file that cannot be opened keeps its
zeros; whoever decodes it will name it.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from aid.data.files import inside
from aid.types import VideoRow
from aid.video import frame_files
from aid.video.reading import picture_size, read_header

NUM_THREADS = 8
UNKNOWN = (0, 0.0, 0, 0)

Facts = tuple[int, float, int, int]
"""Number of frames, frames a second, height, width; 0 where the file does not say."""


def probe(folder: Path, rows: list[VideoRow]) -> list[VideoRow]:
    """The rows with what their files' headers say filled in where the row says 0.

    Each file is opened once, however many rows are parts of it.

    Raises:
        ValueError: a folder of frames has a link that leads out of the data set.
    """
    videos = list(dict.fromkeys(row.video for row in rows if _lacks(row)))
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        facts = dict(zip(videos, pool.map(lambda v: _facts(folder, v), videos), strict=True))
    return [_filled(row, facts[row.video]) if row.video in facts else row for row in rows]


def _lacks(row: VideoRow) -> bool:
    return not (row.num_frames and row.fps and row.height and row.width)


def _filled(row: VideoRow, facts: Facts) -> VideoRow:
    num_frames, fps, height, width = facts
    fps = row.fps or fps
    if fps and (row.start or row.stop is not None):
        end = num_frames / fps
        stop = end if row.stop is None else min(row.stop, end)
        num_frames = round(max(0.0, stop - row.start) * fps)
    return replace(
        row,
        num_frames=row.num_frames or num_frames,
        fps=fps,
        height=row.height or height,
        width=row.width or width,
    )


def _facts(folder: Path, video: str) -> Facts:
    path = folder / video
    if not path.is_dir():
        return _file_facts(path)
    files = frame_files(path)
    with os.scandir(path) as entries:
        for link in (entry.name for entry in entries if entry.is_symlink()):
            inside(folder, f"{video}/{link}")
    height, width = picture_size(files[0]) if files else (0, 0)
    return len(files), 0.0, height, width


def _file_facts(path: Path) -> Facts:
    try:
        facts = read_header(path)
    except ValueError:
        return UNKNOWN
    return facts.num_frames, facts.fps, facts.height, facts.width
