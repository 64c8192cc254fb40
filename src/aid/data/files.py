"""Small files of somebody else's data set, read with distrust: text, JSON, tables, paths.

Called by the readers. Everything that is wrong with a file becomes one `ValueError` with its name;
nothing outside of the data set's folder is opened.
"""

import csv
import functools
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_TEXT = 1 << 30
"""Bytes; the largest label file of a published set has a fortieth of it."""

MAX_NAME = 255
"""Bytes of a file's name, on every common file system."""


def inside(folder: Path, name: str) -> Path:
    """The path `folder/name`, links followed.

    Raises:
        ValueError: it lies outside the folder, or is no path at all.
    """
    try:
        if any(len(os.fsencode(part)) > MAX_NAME for part in Path(name).parts):
            raise ValueError(f"a part of it has more than {MAX_NAME} bytes")
        path = (folder / name).resolve()
        is_inside = path.is_relative_to(_root(folder))
    except (OSError, RuntimeError, ValueError) as error:  # too long, a NUL, a ring of links
        raise ValueError(f"{_short(name)} is no path below {str(folder)!r} ({error}).") from None
    if not is_inside:
        raise ValueError(
            f"{_short(name)} lies outside the folder {str(folder)!r}. Put the file itself there: "
            "paths and links that lead out of a data set are not followed."
        )
    return path


@functools.lru_cache(maxsize=64)  # asked for once per row
def _root(folder: Path) -> Path:
    """What links may lead to: the folder, or the store of a Hugging Face snapshot's files."""
    folder = folder.resolve()
    store = folder.parent.parent
    is_snapshot = folder.parent.name == "snapshots" and (store / "blobs").is_dir()
    return store if is_snapshot else folder


def read_text(folder: Path, name: str) -> str:
    """A UTF-8 text file of the data set.

    Raises:
        ValueError: it is missing, outside the folder, not UTF-8 or too large to be text.
    """
    text = "".join(line for _, line in _lines(folder, name))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(folder: Path, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1, one in memory at a time."""
    path, where = inside(folder, name), repr(str(folder / name))
    number = 0
    try:
        if path.stat().st_size > MAX_TEXT:
            raise ValueError(f"{where} has more than {MAX_TEXT} bytes.")
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where} is not UTF-8 text ({error.reason} in line {number}). Save it as UTF-8."
        ) from None
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror}).") from None


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text; `where` names it in the error.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}).") from None


def read_json(folder: Path, name: str, kind: type) -> Any:
    """The value of a JSON file, a `dict` or a `list` as asked.

    Raises:
        ValueError: it cannot be read, is not JSON or is of another kind.
    """
    value = parse_json(read_text(folder, name), repr(str(folder / name)))
    if not isinstance(value, kind):
        noun = "an object" if kind is dict else "a list"
        raise ValueError(f"{str(folder / name)!r} must hold {noun}, got {_short(value)}.")
    return value


def read_json_lines(folder: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and value of a file with one JSON object a line; empty lines are passed over.

    Raises:
        ValueError: it cannot be read, or a line is no JSON object.
    """
    for number, line in _lines(folder, name):
        if line.strip():
            where = f"{str(folder / name)!r}, line {number}:"
            value = parse_json(line, where)
            if not isinstance(value, dict):
                raise ValueError(f"{where} not a JSON object, got {_short(value)}.")
            yield number, value


def read_table(
    folder: Path, name: str, columns: list[str], delimiter: str = ","
) -> list[dict[str, str]]:
    """The rows of a CSV file, keyed by its first line.

    Args:
        columns: those that must be there.

    Raises:
        ValueError: it cannot be read, is no table, or lacks a column.
    """
    text = io.StringIO(read_text(folder, name), newline="")
    csv.field_size_limit(MAX_TEXT)  # a caption may be longer than the module's 128 KiB
    try:
        reader = csv.DictReader(text, delimiter=delimiter, strict=True)
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(f"{str(folder / name)!r} is no CSV table ({error}).") from None
    if missing := [column for column in columns if column not in (reader.fieldnames or [])]:
        raise ValueError(
            f"{str(folder / name)!r} has no column {missing[0]!r}. Its columns: "
            f"{', '.join(reader.fieldnames or []) or 'none'}."
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(
                f"{str(folder / name)!r}, row {number}: not as many cells as the first line names."
            )
    return rows


def number_in(row: dict[str, Any], key: str, where: str) -> float:
    """A finite number out of a table's row.

    Raises:
        ValueError: it is missing or is no number.
    """
    try:
        value = float(row[key])
    except (KeyError, TypeError, ValueError):
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"{where}: {key} must be a number, got {_short(row.get(key))}.")
    return value


def _short(value: Any) -> str:
    """The value as it can stand in a sentence."""
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:77]}..."
