"""Statistics of a data set's rows, in a temporary SQLite database on disk.

Called by `data.inspection`. SQLite uses a few megabytes of memory for any number of rows. The file
has no name and disappears with the process.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.types import VideoRow
from aid.video import Note, frame_files

MAX_NAMED = 1000
"""Videos that are listed by name, at most; all are counted."""
MAX_GROUPS = 20
"""Frame rates and sizes that are listed, at most, most frequent first."""
AT_ONCE = 200
"""Rows in memory at once."""

TABLES = """
CREATE TABLE rows (place INTEGER PRIMARY KEY, id TEXT, video TEXT, start REAL, stop REAL,
  split TEXT, camera TEXT, instruction TEXT, num_frames INTEGER, fps REAL, height INTEGER,
  width INTEGER, scene TEXT, is_packed INTEGER, draw INTEGER, line TEXT);
CREATE TABLE sentences (words TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE looks (place INTEGER PRIMARY KEY, reason TEXT, is_still INTEGER, warm REAL,
  cold REAL);
CREATE TABLE files (video TEXT PRIMARY KEY, size TEXT, digest TEXT);
CREATE INDEX by_video ON rows (video);
"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a decoded video looks like.

    Attributes:
        digest: of the file's bytes; "" if they were not read.
        reason: why it cannot be read; "" if it can.
        is_still: whether nothing moves.
        warm: share of its area, 0 to 1, with red above green above blue.
        cold: share of its area with blue above green above red.
    """

    digest: str
    reason: str = ""
    is_still: bool = False
    warm: float = 0.0
    cold: float = 0.0
    frames: UInt8[np.ndarray, "f H W 3"] | None = None
    notes: tuple[Note, ...] = ()


class Statistics:
    """Rows, sentences, what decoded videos look like, and digests of files."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # a temporary file
        self._db.executescript(TABLES)

    def close(self) -> None:
        """Deletes everything."""
        self._db.close()

    def _all(self, query: str, *values: Any) -> list[tuple]:
        return self._db.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> tuple:
        return self._db.execute(query, values).fetchone()

    def _streamed(self, query: str, *values: Any) -> Iterator[list[tuple]]:
        """Rows of a query, some at a time."""
        found = self._db.execute(query, values)
        while some := found.fetchmany(AT_ONCE):
            yield some

    def add_row(self, row: VideoRow) -> None:
        """Adds a row and its sentences."""
        draw = int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:7])
        scene = row.world.get("scene")
        facts = (
            row.id, row.video, row.start, row.stop, row.split, row.camera, row.instruction,
            *_numbers(row), None if scene is None else json.dumps(scene), "packed" in row.world,
            draw, json.dumps(row.to_json()),
        )  # fmt: skip
        self._db.execute(f"INSERT INTO rows VALUES (NULL{', ?' * len(facts)})", facts)
        texts = {row.instruction, *row.wordings, *(state.text for state in row.states)} - {""}
        self._db.executemany(
            "INSERT OR IGNORE INTO sentences VALUES (?)", [(text,) for text in texts]
        )

    def add_look(self, place: int, row: VideoRow, look: Look) -> None:
        """Adds what the video of a row looks like, and what its header says."""
        facts = (place, look.reason, look.is_still, look.warm, look.cold)
        self._db.execute("INSERT INTO looks VALUES (?, ?, ?, ?, ?)", facts)
        self._db.execute(
            "UPDATE rows SET num_frames = ?, fps = ?, height = ?, width = ? WHERE place = ?",
            (*_numbers(row), place),
        )
        self._db.execute(
            "INSERT INTO files VALUES (?, NULL, ?) "
            "ON CONFLICT (video) DO UPDATE SET digest = excluded.digest",
            (row.video, None if look.reason else look.digest or None),
        )

    def chosen(
        self, number: int | None, *, is_by_draw: bool = False
    ) -> Iterator[list[tuple[int, VideoRow]]]:
        """Places and rows of a sample, drawn by digests of their ids.

        Args:
            number: size of the sample; None takes all rows.
            is_by_draw: the order, in which one may stop anywhere: first the first row, then as
                drawn. Otherwise the order is that of the source.
        """
        self._db.execute("CREATE TABLE chosen (place INTEGER PRIMARY KEY)")
        self._db.execute(
            "INSERT INTO chosen SELECT place FROM rows ORDER BY draw, place LIMIT ?",
            (-1 if number is None else number,),
        )
        first = "place = (SELECT MIN(place) FROM chosen)"
        order = f"{first} DESC, draw, place" if is_by_draw else "place"
        query = f"SELECT place, line FROM rows JOIN chosen USING (place) ORDER BY {order}"
        for some in self._streamed(query):
            yield [(place, VideoRow.from_json(json.loads(line))) for place, line in some]

    def num_rows(self) -> int:
        """Number of rows."""
        return self._one("SELECT COUNT(*) FROM rows")[0]

    def num_sentences(self) -> int:
        """Number of distinct instructions, wordings and states."""
        return self._one("SELECT COUNT(*) FROM sentences")[0]

    def has_packed(self) -> bool:
        """Whether videos lie inside archives or tables."""
        return bool(self._one("SELECT COALESCE(MAX(is_packed), 0) FROM rows")[0])

    def repeated_ids(self) -> list[str]:
        """Ids that more than one row has."""
        query = "SELECT id FROM rows GROUP BY id HAVING COUNT(*) > 1 ORDER BY id LIMIT ?"
        return [name for (name,) in self._all(query, MAX_NAMED)]

    def numbers_of(self, column: str) -> dict[str, int]:
        """Number of rows with each value of "split" or "camera"."""
        query = f"SELECT {column}, COUNT(*) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        return dict(self._all(query, MAX_NAMED))

    def spread(self, value: str) -> dict[str, int | float]:
        """Number of rows whose value is above 0, and its minimum, median and maximum."""
        known = f"(SELECT {value} AS x FROM rows WHERE {value} > 0)"
        number, least, most = self._one(f"SELECT COUNT(x), MIN(x), MAX(x) FROM {known}")
        if not number:
            return {"known": 0}
        middle = f"SELECT x FROM {known} ORDER BY x LIMIT 1 OFFSET ?"
        (median,) = self._one(middle, (number - 1) // 2)
        return {"known": number, "least": least, "median": median, "most": most}

    def groups(self, value: str) -> list[tuple[Any, int]]:
        """Values above 0 and number of rows with each, most frequent first."""
        query = f"SELECT {value}, COUNT(*) FROM rows WHERE {value} > 0 GROUP BY 1 "
        return self._all(query + "ORDER BY 2 DESC, 1 LIMIT ?", MAX_GROUPS)

    def lengths(self) -> Iterator[tuple[int, float, int]]:
        """Frames, frames a second (0: unknown) and number of rows with both."""
        for some in self._streamed("SELECT num_frames, fps, COUNT(*) FROM rows GROUP BY 1, 2"):
            yield from some

    def sizes(self) -> list[tuple[int, int, int]]:
        """Width, height and number of rows, most frequent first."""
        query = "SELECT width, height, COUNT(*) FROM rows WHERE width > 0 AND height > 0 "
        return self._all(query + "GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT ?", MAX_GROUPS)

    def num_instructions(self) -> tuple[int, int]:
        """Distinct instructions, and rows without one."""
        blank = "TRIM(instruction, ' \t\r\n') = ''"
        query = f"SELECT COUNT(DISTINCT CASE WHEN {blank} THEN NULL ELSE instruction END), "
        return self._one(query + f"COALESCE(SUM({blank}), 0) FROM rows")

    def instructions(self) -> Iterator[list[str]]:
        """Distinct instructions, some at a time."""
        for some in self._streamed("SELECT DISTINCT instruction FROM rows WHERE instruction <> ''"):
            yield [words for (words,) in some]

    def sentences(self) -> Iterator[list[str]]:
        """Distinct instructions, wordings and states, some at a time."""
        for some in self._streamed("SELECT words FROM sentences"):
            yield [words for (words,) in some]

    def num_scenes(self) -> int | None:
        """Number of distinct scenes; None unless every row names its scene."""
        query = "SELECT COUNT(DISTINCT scene), COUNT(scene), COUNT(*) FROM rows"
        scenes, named, rows = self._one(query)
        return scenes if named == rows else None

    def corrupt(self) -> tuple[int, list[dict[str, str]]]:
        """Number of decoded videos that cannot be read; ids, videos and reasons of the first."""
        of = "FROM looks JOIN rows USING (place) WHERE reason <> ''"
        named = self._all(f"SELECT id, video, reason {of} ORDER BY place LIMIT ?", MAX_NAMED)
        listed = [dict(zip(("id", "video", "reason"), row, strict=True)) for row in named]
        return self._one(f"SELECT COUNT(*) {of}")[0], listed

    def still(self) -> tuple[int, list[str]]:
        """Number of decoded videos without motion, and the ids of the first."""
        of = "FROM looks JOIN rows USING (place) WHERE is_still"
        named = self._all(f"SELECT id {of} ORDER BY place LIMIT ?", MAX_NAMED)
        return self._one(f"SELECT COUNT(*) {of}")[0], [name for (name,) in named]

    def colours(self) -> dict[str, tuple[float, float]]:
        """Mean shares of warm and cold area in the decoded videos of each camera."""
        query = "SELECT camera, AVG(warm), AVG(cold) FROM looks JOIN rows USING (place) "
        found = self._all(query + "WHERE reason = '' GROUP BY 1 ORDER BY 1 LIMIT ?", MAX_NAMED)
        return {camera: (warm, cold) for camera, warm, cold in found}

    def measure(self, folder: Path) -> int:
        """Adds the sizes of plain files.

        Returns:
            Number of files with equals in size in another split, which may be duplicates.
        """
        query = "SELECT DISTINCT video FROM rows WHERE NOT is_packed"
        for some in self._streamed(query):
            sizes = [(video, size) for (video,) in some if (size := _size(folder / video))]
            self._db.executemany(
                "INSERT INTO files VALUES (?, ?, NULL) "
                "ON CONFLICT (video) DO UPDATE SET size = excluded.size",
                sizes,
            )
        self._db.execute(
            "CREATE TABLE possible_duplicates AS "
            "SELECT DISTINCT video FROM files JOIN rows USING (video) "
            "WHERE digest IS NULL AND size IN (SELECT size FROM files JOIN rows USING (video) "
            "GROUP BY size HAVING COUNT(DISTINCT split) > 1)"
        )
        return self._one("SELECT COUNT(*) FROM possible_duplicates")[0]

    def possible_duplicates(self) -> Iterator[list[str]]:
        """Possible duplicates, whose bytes must be compared, some at a time."""
        for some in self._streamed("SELECT video FROM possible_duplicates"):
            yield [video for (video,) in some]

    def add_digests(self, digests: Iterable[tuple[str, str]]) -> None:
        """Adds digests of videos."""
        swapped = [(digest, video) for video, digest in digests]
        self._db.executemany("UPDATE files SET digest = ? WHERE video = ?", swapped)

    def across_splits(self) -> tuple[int, list[dict[str, Any]]]:
        """Number of videos in several splits, by name or by bytes, and the first of them."""
        groups = (
            "FROM (SELECT MIN(id) AS one, MAX(id) AS other, COUNT(*) AS number, "
            "GROUP_CONCAT(DISTINCT split) AS splits FROM rows LEFT JOIN files USING (video) "
            "GROUP BY COALESCE(digest, video), start, stop HAVING COUNT(DISTINCT split) > 1)"
        )
        query = f"SELECT one, other, number, splits {groups} ORDER BY one LIMIT ?"
        keys = ("first", "last", "number", "splits")
        named = [dict(zip(keys, row, strict=True)) for row in self._all(query, MAX_NAMED)]
        return self._one(f"SELECT COUNT(*) {groups}")[0], named


def _numbers(row: VideoRow) -> tuple[int, float, int, int]:
    """Frames, rate and size, limited to the largest integer of SQLite."""
    most = (1 << 63) - 1
    return (
        min(row.num_frames, most),
        float(row.fps),
        min(row.height, most),
        min(row.width, most),
    )


def _size(path: Path) -> str | None:
    """Bytes of a file; of a folder, the number of images and the bytes of the first."""
    try:
        if path.is_dir():
            files = frame_files(path)
            return f"{len(files)} of {files[0].stat().st_size}" if files else None
        return str(path.stat().st_size or "") or None
    except OSError:
        return None
