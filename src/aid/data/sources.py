"""Anybody's data set as manifest rows: says which format a folder has, and reads it.

Called by `prepare` and `data.remote`. Formats are one file each in `readers/`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from aid.data.files import inside
from aid.data.hub import HUB_ID, fetch
from aid.data.manifest import MANIFEST, read_manifest
from aid.data.probing import probe
from aid.data.readers import bridge, captions, epic, lerobot, rlds, something, tar, ucf101
from aid.data.unpacking import default_folder
from aid.types import VideoRow

SAME_SPLIT = ("val", "validation", "valid")


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
    """How a format is called, what it is known by, and who reads it.

    `unpack` writes videos that lie inside of other files below a folder; `packed` are those files,
    and a row names its own in `world["packed"]`.
    """

    name: str
    mark: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, list[str]], Iterator[VideoRow]]
    unpack: Callable[[Path, list[VideoRow], Path], None] | None = None
    packed: Callable[[Path], list[Path]] = lambda folder: []


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
        name="lerobot",
        mark=lerobot.INFO,
        fits=lerobot.is_lerobot,
        read=lerobot.read_lerobot,
        unpack=lerobot.unpack_lerobot,
        packed=lambda folder: sorted(folder.glob("data/*/*.parquet")),
    ),
    Format(
        name="rlds",
        mark="features.json and *.tfrecord-*",
        fits=rlds.is_rlds,
        read=rlds.read_rlds,
        unpack=rlds.unpack_rlds,
        packed=rlds.shards,
    ),
    Format(
        name="ucf101",
        mark="trainlist01.txt",
        fits=ucf101.is_ucf101,
        read=ucf101.read_ucf101,
    ),
    Format(
        name="something",
        mark="labels/train.json and 20bn-something-something-v2",
        fits=something.is_something,
        read=something.read_something,
    ),
    Format(
        name="epic",
        mark="EPIC_100_train.csv",
        fits=epic.is_epic,
        read=epic.read_epic,
    ),
    Format(
        name="bridge-seer",
        mark=f"{bridge.LIST} or rawframes/TASK/0",
        fits=bridge.is_seer_bridge,
        read=bridge.read_seer_bridge,
    ),
    Format(
        name="bridge-raw",
        mark="raw/traj_group*/traj*",
        fits=bridge.is_raw_bridge,
        read=bridge.read_raw_bridge,
    ),
    Format(
        name="webdataset",
        mark="*.tar",
        fits=tar.is_tar,
        read=tar.read_tar,
        unpack=tar.unpack_tar,
        packed=tar.shards,
    ),
    Format(
        name="captions",
        mark="videos, with captions in a list or beside them",
        fits=captions.has_captions,
        read=captions.read_captions,
    ),
)


def read_source(
    source: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    camera: str | None = None,
    limit: int | None = None,
    fps: float | None = None,
    strip_distractors: bool = False,
    unpack_to: Path | None = None,
) -> Source:
    """The rows of a data set, its format found out.

    Args:
        source: a folder, or "owner/name" of a data set on the Hugging Face hub.
        format: the name of the format; None finds it out.
        split: only this split, as the source calls it; None takes all.
        camera: only this camera, by its name or the last part of it; None takes all.
        limit: only the first so many videos.
        fps: frames a second where the source does not say.
        strip_distractors: drop the word "distractors" from BridgeData's instructions, as Seer does.
        unpack_to: where videos that lie inside of archives or tables are written; None takes a
            folder in the user's cache.

    Raises:
        ValueError: there is no such folder, no format fits, a file is malformed, or nothing is left
            of what was asked for.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if fps is not None and not 0 < fps < float("inf"):
        raise ValueError(f"fps must be above 0, got {fps}.")
    folder = _folder_of(source)
    chosen = _format_of(folder, format)
    notes: list[str] = []
    rows = _wanted(source, folder, chosen, notes, split, camera, limit)
    if strip_distractors:
        rows = [_without_distractors(row) for row in rows]
    if fps is not None:
        rows = [row if row.fps else replace(row, fps=fps) for row in rows]
    if chosen.unpack and any("packed" in row.world for row in rows):
        out = unpack_to or default_folder(folder, chosen.packed(folder))
        _unpack(chosen, folder, rows, out)
        folder = out
        notes.append(f"unpacked into {str(out)!r}; delete it when you no longer need it.")
    return Source(folder=folder, format=chosen.name, rows=probe(folder, rows), notes=notes)


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


def _wanted(
    source: str | Path,
    folder: Path,
    chosen: Format,
    notes: list[str],
    split: str | None,
    camera: str | None,
    limit: int | None,
) -> list[VideoRow]:
    """The first `limit` rows of a split and a camera; every id once, every path inside."""
    splits, cameras = set[str](), set[str]()
    ids = set[str]()

    def walk() -> Iterator[VideoRow]:
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
            if row.id in ids:
                raise ValueError(f"{str(source)!r}: two videos have the id {row.id!r}.")
            ids.add(row.id)
            _require_text(row)
            inside(folder, row.video)
            yield row

    rows = list(islice(walk(), limit))
    if not rows:
        for noun, value, there in (("split", split, splits), ("camera", camera, cameras)):
            if value is not None and there:
                names = ", ".join(sorted(repr(name) for name in there if name)) or "none"
                raise ValueError(
                    f"{str(source)!r} has no video of {noun} {value!r}. It has: {names}."
                )
        raise ValueError(f"{str(source)!r} ({chosen.name}) holds no video.")
    return rows


def _require_text(row: VideoRow) -> None:
    try:
        "".join([row.id, row.instruction, *row.wordings]).encode()
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
