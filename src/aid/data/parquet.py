"""Tables of somebody else's data set in Parquet files, read with distrust. Called by the readers.

The package is pyarrow, an extra: only some formats need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aid.data.files import inside

if TYPE_CHECKING:
    import pyarrow


def read_parquet(
    folder: Path, name: str, columns: list[str] | None = None, episode: int | None = None
) -> pyarrow.Table:
    """A Parquet file, or those of the asked columns that it has.

    Args:
        episode: only the rows whose `episode_index` it is.

    Raises:
        ValueError: it is missing, outside the folder, damaged, or pyarrow is not installed.
    """
    path = inside(folder, name)
    where = repr(str(folder / name))
    if not path.is_file():
        raise ValueError(f"{where} does not exist. Fetch the whole data set again.")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            "this data set keeps its tables in Parquet files. Install what reads them: "
            "pip install 'aid-video[data]'"
        ) from None
    try:
        there = pyarrow.parquet.read_schema(path).names
        wanted = there if columns is None else [column for column in columns if column in there]
        filters = None if episode is None else [("episode_index", "==", episode)]
        return pyarrow.parquet.read_table(path, columns=wanted, filters=filters)
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"{where} is no readable Parquet file ({words}).") from None
