"""Anybody's data set as manifest rows: says which format a folder has, and reads it.

Called by `prepare`, `data.remote` and `data.inspection`.
"""

import functools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from aid.config import SourceConfig
from aid.config.data import TRAIN
from aid.data.claims import compare
from aid.data.files import inside
from aid.data.formats import Format, format_of
from aid.data.hold_out import divide
from aid.data.hub import HUB_ID, fetch
from aid.data.licence import licence_of
from aid.data.probing import probe
from aid.data.splits import is_same_split
from aid.data.tally import Tally
from aid.data.unpacking import default_folder
from aid.types import VideoRow

OTHER_LETTERS = (
    "instructions have letters that are not Latin; they are kept as they are, but the text tower "
    "learned from English and may not know these words"
)
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
    `tally` counts what was found to be otherwise in the videos that were opened.
    """

    place: str
    format: Format
    rows: Iterator[VideoRow]
    notes: list[str]
    tally: Tally = field(default_factory=Tally)

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
        if self.format.name != "manifest":
            rows = compare(folder, rows, self.tally)
        rows = probe(folder, rows)
        notes += self.tally.notes()
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
        named = f"{str(folder)!r} ({chosen.name})"
        rows, tally = chosen.read(folder, notes), Tally()
        if chosen.name != "manifest":  # whose videos are named one by one by whoever decodes them
            rows = _there(folder, rows, notes, named)
        cameras = set[str]()
        for row in wanted(rows, asked, notes, named):
            inside(folder, row.video)
            cameras.add(row.camera)
            if _has_other_letters(row.instruction):
                tally.add(OTHER_LETTERS, row.id)
            yield _without_distractors(row) if asked.strip_distractors else row
        notes.extend(tally.notes())
        if asked.camera is not None and len(cameras) > 1:
            names = ", ".join(sorted(cameras))
            notes.append(f"camera {asked.camera!r} is the end of several names: {names}.")

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


def wanted(
    rows: Iterator[VideoRow], asked: SourceConfig, notes: list[str], named: str
) -> Iterator[VideoRow]:
    """The first `limit` rows of a split and a camera, with a rate where only `asked` has one.

    Args:
        rows: of the whole data set.
        asked: which of them; where it holds episodes out, those splits take the place of the rows'
            own, and without a split "train" is read.
        notes: gets what `divide` says.
        named: the data set, as errors call it.

    Raises:
        ValueError: nothing is left.
    """
    split, camera = asked.split, asked.camera
    if asked.hold_out:
        rows = divide(rows, asked.hold_out, asked.hold_out_seed, notes)
        split = split or TRAIN
    splits, cameras, number = set[str](), set[str](), 0
    for row in rows:
        own = [row.split, *row.world.get("also_in", [])]
        splits.update(own)
        cameras.add(row.camera)
        if camera is not None and not _is_same_camera(camera, row.camera):
            continue
        if split is not None:
            if not any(is_same_split(split, name) for name in own):
                continue
            row = replace(row, split=split)
        _require_text(row)
        yield row if row.fps or asked.fps is None else replace(row, fps=asked.fps)
        number += 1
        if number == asked.limit:
            break
    if hasattr(rows, "close"):
        rows.close()  # what it has to say is said now, not when somebody collects it
    if number:
        return
    for noun, value, there, fits in (
        ("split", split, splits, is_same_split), ("camera", camera, cameras, _is_same_camera),
    ):  # fmt: skip
        if value is not None and there and not any(fits(value, name) for name in there):
            names = ", ".join(sorted(repr(name) for name in there if name)) or "none"
            raise ValueError(f"{named} has no video of {noun} {value!r}. It has: {names}.")
    both = f" of split {split!r} and camera {camera!r}" if splits else ""
    why = next((f" {note[:1].upper()}{note[1:]}" for note in notes if "left out" in note), "")
    raise ValueError(f"{named} holds no video{both}.{why}")


def _there(
    folder: Path, rows: Iterator[VideoRow], notes: list[str], named: str
) -> Iterator[VideoRow]:
    """The rows whose videos are there, or inside of archives; the others are counted."""
    tally, is_any = Tally(), False
    is_there = functools.lru_cache(maxsize=4096)(lambda video: (folder / video).exists())
    try:
        for row in rows:
            inside(folder, row.video)
            if "packed" in row.world or is_there(row.video):
                is_any = True
                yield row
            else:
                tally.add("videos that the lists name are not there and are left out", row.video)
    finally:
        if hasattr(rows, "close"):
            rows.close()
        notes += tally.notes()
    if not is_any and tally.notes():
        raise ValueError(
            f"{named} holds none of the videos that its lists name: {tally.notes()[0]}"
        )


def _has_other_letters(words: str) -> bool:
    """Whether a text has letters that are not Latin, or none at all."""
    if words.isascii():
        return False
    letters = [letter for letter in words if letter.isalpha()]
    return not all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters or "?")


def _require_text(row: VideoRow) -> None:
    said = [row.id, row.video, row.camera, row.split, row.instruction, *row.wordings]
    try:
        "".join([*said, *(state.text for state in row.states)]).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the words of {row.id!a} are no text ({error.reason}). Save them as UTF-8."
        ) from None


def _is_same_camera(asked: str, name: str) -> bool:
    return name == asked or name.endswith(f".{asked}")


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
