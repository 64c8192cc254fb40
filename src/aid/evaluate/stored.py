"""Videos that are stored as files, each with a record of what it was made from.

A killed evaluation continues where it stopped: a video counts as stored when its record is written.
The record holds the SHA-256 of the file, so a damaged video is found before it is scored.
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
    """A row's id as the name of a file; different ids give different names.

    Lower-case letters, digits and ". _ - @" stay. Digits of a hash are added to ids with other
    characters, to long ids, and to ids with capitals, because some file systems ignore case.
    """
    if re.fullmatch(r"[a-z0-9_-][a-z0-9._@-]*", row_id) and len(row_id) <= LONGEST_NAME:
        return row_id
    plain = re.sub(r"[^A-Za-z0-9._@-]+", "_", row_id).strip("._")[:LONGEST_NAME]
    digits = hashlib.sha256(row_id.encode()).hexdigest()[:8]
    return f"{plain}-{digits}" if plain else digits


@dataclass(frozen=True, kw_only=True)
class VideoRequest:
    """A video that is needed: the name of its file, what it is made from, its rate and its row."""

    name: str
    made_from: dict[str, Any]
    fps: float
    row_id: str


class StoredVideos:
    """Lossless videos in one folder. Nothing is read or written until a method needs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The file of a video."""
        return self.folder / f"{name}.mp4"

    def has(self, name: str, **known: Any) -> bool:
        """Whether there is a record whose `made_from` has these values; the video is not read."""
        try:
            record = json.loads(self._record_path(name).read_text(encoding="utf-8"))
            return json.loads(json.dumps(known)).items() <= record["made_from"].items()
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False

    def find(self, name: str, made_from: dict[str, Any]) -> dict[str, Any] | None:
        """The record of an undamaged video that was made from these values; None if there is none.

        A warning names a damaged file.
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
        if digest is None:  # the video could not be made, and the record contains the reason
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
        """Writes a video and then its record, each atomically; returns the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_mp4(self.path(name), pixels, fps, lossless=True)
        digest = sha256_of(self.path(name))
        return self._write_record(name, made_from, sha256=digest, fps=fps, **facts)

    def write_failure(self, name: str, made_from: dict[str, Any], reason: str) -> dict[str, Any]:
        """Records why a video could not be made; returns the record."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._write_record(name, made_from, sha256=None, reason=reason)

    def get(
        self,
        requests: Sequence[VideoRequest],
        make: Callable[[list[int]], list[UInt8[np.ndarray, "_ _ _ 3"]]],
    ) -> list[UInt8[np.ndarray, "_ _ _ 3"]]:
        """All requested videos; those that are missing or damaged are made in one call.

        Args:
            requests: the videos.
            make: makes the videos with these indices in `requests`.
        """
        missing = [n for n, one in enumerate(requests) if not self.find(one.name, one.made_from)]
        if missing:
            for n, video in zip(missing, make(missing), strict=True):
                one = requests[n]
                self.write(one.name, video, one.fps, one.made_from, id=one.row_id)
        return [read_video(self.path(one.name)) for one in requests]

    def _record_path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write_record(self, name: str, made_from: dict[str, Any], **facts: Any) -> dict[str, Any]:
        record = {"made_from": made_from, **facts}
        text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
        with whole_file(self._record_path(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return json.loads(text)
