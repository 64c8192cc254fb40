"""What the commands share: checks of places to write to, and a progress bar."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

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


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with the time left; it takes (done, all). In a log, a line twice a minute."""
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    from rich.console import Console
    from rich.progress import Progress

    # Paths that go into a file or a pipe stay out of the bar's way.
    settings = {"transient": True, "redirect_stdout": sys.stdout.isatty()}
    with Progress(console=Console(stderr=True), **settings) as progress:
        bar = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """One bar after another, for what is done in turn; it takes (what is done, done, all)."""
    with ExitStack() as stack:
        bars: dict[str, Callable[[int, int], None]] = {}

        def tell(title: str, done: int, total: int) -> None:
            if title not in bars:
                stack.close()  # the bar before
                bars.clear()
                bars[title] = stack.enter_context(progress_bar(title))
            bars[title](done, total)

        yield tell


class _Lines:
    """Progress where there is no terminal: done, all and the minutes left, on stderr."""

    def __init__(self, title: str) -> None:
        self.title, self.start, self.said = title, monotonic(), monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = monotonic()
        if now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            left = (now - self.start) / max(1, done) * (total - done) / 60
            print(f"{self.title} {done} of {total}, {left:.0f} min left", file=sys.stderr)


@contextmanager
def step_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar, or lines, for each step of a command; it takes (step, done, all)."""
    with ExitStack() as open_bars:
        bars: dict[str, Callable[[int, int], None]] = {}

        def on_step(step: str, done: int, total: int) -> None:
            if step not in bars:
                open_bars.close()  # the step before it
                bars[step] = open_bars.enter_context(progress_bar(step))
            bars[step](done, total)

        yield on_step
