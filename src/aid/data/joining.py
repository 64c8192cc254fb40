"""Several data sets that lie in one folder, as one: a manifest above them names the videos of all.

Called by `aid join`; `prepare` then reads the folder as any other.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aid.data.files import inside
from aid.data.licence import licence_of, licence_of_row
from aid.data.manifest import MANIFEST, read_manifest, write_manifest
from aid.types import VideoRow


def join(folder: Path, names: Sequence[str]) -> int:
    """Writes `folder/manifest.jsonl` with the videos of all data sets named, and counts them.

    No video is copied. A row that says no licence gets its data set's (`world["license"]`).

    Args:
        folder: holds the data sets.
        names: of folders in it, each with a manifest.jsonl; at least two.

    Raises:
        ValueError: there are not two data sets, one has no manifest or lies outside `folder`, two
            have a video of one id or a scene of one name, only some videos have a licence or
            states, or `folder` holds another manifest.
    """
    paths = [inside(folder, name) for name in names]
    if len(set(paths)) < max(len(paths), 2) or folder.resolve() in paths:
        raise ValueError(
            f"{', '.join(names)!r} are not two or more different folders in {str(folder)!r}. "
            "Try: aid join data/tabletop '[train, twins]'"
        )
    rows: list[VideoRow] = []
    owners: dict[str, str] = {}
    licences: dict[str, str] = {}  # and the first data set that has such a video
    states: dict[bool, str] = {}
    for path in paths:
        name = path.relative_to(folder.resolve()).as_posix()
        own = read_manifest(path)
        for claim in {f"the video {row.id!r}" for row in own} | {_scene(row) for row in own} - {""}:
            if owners.setdefault(claim, name) != name:
                raise ValueError(
                    f"{owners[claim]!r} and {name!r} both have {claim}. Ids and scenes must be of "
                    "one data set alone: give them other names in one manifest."
                )
        of_silent = licence_of(path, [])
        for row in own:
            licences.setdefault(of_silent or licence_of_row(row), name)
            states.setdefault(bool(row.states), name)
        rows += [_moved(row, name, of_silent) for row in own]
    if len(licences) > 1 and "" in licences:
        raise ValueError(
            f"{licences['']!r} does not say the licence of all its videos, others do. Write it "
            "into its README.md: ---, license: ..., ---"
        )
    if len(states) > 1:
        raise ValueError(
            f"{states[False]!r} has videos without states, others have them. Have them written: "
            "aid states --into_manifest true"
        )
    if (folder / MANIFEST).exists() and read_manifest(folder) != rows:
        raise ValueError(
            f"{str(folder / MANIFEST)!r} is there and says something else. Move it away to have "
            "it written anew."
        )
    write_manifest(folder, rows)
    return len(rows)


def _scene(row: VideoRow) -> str:
    return f"the scene {row.world['scene']!r}" if "scene" in row.world else ""


def _moved(row: VideoRow, name: str, licence: str | None) -> VideoRow:
    """The row as the folder above says it."""
    is_silent = licence is not None and not licence_of_row(row)
    world = row.world | {"license": licence} if is_silent else row.world
    return replace(row, video=f"{name}/{row.video}", world=world)
