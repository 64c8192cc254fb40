"""What a person sees of a run: a log of JSON lines, always, and a progress bar on a terminal."""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from aid.files import write_whole


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that can be read; those that a kill or a disk has damaged are left out."""
    return _readable(path)[0]


def _readable(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that are JSON objects with a step, and the number of other lines before the last.

    The last line does not count: a kill may have cut it off.
    """
    found, spoiled = [], []
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if isinstance(values, dict) and isinstance(values.get("step"), int):
            found.append(values)
        elif number < len(lines):
            spoiled.append(number)
    return found, len(spoiled)


class JsonLog:
    """A log of one JSON object per line; resuming cuts what a killed run wrote after its state.

    A log with damaged lines is set aside under another name, and its readable lines go on.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        found, num_spoiled = _readable(path) if path.exists() else ([], 0)
        if num_spoiled:
            number = 1
            while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
                number += 1
            shutil.copyfile(path, aside)
            warnings.warn(
                f"{num_spoiled} lines of {str(path)!r} are damaged and are left out; the file as "
                f"it was is kept as {aside.name!r}.",
                stacklevel=2,
            )
        kept = [line for line in found if line["step"] <= step]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, **values: Any) -> None:
        """Appends a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def flush(self) -> None:
        """Waits until the log is on the disk, as a saved state must not be ahead of it."""
        with self.path.open("a", encoding="utf-8") as file:
            os.fsync(file.fileno())


@contextmanager
def progress_bar(
    title: str, start: int, total: int, is_shown: bool
) -> Iterator[Callable[[int, float], None]]:
    """A bar with the time left; it takes (steps done, present loss)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Steps may take a minute; the default estimates from the last 30 seconds.
    with Progress(*columns, disable=not is_shown, speed_estimate_period=900) as progress:
        bar = progress.add_task(title, total=total, completed=start, loss="")
        yield lambda done, loss: progress.update(bar, completed=done, loss=f"loss {loss:.4f}")
