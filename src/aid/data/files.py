"""Untrusted files of a data set: paths, text, JSON, tables, and frames out of archives.

Called by the readers. Whatever is wrong with a file becomes one `ValueError` with its name. Nothing
outside the data set's folder is opened, and no name in an archive decides where a file is written.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

MAX_TEXT = 1 << 30
"""Bytes; the largest label file of a published set has a fortieth of it."""

MAX_NAME = 255
"""Bytes of a file's name, on every common file system."""

IMAGE_TYPES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}
"""Suffixes of encoded images by their first bytes."""


def inside(folder: Path, name: str) -> Path:
    """The path `folder/name`, links followed.

    Raises:
        ValueError: it lies outside the folder, or is not a valid path.
    """
    try:
        if any(len(os.fsencode(part)) > MAX_NAME for part in Path(name).parts):
            raise ValueError(f"a part of it has more than {MAX_NAME} bytes")
        path = (folder / name).resolve()
        is_inside = path.is_relative_to(_root(folder.absolute()))
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # too long, a NUL character, circular links
        raise ValueError(f"{_short(name)} is not a path below {str(folder)!r} ({error}).") from None
    if not is_inside:
        raise ValueError(
            f"{_short(name)} lies outside the folder {str(folder)!r}. Copy the file into the "
            "folder: paths and links that lead out of a data set are not followed."
        )
    return path


@functools.lru_cache(maxsize=64)  # called once per row
def _root(folder: Path) -> Path:
    """Where links may point to: the folder, or the file store of a Hugging Face snapshot."""
    folder = folder.resolve()
    store = folder.parent.parent
    is_snapshot = folder.parent.name == "snapshots" and (store / "blobs").is_dir()
    return store if is_snapshot else folder


def read_text(folder: Path, name: str) -> str:
    """A UTF-8 text file of the data set.

    Raises:
        ValueError: it is missing, outside the folder, not UTF-8 or larger than `MAX_TEXT`.
    """
    text = "".join(line for _, line in _lines(folder, name))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(folder: Path, name: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file, numbered from 1, one in memory at a time."""
    path, where = inside(folder, name), repr(str(folder / name))
    number = 0
    try:
        if path.stat().st_size > MAX_TEXT:
            raise ValueError(f"{where} has more than {MAX_TEXT} bytes, too many for a text file.")
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
        ValueError: it is not valid JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not valid JSON ({error}).") from None


def read_json(folder: Path, name: str, kind: type) -> Any:
    """The value of a JSON file, which must be a `dict` or a `list`, as `kind` says.

    Raises:
        ValueError: it cannot be read, is not JSON or holds another kind of value.
    """
    value = parse_json(read_text(folder, name), repr(str(folder / name)))
    if not isinstance(value, kind):
        noun = "an object" if kind is dict else "a list"
        raise ValueError(f"{str(folder / name)!r} must hold {noun}, got {_short(value)}.")
    return value


def read_json_lines(folder: Path, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and value of a file with one JSON object per line; empty lines are skipped.

    Raises:
        ValueError: it cannot be read, or a line is not a JSON object.
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

    In tab-separated files a quotation mark is an ordinary character, unless a CSV writer quoted
    the cells: all cells are quoted, or some hold doubled quotes or line breaks.

    Args:
        columns: required columns.
        delimiter: "," also accepts semicolons or tabs if the first line has no comma.

    Raises:
        ValueError: it cannot be read, is not a table, or lacks a column.
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
            raise ValueError(
                f"{where}, row {number} has {len(row)} cells, and the first line has {len(names)}."
            )
    return [dict(zip(names, row, strict=True)) for row in rows[1:]]


def _csv_rows(text: str, delimiter: str, where: str) -> list[list[str]]:
    csv.field_size_limit(MAX_TEXT)  # a caption may be longer than the module's 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise ValueError(
            f"{where} is not a CSV table ({error}, line {reader.line_num}). Enclose cells "
            "that contain quotation marks in quotation marks, and double the inner ones."
        ) from None


def _plain_rows(text: str) -> list[list[str]] | None:
    """Rows of a tab-separated table without quoting; None if a CSV writer quoted its cells."""
    rows = [line.split("\t") for line in text.split("\n") if line.strip()]
    quoted = [cell for row in rows for cell in row if cell.startswith('"')]
    if any(len(row) != len(rows[0]) for row in rows):
        return None if quoted else rows
    is_each = len(quoted) == sum(map(len, rows))
    if quoted and (is_each or any(_is_escaped(cell) for cell in quoted)):
        return None
    return rows


def _is_escaped(cell: str) -> bool:
    """Whether a CSV writer quoted a cell: it contains quotation marks, each doubled."""
    inner = cell[1:-1]
    is_whole = len(cell) > 2 and cell.endswith('"')
    return is_whole and '""' in inner and '"' not in inner.replace('""', "")


def read_parquet(
    folder: Path, name: str, columns: list[str] | None = None, episode: int | None = None
) -> pyarrow.Table:
    """A Parquet file of the data set, or those of the named columns that it has.

    Args:
        columns: to read; None reads all.
        episode: only rows with this `episode_index`.

    Raises:
        ValueError: it is missing, outside the folder, damaged, or pyarrow is not installed.
    """
    path = inside(folder, name)
    where = repr(str(folder / name))
    if not path.is_file():
        raise ValueError(f"{where} does not exist. Download the whole data set again.")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            "this data set has Parquet files. Install the package that reads them: "
            "pip install 'aid-video[data]'"
        ) from None
    try:
        existing = pyarrow.parquet.read_schema(path).names
        wanted = existing if columns is None else [one for one in columns if one in existing]
        filters = None if episode is None else [("episode_index", "==", episode)]
        return pyarrow.parquet.read_table(path, columns=wanted, filters=filters)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"{where} is not a readable Parquet file ({words}).") from None


def number_in(row: dict[str, Any], key: str, where: str) -> float:
    """A finite number from a row of a table.

    Raises:
        ValueError: it is missing or not a number.
    """
    try:
        value = float(row[key])
    except (KeyError, TypeError, ValueError):
        value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"{where}: {key} must be a number, got {_short(row.get(key))}.")
    return value


def write_frames(folder: Path, frames: list[bytes]) -> None:
    """Writes encoded images as `frame_000000.jpg` and so on, all of them or none.

    Raises:
        ValueError: a frame is not a JPEG, PNG, WebP or BMP image.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".frames-", dir=folder.parent))
    try:
        for number, frame in enumerate(frames):
            suffix = next((s for magic, s in IMAGE_TYPES.items() if frame.startswith(magic)), None)
            if suffix is None:
                raise ValueError(
                    f"frame {number} of {folder.name!r} is not a JPEG, PNG, WebP or BMP image "
                    f"(it begins with {frame[:8]!r})."
                )
            (making / f"frame_{number:06d}{suffix}").write_bytes(frame)
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:  # another process has written it meanwhile
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _short(value: Any) -> str:
    """The value, shortened for an error message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
