"""What lists claim of videos, compared with what the files' headers say. Files win.

Called by `data.sources` on rows whose videos are at hand. A header that says nothing (a damaged
file) contradicts nothing; whoever decodes the file will name it.
"""

from dataclasses import replace
from pathlib import Path

from aid.data.probing import probe
from aid.data.tally import Tally
from aid.types import VideoRow

SAME_RATE = 1e-2
"""Relative difference below which two rates are one: 29.97 and 30."""


def compare(folder: Path, rows: list[VideoRow], tally: Tally) -> list[VideoRow]:
    """The rows with the rates, sizes and numbers of frames that their files have.

    Numbers of frames are compared of rows that span their whole file.

    Raises:
        ValueError: as `probe`.
    """
    blank = {"num_frames": 0, "fps": 0.0, "height": 0, "width": 0, "start": 0.0, "stop": None}
    claiming = [row for row in rows if row.num_frames or row.fps or row.height or row.width]
    headers = {row.video: row for row in probe(folder, [replace(row, **blank) for row in claiming])}
    return [_corrected(r, headers[r.video], tally) if r.video in headers else r for r in rows]


def _corrected(row: VideoRow, header: VideoRow, tally: Tally) -> VideoRow:
    if not header.num_frames:
        return row
    changed = {}
    if row.fps and header.fps and abs(header.fps / row.fps - 1) > SAME_RATE:
        reason = "videos play at another rate than the lists say; the files' is used"
        tally.add(reason, f"{row.id}: {header.fps:g}, not {row.fps:g}")
        changed["fps"] = header.fps
    size, told = (header.height, header.width), (row.height, row.width)
    if all(size) and all(told) and size != told:
        reason = "videos have another size than the lists say; the files' is used"
        tally.add(reason, f"{row.id}: {size[1]} x {size[0]}, not {told[1]} x {told[0]}")
        changed |= {"height": size[0], "width": size[1]}
    is_whole = not row.start and row.stop is None
    if is_whole and row.num_frames and row.num_frames != header.num_frames:
        reason = "videos have another number of frames than the lists say; the files' is used"
        tally.add(reason, f"{row.id}: {header.num_frames}, not {row.num_frames}")
        changed["num_frames"] = header.num_frames
    return replace(row, **changed) if changed else row
