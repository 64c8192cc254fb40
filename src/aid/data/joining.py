"""Several data sets that lie in one folder, as one: a manifest above them names the videos of all.

Called by `aid join`; `prepare` then reads the folder as any other.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from aid.data.files import inside
from aid.data.licence import licence_of
from aid.data.manifest import MANIFEST, read_manifest, write_manifest
from aid.types import VideoRow
from aid.video import whole_file

CARD = "README.md"
HEADING = "Joined by `aid join`: "


def join(folder: Path, parts: Sequence[str]) -> list[VideoRow]:
    """Writes `folder/manifest.jsonl` with the videos of all parts, and a card with their licences.

    No video is copied. Given again, after a part has grown, it writes both anew.

    Args:
        folder: holds the parts.
        parts: names of folders in it, each with a manifest.jsonl; at least two.

    Returns:
        The rows that were written: those of the first part, then those of the next.

    Raises:
        ValueError: there are not two parts, one has no manifest or lies outside `folder`, two
            videos have one id, a part does not say its licence while another does, or `folder`
            holds a manifest or a card that is not from here.
    """
    if len(parts) < 2 or len({inside(folder, part) for part in parts}) < len(parts):
        raise ValueError(
            f"{', '.join(parts)!r} are not two or more different folders of {str(folder)!r}. "
            "Try: aid join data/tabletop '[train, twins]'"
        )
    card = folder / CARD
    is_new = not (folder / MANIFEST).exists() and not card.exists()
    if not is_new and not (card.is_file() and HEADING in card.read_text("utf-8")):
        raise ValueError(
            f"{str(folder)!r} has a {MANIFEST} or a {CARD} that `aid join` did not write. "
            "Move it away, or put the data sets into a folder of their own."
        )
    rows, part_of, licences = [], {}, {}
    for part in parts:
        own = [replace(row, video=f"{part}/{row.video}") for row in read_manifest(folder / part)]
        for row in own:
            if row.id in part_of:
                raise ValueError(
                    f"{part_of[row.id]!r} and {part!r} both have a video {row.id!r}. "
                    "Ids must differ in one data set."
                )
            part_of[row.id] = part
        licences[part] = licence_of(folder / part, own)
        rows += own
    silent = [part for part, said in licences.items() if said is None]
    if 0 < len(silent) < len(parts):
        raise ValueError(
            f"{', '.join(silent)} does not say its licence, the others do. Write it into a "
            f"{CARD} there: ---, license: ..., ---"
        )
    known = list(dict.fromkeys(said for said in licences.values() if said is not None))
    head = f"---\n{yaml.safe_dump({'license': known})}---\n\n" if known else ""
    with whole_file(card) as temporary:  # first, so that a manifest without it is somebody else's
        temporary.write_text(f"{head}{HEADING}{', '.join(parts)}.\n", encoding="utf-8")
    write_manifest(folder, rows)
    return rows
