"""The known formats: the name of each, how it is recognized, which functions read it.

Called by `data.sources`. Each format is a module in `readers/`.
"""

import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aid.data.files import read_json_lines
from aid.data.manifest import MANIFEST, manifest_rows
from aid.data.readers import (
    annotation,
    bridge,
    captions,
    epic,
    lerobot,
    rlds,
    something,
    tar,
    ucf101,
)
from aid.data.readers.file_tree import FileTree
from aid.types import VideoRow
from aid.video import VIDEO_SUFFIXES


@dataclass(frozen=True)
class Format:
    """A format of data sets.

    Attributes:
        name: as users give it.
        mark: the files by which it is recognized, in words.
        fits: whether a folder has this format.
        read: yields the rows of a folder and appends to a list of notes.
        unpack: writes videos that lie inside other files below a folder.
        packed: those files; a row names its own in `world["packed"]`.
    """

    name: str
    mark: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, list[str]], Iterator[VideoRow]]
    unpack: Callable[[Path, list[VideoRow], Path], None] | None = None
    packed: Callable[[Path], list[Path]] = lambda folder: []


def _is_manifest(folder: Path) -> bool:
    """Whether there is a manifest of this project; other lists of that name are captions."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        _, first = next(read_json_lines(folder, MANIFEST), (0, {}))
    except ValueError:
        return True  # the error is raised when it is read
    return not first or "id" in first or not first.keys() & {"caption", "text", "prompt"}


def _read_manifest(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    yield from manifest_rows(folder)


SEER = f"{bridge.LIST} or rawframes/TASK/0"
SOMETHING = "labels/train.json and 20bn-something-something-v2"
RLDS = "features.json and *.tfrecord-*"
VIDEOS = "videos, with captions in a list or beside them"
# fmt: off
# The first that fits is used; `captions` fits every folder with a video and comes last.
FORMATS = (
    Format("manifest", MANIFEST, _is_manifest, _read_manifest),
    Format("lerobot", lerobot.INFO, lerobot.is_lerobot, lerobot.read_lerobot,
           lerobot.unpack_lerobot, lerobot.tables),
    Format("rlds", RLDS, rlds.is_rlds, rlds.read_rlds, rlds.unpack_rlds, rlds.shards),
    Format("ucf101", "trainlist01.txt", ucf101.is_ucf101, ucf101.read_ucf101),
    Format("something", SOMETHING, something.is_something, something.read_something),
    Format("epic", "EPIC_100_train.csv", epic.is_epic, epic.read_epic),
    Format("annotation", "annotation/*/*.json with videos", annotation.is_annotation,
           annotation.read_annotation),
    Format("bridge-seer", SEER, bridge.is_seer_bridge, bridge.read_seer_bridge),
    Format("bridge-raw", "raw/traj_group*/traj*", bridge.is_raw_bridge, bridge.read_raw_bridge),
    Format("webdataset", "*.tar", tar.is_tar, tar.read_tar, tar.unpack_tar, tar.shards),
    Format("captions", VIDEOS, captions.has_captions, captions.read_captions),
)
# fmt: on
DEEP = ("webdataset", "captions")
"""Formats that also fit a folder above their files, so a folder above them is a data set itself."""
MOST_FOLDERS = 50
"""Folders in a folder that are looked at, to see whether they are data sets."""


def refuse_several(folder: Path) -> None:
    """Refuses a folder that is no data set but holds some, such as `aid tabletop make` writes.

    Raises:
        ValueError: with the names of the data sets.
    """
    found = _data_sets_in(folder)
    if not found or any(one.fits(folder) for one in FORMATS if one.name != "captions"):
        return
    names = [f"{path.name!r}" for path in found]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    remedy = f"Give {'one of them, such as ' * (len(names) > 1)}{str(found[0])!r}"
    if names[1:] and all(map(_is_manifest, found)):
        join = ["aid", "data", "join", str(folder), *(path.name for path in found)]
        remedy += f", or make one data set of them: {shlex.join(join)}"
    raise ValueError(
        f"{str(folder)!r} is no data set itself. It holds the data "
        f"set{'s' * (len(names) > 1)} {listed}. {remedy}"
    )


def _data_sets_in(folder: Path) -> list[Path]:
    """The folders in a folder that are data sets; none if videos lie beside them."""
    found = []
    with suppress(OSError):
        inner = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if any(path.suffix.lower() in VIDEO_SUFFIXES for path in inner):
            return []
        for path in islice((path for path in inner if path.is_dir()), MOST_FOLDERS):
            with suppress(OSError):
                if any(one.fits(path) for one in FORMATS if one.name not in DEEP):
                    found.append(path)
    return found


def format_of(folder: Path, name: str | None) -> Format:
    """The format of that name; if it is None, the first that fits the folder.

    Raises:
        ValueError: there is none, or the folder holds data sets instead of being one.
    """
    if name is not None:
        found = next((one for one in FORMATS if one.name == name), None)
        if found is None:
            names = ", ".join(one.name for one in FORMATS)
            raise ValueError(f"format {name!r} is unknown. Choose one of {names}.")
        return found
    found = next((one for one in FORMATS if one.fits(folder)), None)
    if found is None or found.name == "captions":
        refuse_several(folder)
    if found is None:
        looked = "; ".join(f"{one.name} ({one.mark})" for one in FORMATS)
        raise ValueError(
            f"{str(folder)!r} has no known format. Looked for: {looked}.{_unread(folder)}"
        )
    return found


def _unread(folder: Path) -> str:
    """A sentence about links and files of types that are not read."""
    tree = FileTree.walk(folder)
    if tree.links:
        return (
            f" {tree.links[0]!r} is a link to a folder, and links are not followed. Copy or mount "
            "the folder itself there."
        )
    unread = captions.OTHER_VIDEOS | {".parquet", ".arrow", ".tgz"}
    kinds = {Path(file).suffix.lower() for file in tree.files} & unread
    return f" Files of type {', '.join(sorted(kinds))} are not read as videos." if kinds else ""
