"""Anybody's data set as manifest rows: says which format a folder has, and reads it.

Called by `aid prepare` and `aid data inspect`. Formats are one file each in `readers/`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aid.data.files import inside
from aid.data.manifest import MANIFEST, read_manifest
from aid.data.probing import probe
from aid.data.readers.captions import has_captions, read_captions
from aid.types import VideoRow


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as its reader found it.

    `rows[i].video` is below `folder`. `notes` are sentences that a person should read: a split that
    leaks, videos without words.
    """

    folder: Path
    format: str
    rows: list[VideoRow]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a format is called, what it is known by, and who reads it."""

    name: str
    mark: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, list[str]], Iterator[VideoRow]]


def _read_manifest(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    yield from read_manifest(folder)


# The first that fits is taken; a folder of videos fits almost anything and comes last.
FORMATS = (
    Format(
        name="manifest",
        mark=MANIFEST,
        fits=lambda folder: (folder / MANIFEST).is_file(),
        read=_read_manifest,
    ),
    Format(
        name="captions",
        mark="videos, with captions in a list or beside them",
        fits=has_captions,
        read=read_captions,
    ),
)


def read_source(
    source: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    camera: str | None = None,
    limit: int | None = None,
) -> Source:
    """The rows of a data set, its format found out.

    Args:
        source: a folder, or "owner/name" of a data set on the Hugging Face hub.
        format: the name of the format; None finds it out.
        split: only this split; None takes all.
        camera: only this camera; None takes all.
        limit: only the first so many videos.

    Raises:
        ValueError: there is no such folder, no format fits, a file is malformed, or nothing is left
            of what was asked for.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise ValueError(f"{str(source)!r} is no folder. Give the folder of a data set.")
    chosen = _format_of(folder, format)
    notes: list[str] = []
    seen: dict[str, set[str]] = {"split": set(), "camera": set()}

    def wanted() -> Iterator[VideoRow]:
        for row in chosen.read(folder, notes):
            seen["split"].add(row.split)
            seen["camera"].add(row.camera)
            if split in (None, row.split) and camera in (None, row.camera):
                inside(folder, row.video)
                yield row

    rows = list(islice(wanted(), limit))
    if not rows:
        for name, value in (("split", split), ("camera", camera)):
            if value is not None and value not in seen[name]:
                there = ", ".join(sorted(map(repr, seen[name]))) or "none"
                raise ValueError(f"{str(source)!r} has no {name} {value!r}. It has: {there}.")
        raise ValueError(f"{str(source)!r} ({chosen.name}) holds no video.")
    return Source(folder=folder, format=chosen.name, rows=probe(folder, rows), notes=notes)


def _format_of(folder: Path, name: str | None) -> Format:
    if name is not None:
        found = next((one for one in FORMATS if one.name == name), None)
        if found is None:
            names = ", ".join(one.name for one in FORMATS)
            raise ValueError(f"format {name!r} is not known. Choose one of {names}.")
        return found
    found = next((one for one in FORMATS if one.fits(folder)), None)
    if found is None:
        looked = "; ".join(f"{one.name} ({one.mark})" for one in FORMATS)
        raise ValueError(f"{str(folder)!r} has no format that is known. Looked for: {looked}.")
    return found
