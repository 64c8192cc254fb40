"""A manifest: one JSON line per video, beside the videos it names.

Called by the verbs; the rows come from the table-top or from a reader of a published data set.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from aid.data.files import inside, read_json_lines
from aid.types import VideoRow
from aid.video import whole_file

MANIFEST = "manifest.jsonl"


def read_manifest(folder: Path) -> list[VideoRow]:
    """The rows of `folder/manifest.jsonl`, in order.

    Raises:
        ValueError: as `manifest_rows`.
    """
    return list(manifest_rows(folder))


def manifest_rows(folder: Path) -> Iterator[VideoRow]:
    """The rows of `folder/manifest.jsonl`, one line in memory at a time.

    Raises:
        ValueError: there is no manifest, a line is no JSON or no row, or a video lies outside the
            folder.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(
            f"{str(folder)!r} holds no {MANIFEST}. Make a data set first: aid tabletop --out data"
        )
    is_empty = True
    for number, values in read_json_lines(folder, MANIFEST):
        row = VideoRow.from_json(values)
        try:
            inside(folder, row.video)
        except ValueError as error:
            raise ValueError(f"{str(path)!r}, line {number}: {error}") from None
        is_empty = False
        yield row
    if is_empty:
        raise ValueError(f"{str(path)!r} is empty. Make the data set again.")


def write_manifest(folder: Path, rows: Iterable[VideoRow]) -> None:
    """Writes `folder/manifest.jsonl`, whole or not at all."""
    with whole_file(folder / MANIFEST) as temporary:
        temporary.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows), "utf-8")
