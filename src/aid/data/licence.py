"""The licence that a data set states in its own files; it is never guessed.

Called by `sources`. `prepare` writes it into the cache, and a checkpoint's card repeats it.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aid.config.bounded_yaml import load_yaml
from aid.data.files import read_text
from aid.types import VideoRow

MAX_WORDS = 120
KEYS = ("license", "licence")
FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt", "COPYING")


def licence_of(folder: Path, rows: Iterable[VideoRow]) -> str | None:
    """The licence of a data set, None if it states none.

    Looked for in this order: the rows (`world["license"]` or `["licence"]`), the card (README.md of
    the Hugging Face hub), TensorFlow Datasets' `dataset_info.json`, LeRobot's `meta/info.json`, the
    first line of a licence file.
    """
    for stated in (
        sorted({one for row in rows if (one := licence_of_row(row))}),
        list(_of_card(folder)),
        list(_of_json(folder)),
        list(_of_file(folder)),
    ):
        if stated:
            return ", ".join(stated)[:MAX_WORDS]
    return None


def licence_of_row(row: VideoRow) -> str:
    """The licence that the row itself states, or ""."""
    return next((str(row.world[key]) for key in KEYS if row.world.get(key)), "")


def _text(folder: Path, name: str) -> str:
    """A file of the data set; "" if it does not exist or cannot be read."""
    try:
        return read_text(folder, name) if (folder / name).is_file() else ""
    except ValueError:
        return ""


def _of_card(folder: Path) -> Iterator[str]:
    parts = _text(folder, "README.md").split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return
    try:
        head = load_yaml(parts[1])
    except ValueError:
        return
    if isinstance(head, dict):
        for key in ("license", "license_name", "license_link"):
            value = head.get(key)
            yield from map(str, value if isinstance(value, list) else [value] if value else [])


def _of_json(folder: Path) -> Iterator[str]:
    for name in ("dataset_info.json", "meta/info.json"):
        try:
            values: Any = json.loads(_text(folder, name) or "{}")
        except ValueError:
            continue
        if not isinstance(values, dict):
            continue
        own = values.get("redistributionInfo")
        for known in (values, own if isinstance(own, dict) else {}):
            if isinstance(stated := known.get("license"), str) and stated.strip():
                yield stated.strip()


def _of_file(folder: Path) -> Iterator[str]:
    for name in FILES:
        lines = (line.strip(" #*\t") for line in _text(folder, name).splitlines())
        if first := next((line for line in lines if line), None):
            yield f"{first} ({name})"
            return
