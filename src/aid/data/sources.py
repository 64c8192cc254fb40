"""Any data set as manifest rows: finds out its format and reads it.

A data set is a folder, the name of one on the Hugging Face hub, or the URL of a folder with a
manifest. Behind a URL only the manifest is read; videos stay there until a process encodes them.
"""

import functools
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aid.config import SourceConfig
from aid.config.data import HELD_OUT, TRAIN
from aid.data.files import inside
from aid.data.formats import FORMATS, Format, format_of
from aid.data.headers import correct, fill_in
from aid.data.hold_out import divide
from aid.data.licence import licence_of
from aid.data.manifest import MANIFEST, manifest_rows
from aid.data.readers.file_tree import is_same_split
from aid.data.store import Store, is_url
from aid.types import VideoRow
from aid.video.notes import IssueCounter

EVERYTHING = SourceConfig()
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ONLY_MANIFEST = (
    "{!r} is a URL, and only a manifest is read through URLs: format, strip_distractors and "
    "unpack_to are for folders. Copy the data set to this machine, or leave these settings out."
)
OTHER_LETTERS = (
    "instructions have letters that are not Latin; they are kept as they are, but the text encoder "
    "was trained on English and may not know these words"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that was read.

    Attributes:
        place: the folder or the URL below which `rows[i].video` lies.
        format: the name of its format.
        notes: sentences for the user: a split that leaks, videos without an instruction.
        licence: what the data set says of its licence; None if it says nothing.
    """

    place: str
    format: str
    rows: list[VideoRow]
    notes: list[str]
    licence: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of a data set on this machine."""
        return Path(self.place)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The lists of a data set: nothing is unpacked and no video is opened yet.

    Attributes:
        place: the folder or its URL.
        rows: can be iterated once; `notes` are complete after that.
        issues: differences between the lists and the videos that were opened.
    """

    place: str
    format: Format
    rows: Iterator[VideoRow]
    notes: list[str]
    issues: IssueCounter = field(default_factory=IssueCounter)

    def opened(self, rows: list[VideoRow], unpack_to: Path | None = None) -> Source:
        """Some of the rows with their videos unpacked, if necessary, and their headers read.

        Args:
            rows: of this listing, in a folder of this machine.
            unpack_to: as for `read_source`.

        Raises:
            ValueError: an archive is damaged, or its videos cannot be written.
        """
        folder, notes = Path(self.place), list(self.notes)
        licence = licence_of(folder, rows)
        if _is_packed(rows):
            out = unpack_to or _default_folder(folder, self.format.packed(folder))
            _unpack(self.format, folder, rows, out)
            notes.append(f"unpacked into {str(out)!r}; delete it when you no longer need it.")
            folder = out
        if self.format.name != "manifest":
            rows = correct(folder, rows, self.issues)
        rows = fill_in(folder, rows)
        notes += self.issues.notes()
        return Source(
            place=str(folder), format=self.format.name, rows=rows, notes=notes, licence=licence
        )

    @contextmanager
    def local_videos(
        self, rows: list[VideoRow]
    ) -> Iterator[tuple[dict[str, Path], list[VideoRow]]]:
        """Paths on this machine of some rows' videos, and those rows with what the headers say.

        Files that were unpacked or fetched for it are deleted when the block ends.

        Raises:
            ValueError: an archive is damaged, or a path leads out of the data set.
        """
        with tempfile.TemporaryDirectory(prefix="aid-") as made:
            store = Store(self.place)
            if store.folder is not None:
                source = self.opened(rows, Path(made) if _is_packed(rows) else None)
                store, rows = Store(source.place), source.rows
            with store.local([row.video for row in rows]) as paths:
                yield paths, rows


def list_source(place: str | Path, selection: SourceConfig = EVERYTHING) -> Listing:
    """The lists of a data set, its format found out. Rows are read while they are iterated.

    Args:
        place: a folder, "owner/name" of a data set on the Hugging Face hub, or a URL that fsspec
            knows of a folder with a manifest.
        selection: which of its videos; `format` and `strip_distractors` are for folders and the
            hub.

    Raises:
        ValueError: there is no such folder, no format fits, or a URL is asked for more than a
            manifest; while iterating: a file is malformed, or no video is left.
    """
    if is_url(place):
        return _list_url(str(place), selection)
    folder = _folder_of(place)
    chosen = format_of(folder, selection.format)
    notes: list[str] = []

    def read() -> Iterator[VideoRow]:
        name = f"{str(folder)!r} ({chosen.name})"
        rows, issues = chosen.read(folder, notes), IssueCounter()
        if chosen.name != "manifest":  # a missing video of a manifest is an error when decoded
            rows = _existing(folder, rows, notes, name)
        cameras = set[str]()
        for row in _selected(rows, selection, notes, name):
            inside(folder, row.video)
            cameras.add(row.camera)
            if _has_other_letters(row.instruction):
                issues.add(OTHER_LETTERS, row.id)
            yield _without_distractors(row) if selection.strip_distractors else row
        notes.extend(issues.notes())
        if selection.camera is not None and len(cameras) > 1:
            names = ", ".join(sorted(cameras))
            notes.append(f"camera {selection.camera!r} is the end of several names: {names}.")

    return Listing(place=str(folder), format=chosen, rows=read(), notes=notes)


def read_source(
    place: str | Path, selection: SourceConfig = EVERYTHING, *, unpack_to: Path | None = None
) -> Source:
    """The rows of a data set, its format found out. The headers of videos in folders are read.

    Args:
        place: as for `list_source`.
        selection: which of its videos.
        unpack_to: where videos inside archives or tables are written; None takes a folder in the
            user's cache. For folders and the hub.

    Raises:
        ValueError: as `list_source`, or two videos have the same id.
    """
    listing = list_source(place, selection)
    if is_url(place):
        if unpack_to is not None:
            raise ValueError(ONLY_MANIFEST.format(str(place)))
        rows = list(listing.rows)
        return Source(
            place=listing.place, format=listing.format.name, rows=rows, notes=listing.notes
        )
    rows, ids = [], set[str]()
    for row in listing.rows:
        if row.id in ids:
            raise ValueError(f"{str(place)!r}: two videos have the id {row.id!r}.")
        ids.add(row.id)
        rows.append(row)
    return listing.opened(rows, unpack_to)


def with_instructions(rows: list[VideoRow], notes: list[str]) -> list[VideoRow]:
    """The rows that have an instruction; a note counts the others if some have one."""
    having = [row for row in rows if row.instruction.strip()]
    if 0 < len(having) < len(rows):
        first = next(row.id for row in rows if not row.instruction.strip())
        notes.append(
            f"{len(rows) - len(having)} of {len(rows)} videos have no instruction and are left "
            f"out, the first is {first!r}."
        )
    return having


def _list_url(url: str, selection: SourceConfig) -> Listing:
    if selection.format not in (None, "manifest") or selection.strip_distractors:
        raise ValueError(ONLY_MANIFEST.format(url))
    store, notes = Store(url), list[str]()

    def read() -> Iterator[VideoRow]:
        with store.local([MANIFEST]) as paths:
            if not paths[MANIFEST].is_file():
                raise ValueError(
                    f"{url!r} has no {MANIFEST}. Only manifests are read through URLs; copy a "
                    "data set of another format to this machine."
                )
            yield from _selected(manifest_rows(paths[MANIFEST].parent), selection, notes, repr(url))

    return Listing(place=url, format=FORMATS[0], rows=read(), notes=notes)


def _folder_of(source: str | Path) -> Path:
    folder = Path(source)
    try:
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(source)[:80]!r} is not a path ({error}).") from None
    if is_folder:
        return folder
    if not exists and HUB_NAME.fullmatch(str(source)):
        return _from_hub(str(source))
    raise ValueError(
        f"{str(source)!r} is not a folder. Give the folder of a data set, or owner/name of one on "
        "the Hugging Face hub."
    )


def _from_hub(name: str) -> Path:
    """The folder of the hub's data set "owner/name", downloaded if it is not in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except RepositoryNotFoundError:
        raise ValueError(
            f"{name!r} is neither a folder nor a data set on the Hugging Face hub that you may "
            "read."
        ) from None
    except HFValidationError:
        raise ValueError(f"{name!r} is neither a folder nor a name on the hub.") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        answers = isinstance(error, HfHubHTTPError)
        raise ValueError(
            f"{name!r} is not a folder, and the Hugging Face hub "
            f"{'answers with an error' if answers else 'cannot be reached'}. Give a folder, or try "
            "again with a connection."
        ) from None


def _selected(
    rows: Iterator[VideoRow], selection: SourceConfig, notes: list[str], source: str
) -> Iterator[VideoRow]:
    """The first `limit` rows of a split and a camera; `selection.fps` fills in unknown rates.

    Args:
        rows: of the whole data set.
        selection: which of them; with `hold_out` its splits replace those of the rows, and "train"
            is read unless another is selected.
        notes: receives what `divide` notes.
        source: the data set's name, for errors.

    Raises:
        ValueError: no row is left.
    """
    split, camera = selection.split, selection.camera
    if selection.hold_out:
        rows = divide(rows, selection.hold_out, selection.hold_out_seed, notes)
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
        yield row if row.fps or selection.fps is None else replace(row, fps=selection.fps)
        number += 1
        if number == selection.limit:
            break
    if hasattr(rows, "close"):
        rows.close()  # so that its notes are complete now
    if number:
        return
    for noun, value, existing, fits in (
        ("split", split, splits, is_same_split),
        ("camera", camera, cameras, _is_same_camera),
    ):
        if value is not None and existing and not any(fits(value, name) for name in existing):
            names = ", ".join(sorted(repr(name) for name in existing if name))
            remedy = f"It has: {names}." if names else f"It names none. Leave --{noun} out."
            if value == HELD_OUT:
                remedy += " To hold episodes out of a data set, give --hold_out 0.15 as well."
            raise ValueError(f"{source} has no video of {noun} {value!r}. {remedy}")
    both = f" of split {split!r} and camera {camera!r}" if splits else ""
    why = next((f" {note[:1].upper()}{note[1:]}" for note in notes if "left out" in note), "")
    raise ValueError(f"{source} holds no video{both}.{why}")


def _existing(
    folder: Path, rows: Iterator[VideoRow], notes: list[str], name: str
) -> Iterator[VideoRow]:
    """The rows whose videos exist, or lie inside archives; the others are counted."""
    issues, is_any = IssueCounter(), False
    exists = functools.lru_cache(maxsize=4096)(lambda video: (folder / video).exists())
    try:
        for row in rows:
            inside(folder, row.video)
            if "packed" in row.world or exists(row.video):
                is_any = True
                yield row
            else:
                issues.add("videos that the lists name do not exist and are left out", row.video)
    finally:
        if hasattr(rows, "close"):
            rows.close()
        notes += issues.notes()
    if not is_any and issues.notes():
        raise ValueError(
            f"{name} holds none of the videos that its lists name: {issues.notes()[0]}"
        )


def _has_other_letters(words: str) -> bool:
    """Whether a text has letters that are not Latin, or no letters at all."""
    if words.isascii():
        return False
    letters = [letter for letter in words if letter.isalpha()]
    return not all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters or "?")


