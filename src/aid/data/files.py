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
        is_inside = path.is_relative_to(_root(folder.absolute()))
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
    """The rows of a CSV or TSV file, keyed by its first line.

    Where a tab delimits, a quotation mark is a letter of the text unless the file was plainly
    written with quotes: its cells are all quoted, or hold doubled quotes or line breaks.

    Args:
        columns: those that must be there.
        delimiter: "," stands for a semicolon or a tab, too, where only these are in the first line.

    Raises:
        ValueError: it cannot be read, is no table, or lacks a column.
    """
    text, where = read_text(folder, name), repr(str(folder / name))
    head = text.partition("\n")[0]
    if delimiter == "," and "," not in head:
        delimiter = next((d for d in "\t;" if d in head), ",")
    rows = _plain_rows(text) if delimiter == "\t" else None
    if rows is None:
        rows = _csv_rows(text, delimiter, where)
    names = rows[0] if rows else []
    if missing := [column for column in columns if column not in names]:
        raise ValueError(
            f"{where} has no column {missing[0]!r}. Its columns: {', '.join(names) or 'none'}."
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise ValueError(f"{where}, row {number}: not as many cells as the first line names.")
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def _csv_rows(text: str, delimiter: str, where: str) -> list[list[str]]:
    csv.field_size_limit(MAX_TEXT)  # a caption may be longer than the module's 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise ValueError(
            f"{where} is no CSV table ({error}, line {reader.line_num}). Put a text with quotes in "
            "quotes, and double those inside it."
        ) from None


def _plain_rows(text: str) -> list[list[str]] | None:
    """A table of tabs without quoting; None if its quotation marks are those of a CSV writer."""
    rows = [line.split("\t") for line in text.split("\n") if line.strip()]
    quoted = [cell for row in rows for cell in row if cell.startswith('"')]
    if any(len(row) != len(rows[0]) for row in rows):
        return None if quoted else rows
    is_each = len(quoted) == sum(map(len, rows))
    if quoted and (is_each or any(_is_escaped(cell) for cell in quoted)):
        return None
    return rows


def _is_escaped(cell: str) -> bool:
    """Whether a cell is one that a CSV writer had to quote: it has quotes inside, each doubled."""
    inner = cell[1:-1]
    is_whole = len(cell) > 2 and cell.endswith('"')
    return is_whole and '""' in inner and '"' not in inner.replace('""', "")


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
