"""A data set wherever it is: a folder, a hub id, or the URL of a folder with a manifest.

Called by the command line. Behind a URL only manifests are read; videos stay where they are until a
worker fetches those that it encodes.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aid.config import SourceConfig
from aid.data.formats import FORMATS
from aid.data.manifest import MANIFEST, manifest_rows
from aid.data.sources import (
    EVERYTHING,
    Listing,
    Source,
    is_packed,
    list_source,
    read_source,
    wanted,
)
from aid.data.store import Store, is_url
from aid.types import VideoRow

ONLY_MANIFEST = (
    "{!r} is a URL, and only its manifest is read: format, strip_distractors and unpack_to are for "
    "folders. Copy the data set to this machine, or leave them out."
)


def list_any_source(place: str, asked: SourceConfig = EVERYTHING) -> Listing:
    """What the lists of a data set say.

    Args:
        place: as `list_source` takes it, or a URL that fsspec knows.
        asked: which of its videos; `format` and `strip_distractors` are for folders and hub ids.

    Raises:
        ValueError: as `list_source`, or the URL is asked for more than a manifest behind it has.
    """
    if not is_url(place):
        return list_source(place, asked)
    if asked.format not in (None, "manifest") or asked.strip_distractors:
        raise ValueError(ONLY_MANIFEST.format(place))
    store, notes = Store(place), list[str]()

    def walk() -> Iterator[VideoRow]:
        with store.local([MANIFEST]) as paths:
            if not paths[MANIFEST].is_file():
                raise ValueError(
                    f"{place!r} holds no {MANIFEST}. Only manifests are read through URLs; copy a "
                    "data set of another format to this machine."
                )
            yield from wanted(manifest_rows(paths[MANIFEST].parent), asked, notes, repr(place))

    return Listing(place=place, format=FORMATS[0], rows=walk(), notes=notes)


def read_any_source(
    place: str, asked: SourceConfig = EVERYTHING, *, unpack_to: Path | None = None
) -> tuple[str, Source]:
    """Where the videos are, as a path or a URL, and the data set.

    Args:
        place: as for `list_any_source`.
        asked: likewise.
        unpack_to: as for `read_source`; for folders and hub ids.

    Raises:
        ValueError: as `list_any_source` and `read_source`.
    """
    if not is_url(place):
        source = read_source(place, asked, unpack_to=unpack_to)
        return str(source.folder), source
    if unpack_to is not None:
        raise ValueError(ONLY_MANIFEST.format(place))
    listing = list_any_source(place, asked)
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
