"""A manifest: one JSON line per video, beside the videos it names.

The rows come from a simulator or from the reader of a published data set. `join` makes one data set
of several.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from aid.data.files import inside, read_json_lines
from aid.data.licence import licence_of, licence_of_row
from aid.types import VideoRow
from aid.video import whole_file

MANIFEST = "manifest.jsonl"


def read_manifest(folder: Path) -> list[VideoRow]:
    """The rows of `folder/manifest.jsonl`, in order.

    Raises:
        ValueError: as `manifest_rows`.
    """
    return list(manifest_rows(folder))


def manifest_rows(folder: Path) -> Iterator[VideoRow]:
    """The rows of `folder/manifest.jsonl`, one line in memory at a time.

    Raises:
        ValueError: there is no manifest, a line is not JSON or not a row, or a video lies outside
            the folder.
    """
    path = folder / MANIFEST
    if not path.is_file():
        remedy = "docs/data.md says how to make one."
        if not folder.is_dir():
            remedy = "There is no such folder; correct the path."
        raise ValueError(f"{str(folder)!r} has no {MANIFEST}. {remedy}")
    is_empty = True
    for number, values in read_json_lines(folder, MANIFEST):
        row = VideoRow.from_json(values)
        try:
            inside(folder, row.video)
        except ValueError as error:
            raise ValueError(f"{str(path)!r}, line {number}: {error}") from None
        is_empty = False
        yield row
    if is_empty:
        raise ValueError(f"{str(path)!r} is empty. Make the data set again.")


def write_manifest(folder: Path, rows: Iterable[VideoRow]) -> None:
    """Writes `folder/manifest.jsonl`, completely or not at all."""
    with whole_file(folder / MANIFEST) as temporary:
        temporary.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows), "utf-8")


def join(folder: Path, names: Sequence[str]) -> int:
    """Writes a manifest with the videos of several data sets in `folder`; returns their number.

    No video is copied. A row without a licence gets that of its data set (`world["license"]`).

    Args:
        folder: contains the data sets.
        names: of folders in it, each with a manifest.jsonl; at least two.

    Raises:
        ValueError: there are not two data sets, one has no manifest or lies outside `folder`, two
            have a video of one id or a scene of one name, only some videos have a licence or
            states, or `folder` has another manifest.
    """
    paths = [inside(folder, name) for name in names]
    if len(set(paths)) < max(len(paths), 2) or folder.resolve() in paths:
        raise ValueError(
            f"{', '.join(names)!r} are not two or more different folders in {str(folder)!r}. "
            "Try: aid data join data/tabletop train twins"
        )
    rows: list[VideoRow] = []
    owners: dict[str, str] = {}
    # Of each licence, and of rows with and without states, the first data set that has it.
    licences: dict[str, str] = {}
    states: dict[bool, str] = {}
    for path in paths:
        name = path.relative_to(folder.resolve()).as_posix()
        own = read_manifest(path)
        unique = {f"the video {row.id!r}" for row in own}
        unique |= {f"the scene {row.world['scene']!r}" for row in own if "scene" in row.world}
        for item in unique:
            if owners.setdefault(item, name) != name:
                raise ValueError(
                    f"{owners[item]!r} and {name!r} both have {item}. Ids and scenes must be "
                    "unique: rename them in one of the manifests."
                )
        default = licence_of(path, [])
        for row in own:
            licences.setdefault(default or licence_of_row(row), name)
            states.setdefault(bool(row.states), name)
        rows += [_moved(row, name, default) for row in own]
    if len(licences) > 1 and "" in licences:
        raise ValueError(
            f"{licences['']!r} does not state the licence of all its videos, others do. Write it "
            "into its README.md: ---, license: ..., ---"
        )
    if len(states) > 1:
        raise ValueError(
            f"{states[False]!r} has videos without states, others have them. Write them first: "
            "aid data states --into_manifest true"
        )
    if (folder / MANIFEST).exists() and read_manifest(folder) != rows:
        raise ValueError(
            f"{str(folder / MANIFEST)!r} exists and has other rows. Move it away to write it anew."
        )
    write_manifest(folder, rows)
    return len(rows)


def _moved(row: VideoRow, name: str, licence: str | None) -> VideoRow:
    """The row of data set `name` as the manifest above it lists it."""
    world = row.world
    if licence is not None and not licence_of_row(row):
        world = row.world | {"license": licence}
    return replace(row, video=f"{name}/{row.video}", world=world)
