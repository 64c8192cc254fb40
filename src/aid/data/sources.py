"""Anybody's data set as manifest rows: says which format a folder has, and reads it.

Called by `prepare`, `data.remote` and `data.inspection`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from aid.config import SourceConfig
from aid.data.files import inside
from aid.data.formats import Format, format_of
from aid.data.hub import HUB_ID, fetch
from aid.data.licence import licence_of
from aid.data.probing import probe
from aid.data.unpacking import default_folder
from aid.types import VideoRow

SAME_SPLIT = ("val", "validation", "valid")
EVERYTHING = SourceConfig()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as its reader found it.

    `rows[i].video` is below `folder`. `notes` are sentences that a person should read: a split that
    leaks, videos without words. `licence` is what the data set says of it, None if nothing.
    """

    folder: Path
    format: str
    rows: list[VideoRow]
    notes: list[str]
    licence: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A data set as its lists tell of it: nothing is unpacked and no video is opened yet.

    `place` is the folder or its URL. `rows` can be walked once; `notes` are whole after that.
    """

    place: str
    format: Format
    rows: Iterator[VideoRow]
    notes: list[str]

    def opened(self, rows: list[VideoRow], unpack_to: Path | None = None) -> Source:
        """Some of the rows as their videos are: unpacked if they must be, headers read.

        Args:
            rows: of this listing.
            unpack_to: as for `read_source`.

        Raises:
            ValueError: an archive is damaged, or its videos cannot be written.
        """
        folder, notes = Path(self.place), list(self.notes)
        licence = licence_of(folder, rows)
        if is_packed(rows):
            out = unpack_to or default_folder(folder, self.format.packed(folder))
            _unpack(self.format, folder, rows, out)
            notes.append(f"unpacked into {str(out)!r}; delete it when you no longer need it.")
            folder = out
        rows = probe(folder, rows)
        return Source(
            folder=folder, format=self.format.name, rows=rows, notes=notes, licence=licence
        )


def is_packed(rows: list[VideoRow]) -> bool:
    """Whether videos lie inside of archives or tables."""
    return any("packed" in row.world for row in rows)


def list_source(source: str | Path, asked: SourceConfig = EVERYTHING) -> Listing:
    """What the lists of a data set say, its format found out. Rows are read as they are walked.

    Args:
        source: a folder, or "owner/name" of a data set on the Hugging Face hub.
        asked: which of its videos.

    Raises:
        ValueError: there is no such folder, no format fits; while walking: a file is malformed, or
            nothing is left of what was asked for.
    """
    folder = _folder_of(source)
    chosen = format_of(folder, asked.format)
    notes: list[str] = []

    def walk() -> Iterator[VideoRow]:
        for row in _wanted(folder, chosen, notes, asked):
            row = _without_distractors(row) if asked.strip_distractors else row
            yield row if row.fps or asked.fps is None else replace(row, fps=asked.fps)

    return Listing(place=str(folder), format=chosen, rows=walk(), notes=notes)


def read_source(
    source: str | Path, asked: SourceConfig = EVERYTHING, *, unpack_to: Path | None = None
) -> Source:
    """The rows of a data set, its format found out, headers of the videos read.

    Args:
        source: a folder, or "owner/name" of a data set on the Hugging Face hub.
        asked: which of its videos.
        unpack_to: where videos that lie inside of archives or tables are written; None takes a
            folder in the user's cache.

    Raises:
        ValueError: as `list_source`, or two videos have one id.
    """
    listing = list_source(source, asked)
    rows, ids = [], set[str]()
    for row in listing.rows:
        if row.id in ids:
            raise ValueError(f"{str(source)!r}: two videos have the id {row.id!r}.")
        ids.add(row.id)
        rows.append(row)
    return listing.opened(rows, unpack_to)


def _folder_of(source: str | Path) -> Path:
    folder = Path(source)
    try:
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(source)[:80]!r} is no path ({error}).") from None
    if is_folder:
        return folder
    if not exists and HUB_ID.fullmatch(str(source)):
        return fetch(str(source))
    raise ValueError(
        f"{str(source)!r} is no folder. Give the folder of a data set, or owner/name of one on the "
        "Hugging Face hub."
    )


def _wanted(
    folder: Path, chosen: Format, notes: list[str], asked: SourceConfig
) -> Iterator[VideoRow]:
    """The first `limit` rows of a split and a camera, every path inside."""
    split, camera = asked.split, asked.camera
    splits, cameras, number = set[str](), set[str](), 0
    for row in chosen.read(folder, notes):
        own = [row.split, *row.world.get("also_in", [])]
        splits.update(own)
        cameras.add(row.camera)
        if split is not None:
            if not any(_is_same_split(split, name) for name in own):
                continue
            row = replace(row, split=split)
        if camera is not None and camera not in (row.camera, row.camera.rpartition(".")[2]):
            continue
        _require_text(row)
        inside(folder, row.video)
        yield row
        number += 1
        if number == asked.limit:
            return
    if number:
        return
    for noun, value, there in (("split", split, splits), ("camera", camera, cameras)):
        if value is not None and there:
            names = ", ".join(sorted(repr(name) for name in there if name)) or "none"
            raise ValueError(f"{str(folder)!r} has no video of {noun} {value!r}. It has: {names}.")
    raise ValueError(f"{str(folder)!r} ({chosen.name}) holds no video.")


def _require_text(row: VideoRow) -> None:
    said = [row.id, row.video, row.camera, row.split, row.instruction, *row.wordings]
    try:
        "".join([*said, *(state.text for state in row.states)]).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the words of {row.id!a} are no text ({error.reason}). Save them as UTF-8."
        ) from None


def _is_same_split(asked: str, name: str) -> bool:
    return asked == name or (asked in SAME_SPLIT and name in SAME_SPLIT)


def _without_distractors(row: VideoRow) -> VideoRow:
    def clean(words: str) -> str:
        return words.replace(" distractors", "")

    return replace(
        row, instruction=clean(row.instruction), wordings=[clean(w) for w in row.wordings]
    )


def _unpack(chosen: Format, folder: Path, rows: list[VideoRow], out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for row in rows:
            inside(out, row.video)
        chosen.unpack(folder, rows, out)
    except OSError as error:
        raise ValueError(
            f"cannot unpack videos to {str(out)!r} ({error.strerror}). Make room, or choose "
            "another place."
        ) from None
