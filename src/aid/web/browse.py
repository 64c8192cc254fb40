"""A data set's videos and a run's reports, to look at.

A visitor sends a number or a name from a list that was made here; no path is ever built of it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.data.manifest import read_manifest
from aid.types import VideoRow
from aid.web.limits import shown
from aid.web.uploads import Uploads

MOST_FRAMES, LONGEST_SIDE = 256, 320
PATIENCE = 6.0
"""Times an upload's limit of seconds: a video is decoded as a whole."""
MOST_MATCHES = 200
DOCUMENTS = (".html", ".md", ".png")
DEEPEST = 4
MOST_DOCUMENTS = 500
MOST_BYTES = 20_000_000


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A folder with a manifest.

    Args:
        folder: of the data set.
        rows: of its manifest.
        uploads: decodes within the same limits as for visitors.
    """

    folder: Path
    rows: list[VideoRow]
    uploads: Uploads

    @classmethod
    def open(cls, folder: Path, uploads: Uploads) -> "DataSet":
        """The data set; errors as for `read_manifest`."""
        return cls(folder=folder, rows=read_manifest(folder), uploads=uploads)

    def matches(self, words: str) -> list[tuple[str, int]]:
        """(title, number) of the rows whose id or instruction holds all the words."""
        wanted = words.lower().split()
        found = []
        for number, row in enumerate(self.rows):
            title = f"{row.id}: {row.instruction or 'no words'}"
            if all(word in title.lower() for word in wanted):
                found.append((title, number))
                if len(found) == MOST_MATCHES:
                    break
        return found

    def row(self, number: Any) -> tuple[VideoRow, UInt8[np.ndarray, "f H W 3"]]:
        """A row and its frames, at most the first 256, at most 320 pixels a side.

        Raises:
            ValueError: there is no such row, or its video is missing or cannot be decoded.
        """
        is_number = isinstance(number, int) and not isinstance(number, bool)
        if not is_number or not 0 <= number < len(self.rows):
            raise ValueError(f"there is no video number {shown(number)}.")
        row = self.rows[number]
        path = self.folder / row.video
        if not path.is_file():
            raise ValueError(f"the video {row.video!r} of {row.id!r} is missing.")
        return row, self.uploads.read(path, MOST_FRAMES, LONGEST_SIDE, patience=PATIENCE)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """A folder of runs: reports, score cards and sheets, wherever they lie in it."""

    folder: Path

    def documents(self) -> dict[str, Path]:
        """What there is to open by name, the latest first. Hidden files and links are left out."""
        found: list[Path] = []
        for name_of_place, folders, files in os.walk(self.folder):
            place = Path(name_of_place)
            depth = len(place.relative_to(self.folder).parts)
            folders[:] = [
                name
                for name in sorted(folders)
                if depth < DEEPEST and not name.startswith(".") and not (place / name).is_symlink()
            ]
            found += [
                place / name
                for name in files
                if Path(name).suffix in DOCUMENTS
                and not name.startswith(".")
                and not (place / name).is_symlink()
            ]
        found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        return {str(p.relative_to(self.folder)): p for p in found[:MOST_DOCUMENTS]}

    def read(self, name: Any) -> tuple[str, bytes]:
        """A document's suffix and bytes.

        Raises:
            ValueError: the list has no such document, or it is above 20 MB.
        """
        path = self.documents().get(name) if isinstance(name, str) else None
        if path is None:
            raise ValueError("there is no such document here. Choose one from the list.")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{name!r} is above {MOST_BYTES / 1e6:.0f} MB. Open it by itself.")
        return path.suffix, path.read_bytes()
