"""Videos that are kept as files, each beside a record of what it was made from.

A killed evaluation goes on where it stopped: a video counts as there once its record is written,
and a record names the SHA-256 of the file, so damage is found before a damaged video is scored.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.files import sha256_of
from aid.video import read_video, whole_file, write_mp4

LONGEST_NAME = 120


def safe_name(row_id: str) -> str:
    """A row's id as the name of a file; equal names only for equal ids.

    Small letters, digits and ". _ - @" stay. An id with anything else gets digits of its hash, and
    so does a long one, and one with capitals, which some disks do not tell from small letters.
    """
    if re.fullmatch(r"[a-z0-9_-][a-z0-9._@-]*", row_id) and len(row_id) <= LONGEST_NAME:
        return row_id
    plain = re.sub(r"[^A-Za-z0-9._@-]+", "_", row_id).strip("._")[:LONGEST_NAME]
    digits = hashlib.sha256(row_id.encode()).hexdigest()[:8]
    return f"{plain}-{digits}" if plain else digits


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A video that is to be there: its file's name, what it is made from, its rate and its row."""

    name: str
    made_from: dict[str, Any]
    fps: float
    row_id: str


class KeptVideos:
    """Lossless videos below one folder. Nothing is read or written before it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where a video is, once made."""
        return self.folder / f"{name}.mp4"

    def has(self, name: str, **known: Any) -> bool:
        """Whether a record is there that was made from what is known; the video is not read."""
        try:
            record = json.loads(self._record_path(name).read_text(encoding="utf-8"))
            return json.loads(json.dumps(known)).items() <= record["made_from"].items()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False

    def find(self, name: str, made_from: dict[str, Any]) -> dict[str, Any] | None:
        """The record of a video that is whole and was made from the same; None if there is none.

        A damaged file is named in a warning.
        """
        if not self._record_path(name).is_file():
            return None
        try:
            record = json.loads(self._record_path(name).read_text(encoding="utf-8"))
            known, digest = record["made_from"], record["sha256"]
        except (ValueError, TypeError, KeyError):
            warnings.warn(
                f"{str(self._record_path(name))!r} is damaged; its video is made again.",
                stacklevel=2,
            )
            return None
        if known != json.loads(json.dumps(made_from)):
            return None
        if digest is None:  # nothing could be made, and the record says why
            return record
        path = self.path(name)
        if not path.is_file() or sha256_of(path) != digest:
            warnings.warn(
                f"{str(path)!r} is missing or damaged: its SHA-256 is not the one that was "
                "recorded when it was written. It is made again.",
                stacklevel=2,
            )
            return None
        return record

    def write(
        self,
        name: str,
        pixels: UInt8[np.ndarray, "f H W 3"],
        fps: float,
        made_from: dict[str, Any],
        **facts: Any,
    ) -> dict[str, Any]:
        """Writes a video and then its record, each whole or not at all; returns the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_mp4(self.path(name), pixels, fps, lossless=True)
        digest = sha256_of(self.path(name))
        return self._write_record(name, made_from, sha256=digest, fps=fps, **facts)

    def write_failure(self, name: str, made_from: dict[str, Any], reason: str) -> dict[str, Any]:
        """Records why a video could not be made; returns the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._write_record(name, made_from, sha256=None, reason=reason)

    def ensure(
        self,
        wanted: Sequence[Wanted],
        make: Callable[[list[int]], list[UInt8[np.ndarray, "_ _ _ 3"]]],
    ) -> list[UInt8[np.ndarray, "_ _ _ 3"]]:
        """All these videos; those that are not there yet, or damaged, are made in one call.

        Args:
            wanted: the videos.
            make: makes those with these places in `wanted`.
        """
        missing = [n for n, one in enumerate(wanted) if self.find(one.name, one.made_from) is None]
        if missing:
            for n, video in zip(missing, make(missing), strict=True):
                one = wanted[n]
                self.write(one.name, video, one.fps, one.made_from, id=one.row_id)
        return [read_video(self.path(one.name)) for one in wanted]

    def _record_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write_record(self, name: str, made_from: dict[str, Any], **facts: Any) -> dict[str, Any]:
        record = {"made_from": made_from, **facts}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        with whole_file(self._record_path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return json.loads(text)
