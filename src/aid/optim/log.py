"""What a person sees of a run: a log of JSON lines, always, and a progress bar on a terminal."""

import json
import os
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
    """The lines of a log; a last one that a kill broke off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


class JsonLog:
    """A log of one JSON object per line; resuming cuts what a killed run wrote after its state."""

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        kept = [line for line in read_log(path) if line["step"] <= step] if path.exists() else []
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
