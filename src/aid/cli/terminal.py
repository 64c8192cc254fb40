"""What the commands share: checks of places to write to, a progress bar, a table of facts."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from aid.config import SamplerConfig

SECONDS_BETWEEN_LINES = 30


def check_output(path: Path) -> None:
    """Refuses a file that could not be written, before anything is loaded or drawn."""
    if path.suffix.lower() not in (".mp4", ".gif", ".png"):
        raise ValueError(f"{str(path)!r} must end in .mp4, .gif or .png. Try {path.stem}.mp4")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder. Choose another --out.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuses a folder that does not exist or cannot be written to."""
    if not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r} does not exist. Create it: mkdir -p '{folder}'")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"cannot write to folder {str(folder)!r} ({error.strerror}). Choose another --out."
        ) from None


def check_sampling(**given: Any) -> None:
    """Refuses settings of the sampler that cannot be run, before a model is loaded."""
    SamplerConfig(**{name: value for name, value in given.items() if value is not None})


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left; it takes (done, all) and, if there is something to say of
    the speed, words. In a log, a line twice a minute.

    All is None where nobody knows.
    """
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    # Paths that go into a file or a pipe stay out of the bar's way.
    settings = {"transient": True, "redirect_stdout": sys.stdout.isatty()}
    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, console=Console(stderr=True), **settings) as progress:
        bar = progress.add_task(title, total=None, speed="")

        def show(done: int, total: int | None, speed: str = "") -> None:
            progress.update(bar, completed=done, total=total, speed=speed)

        yield show


class _Lines:
    """Progress where there is no terminal: done, all and the minutes left, on stderr."""

    def __init__(self, title: str) -> None:
        self.title, self.start, self.last_line = title, monotonic(), monotonic()

    def __call__(self, done: int, total: int | None, speed: str = "") -> None:
        now = monotonic()
        if now - self.last_line < SECONDS_BETWEEN_LINES:
            return
        self.last_line = now
        if total is None:
            print(f"{self.title} {done}", file=sys.stderr)
        else:
            left = (now - self.start) / max(1, done) * (total - done) / 60
            words = f", {speed}" if speed else ""
            print(f"{self.title} {done} of {total}, {left:.0f} min left{words}", file=sys.stderr)


@contextmanager
def step_bars() -> Iterator[Callable[..., None]]:
    """A bar, or lines, for each step of a command; it takes (step, done, all), maybe the speed."""
    with ExitStack() as open_bars:
        bars: dict[str, Callable[..., None]] = {}

        def on_step(step: str, done: int, total: int | None, speed: str = "") -> None:
            if step not in bars:
                open_bars.close()  # the step before it
                bars[step] = open_bars.enter_context(progress_bar(step))
            bars[step](done, total, speed)

        yield on_step


def print_facts(facts: Sequence[tuple[str, str, bool]]) -> None:
    """Prints names and what is said of each; on a terminal a table with warnings in yellow.

    Words may be a stranger's: what a terminal would obey instead of show is replaced.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, words, is_warning in facts:
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
        table.add_row(Text(name, "bold"), Text(shown, "yellow" if is_warning else ""))
        if not sys.stdout.isatty():  # lines for other programs, as long as they are
            print(f"{name:<18}  {shown}")
    if sys.stdout.isatty():
        Console().print(table)
