"""A data set wherever it is: a folder, a hub id, or the URL of a folder with a manifest.

Called by the command line. Behind a URL only manifests are read; videos stay where they are until a
worker fetches those that it encodes.
"""

from dataclasses import replace
from pathlib import Path

from aid.data.manifest import MANIFEST, read_manifest
from aid.data.sources import Source, read_source
from aid.data.store import Store, is_url


def read_any_source(
    place: str,
    *,
    format: str | None = None,
    split: str | None = None,
    camera: str | None = None,
    limit: int | None = None,
    fps: float | None = None,
    strip_distractors: bool = False,
    unpack_to: Path | None = None,
) -> tuple[str, Source]:
    """Where the videos are, as a path or a URL, and the data set.

    Args:
        place: as `read_source` takes it, or a URL that fsspec knows.
        format: for folders and hub ids, like `strip_distractors` and `unpack_to`; all settings are
            as `read_source` takes them.

    Raises:
        ValueError: as `read_source`, or the URL is asked for more than a manifest behind it has.
    """
    if not is_url(place):
        source = read_source(
            place, format=format, split=split, camera=camera, limit=limit, fps=fps,
            strip_distractors=strip_distractors, unpack_to=unpack_to,
        )  # fmt: skip
        return str(source.folder), source
    if format not in (None, "manifest") or strip_distractors or unpack_to:
        raise ValueError(
            f"{place!r} is a URL, and only its manifest is read: format, strip_distractors and "
            "unpack_to are for folders. Copy the data set to this machine, or leave them out."
        )
    with Store(place).local([MANIFEST]) as paths:
        if not paths[MANIFEST].is_file():
            raise ValueError(
                f"{place!r} holds no {MANIFEST}. Only manifests are read through URLs; copy a data "
                "set of another format to this machine."
            )
        rows = read_manifest(paths[MANIFEST].parent)
    rows = [row for row in rows if split in (None, row.split) and camera in (None, row.camera)]
    rows = [row if row.fps or fps is None else replace(row, fps=fps) for row in rows[:limit]]
    if not rows:
        raise ValueError(f"{place!r} has no video of split {split!r} and camera {camera!r}.")
    return place, Source(folder=Path(), format="manifest", rows=rows, notes=[])
