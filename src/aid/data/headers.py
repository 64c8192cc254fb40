"""What the headers of videos say, without decoding: number of frames, rate, size.

Called by `data.sources`: `fill_in` where the lists of a data set say nothing, `correct` where they
contradict the files; the files are trusted. A file that cannot be opened changes nothing here; an
error names it when it is decoded.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from aid.data.files import inside
from aid.types import VideoRow
from aid.video import frame_files
from aid.video.decoding import Header
from aid.video.notes import IssueCounter
from aid.video.reading import picture_size, read_header

NUM_THREADS = 8
SAME_RATE = 1e-2
"""Relative difference below which two rates count as equal: 29.97 and 30."""


def fill_in(folder: Path, rows: list[VideoRow]) -> list[VideoRow]:
    """The rows, with zeros replaced by what the headers of their files say.

    Each file is opened once, however many rows are parts of it.

    Raises:
        ValueError: a folder of frames has a link that leads out of the data set.
    """
    lacking = [r for r in rows if not (r.num_frames and r.fps and r.height and r.width)]
    headers = _headers(folder, lacking)
    return [_filled(row, headers[row.video]) if row.video in headers else row for row in rows]


def correct(folder: Path, rows: list[VideoRow], issues: IssueCounter) -> list[VideoRow]:
    """The rows with the rates, sizes and numbers of frames of their files.

    Numbers of frames are compared only for rows that span their whole file.

    Raises:
        ValueError: as `fill_in`.
    """
    claiming = [row for row in rows if row.num_frames or row.fps or row.height or row.width]
    headers = _headers(folder, claiming)
    return [_corrected(r, headers[r.video], issues) if r.video in headers else r for r in rows]


def _headers(folder: Path, rows: list[VideoRow]) -> dict[str, Header]:
    """The headers of the rows' videos; zeros for what a file does not say."""
    videos = list(dict.fromkeys(row.video for row in rows))
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        return dict(zip(videos, pool.map(lambda v: _header(folder, v), videos), strict=True))


def _header(folder: Path, video: str) -> Header:
    path = folder / video
    if not path.is_dir():
        try:
            return read_header(path)
        except ValueError:
            return Header(0, 0.0, 0, 0)
    files = frame_files(path)
    with os.scandir(path) as entries:
        for link in (entry.name for entry in entries if entry.is_symlink()):
            inside(folder, f"{video}/{link}")
    height, width = picture_size(files[0]) if files else (0, 0)
    return Header(len(files), 0.0, height, width)


def _filled(row: VideoRow, header: Header) -> VideoRow:
    fps, num_frames = row.fps or header.fps, header.num_frames
    if fps and (row.start or row.stop is not None):
        end = num_frames / fps
        stop = end if row.stop is None else min(row.stop, end)
        num_frames = round(max(0.0, stop - row.start) * fps)
    return replace(
        row,
        num_frames=row.num_frames or num_frames,
        fps=fps,
        height=row.height or header.height,
        width=row.width or header.width,
    )


def _corrected(row: VideoRow, header: Header, issues: IssueCounter) -> VideoRow:
    if not header.num_frames:
        return row
    changed = {}
    if row.fps and header.fps and abs(header.fps / row.fps - 1) > SAME_RATE:
        reason = "videos have another frame rate than the lists say; the files' is used"
        issues.add(reason, f"{row.id}: {header.fps:g}, not {row.fps:g}")
        changed["fps"] = header.fps
    size, listed = (header.height, header.width), (row.height, row.width)
    if all(size) and all(listed) and size != listed:
        reason = "videos have another size than the lists say; the files' is used"
        issues.add(reason, f"{row.id}: {size[1]} x {size[0]}, not {listed[1]} x {listed[0]}")
        changed |= {"height": size[0], "width": size[1]}
    is_whole = not row.start and row.stop is None
    if is_whole and row.num_frames and row.num_frames != header.num_frames:
        reason = "videos have another number of frames than the lists say; the files' is used"
        issues.add(reason, f"{row.id}: {header.num_frames}, not {row.num_frames}")
        changed["num_frames"] = header.num_frames
    return replace(row, **changed) if changed else row