def _require_text(row: VideoRow) -> None:
    texts = [row.id, row.video, row.camera, row.split, row.instruction, *row.wordings]
    try:
        "".join([*texts, *(state.text for state in row.states)]).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the texts of video {row.id!a} are not valid Unicode ({error.reason}). Save them as "
            "UTF-8."
        ) from None


def _is_same_camera(wanted: str, name: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")


def _without_distractors(row: VideoRow) -> VideoRow:
    def clean(words: str) -> str:
        return words.replace(" distractors", "")

    return replace(
        row, instruction=clean(row.instruction), wordings=[clean(w) for w in row.wordings]
    )


def _is_packed(rows: list[VideoRow]) -> bool:
    """Whether videos lie inside archives or tables."""
    return any("packed" in row.world for row in rows)


def _default_folder(folder: Path, files: list[Path]) -> Path:
    """Where the videos of these files are unpacked by default: a folder in the user's cache.

    Another path, size or modification time of a file gives another folder.
    """
    facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files)]
    key = hashlib.sha256(repr((str(folder.resolve()), facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "aid-video" / "unpacked" / f"{folder.resolve().name}-{key}"


def _unpack(chosen: Format, folder: Path, rows: list[VideoRow], out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for row in rows:
            inside(out, row.video)
        chosen.unpack(folder, rows, out)
    except OSError as error:
        raise ValueError(
            f"cannot unpack videos to {str(out)!r} ({error.strerror}). Make room, or choose "
            "another folder."
        ) from None
