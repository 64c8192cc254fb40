"""A data set wherever it is: a folder, a hub id, or the URL of a folder with a manifest.

Called by the command line. Behind a URL only manifests are read; videos stay where they are until a
worker fetches those that it encodes.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from aid.data.formats import FORMATS
from aid.data.manifest import MANIFEST, manifest_rows
from aid.data.sources import Listing, Source, is_packed, list_source, read_source
from aid.data.store import Store, is_url
from aid.types import VideoRow

ONLY_MANIFEST = (
    "{!r} is a URL, and only its manifest is read: format, strip_distractors and unpack_to are for "
    "folders. Copy the data set to this machine, or leave them out."
)


def list_any_source(
    place: str,
    *,
    format: str | None = None,
    split: str | None = None,
    camera: str | None = None,
    limit: int | None = None,
    fps: float | None = None,
    strip_distractors: bool = False,
) -> Listing:
    """What the lists of a data set say.

    Args:
        place: as `list_source` takes it, or a URL that fsspec knows.
        format: for folders and hub ids, like `strip_distractors`; all settings are as `list_source`
            takes them.

    Raises:
        ValueError: as `list_source`, or the URL is asked for more than a manifest behind it has.
    """
    if not is_url(place):
        return list_source(
            place, format=format, split=split, camera=camera, limit=limit, fps=fps,
            strip_distractors=strip_distractors,
        )  # fmt: skip
    if format not in (None, "manifest") or strip_distractors:
        raise ValueError(ONLY_MANIFEST.format(place))
    store = Store(place)

    def walk() -> Iterator[VideoRow]:
        number = 0
        with store.local([MANIFEST]) as paths:
            if not paths[MANIFEST].is_file():
                raise ValueError(
                    f"{place!r} holds no {MANIFEST}. Only manifests are read through URLs; copy a "
                    "data set of another format to this machine."
                )
            for row in manifest_rows(paths[MANIFEST].parent):
                if split not in (None, row.split) or camera not in (None, row.camera):
                    continue
                yield row if row.fps or fps is None else replace(row, fps=fps)
                number += 1
                if number == limit:
                    return
        if not number:
            raise ValueError(f"{place!r} has no video of split {split!r} and camera {camera!r}.")

    return Listing(place=place, format=FORMATS[0], rows=walk(), notes=[])


def read_any_source(
    place: str, *, unpack_to: Path | None = None, **asked: Any
) -> tuple[str, Source]:
    """Where the videos are, as a path or a URL, and the data set.

    Args:
        place: as for `list_any_source`.
        unpack_to: as for `read_source`; for folders and hub ids.
        asked: settings of `list_any_source`.

    Raises:
        ValueError: as `list_any_source` and `read_source`.
    """
    if not is_url(place):
        source = read_source(place, unpack_to=unpack_to, **asked)
        return str(source.folder), source
    if unpack_to is not None:
        raise ValueError(ONLY_MANIFEST.format(place))
    listing = list_any_source(place, **asked)
    return place, Source(
        folder=Path(), format=listing.format.name, rows=list(listing.rows), notes=listing.notes
    )


@contextmanager
def at_hand(
    listing: Listing, rows: list[VideoRow]
) -> Iterator[tuple[dict[str, Path], list[VideoRow]]]:
    """Paths on this machine of some rows' videos, and those rows with what the headers say.

    What was unpacked or fetched for that is gone when the block ends.

    Raises:
        ValueError: an archive is damaged, or a path leads out of the data set.
    """
    with tempfile.TemporaryDirectory(prefix="aid-") as made:
        store = Store(listing.place)
        if store.folder is not None:
            source = listing.opened(rows, Path(made) if is_packed(rows) else None)
            store, rows = Store(source.folder), source.rows
        with store.local([row.video for row in rows]) as paths:
            yield paths, rows
