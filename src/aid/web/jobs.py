"""Work in a thread of its own, and news of it for whoever waits."""

import queue
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.predict.predictor import Look
from aid.web.turns import Ticket

PREVIEW_FRAMES = 4
PREVIEW_EVERY = 0.7  # seconds; decoding a preview costs time that the video then lacks
NEWS_EVERY = 0.4  # seconds between two looks at the queue, or at whether somebody pressed Stop
CRASHED = "something went wrong here; it is in the server's log. The studio goes on: try again."
_heard = threading.local()


class Crashed(RuntimeError):
    """A fault of ours; what is known of it is in the server's log and nowhere else."""


class Cancelled(Exception):
    """Whoever asked is gone."""


class RequestStopped(ValueError):
    """Whoever asked pressed Stop or is gone, or the studio is closing."""

    def __init__(self) -> None:
        super().__init__("the request was stopped.")


@dataclass(frozen=True, kw_only=True)
class News:
    """How far a request is: `ahead` others come first, or `done` of `total` sampling steps.

    A request that `is_stopping` was cancelled and finishes what it is at. While its file
    `is_reading`, it has no place in the queue yet.
    """

    ahead: int = 0
    done: int = 0
    total: int = 0
    is_stopping: bool = False
    is_reading: bool = False
    preview: UInt8[np.ndarray, "n H W 3"] | None = None


class Progress:
    """Counts sampling steps and passes on what they show, until nobody listens any more.

    Args:
        ticket: of the request; cancelled when nobody listens.
        total: sampling steps of all its videos.
        tell: takes the news.
    """

    def __init__(self, ticket: Ticket, total: int, tell: Callable[[News], None]) -> None:
        self.ticket, self.total, self.tell = ticket, total, tell
        self.done, self._shown = 0, 0.0
        self._preview: UInt8[np.ndarray, "n H W 3"] | None = None

    def step(self, look: Look) -> None:
        """One more sampling step is done; `Predictor` calls it as `on_preview`.

        Raises:
            Cancelled: whoever asked is gone.
        """
        if self.ticket.is_cancelled:
            raise Cancelled
        self.done += 1
        if self.done < self.total and time.monotonic() - self._shown > PREVIEW_EVERY:
            self._preview, self._shown = look(PREVIEW_FRAMES)[0], time.monotonic()
        self.tell(News(done=self.done, total=self.total, preview=self._preview))


def follow(
    ticket: Ticket,
    total: int,
    work: Callable[[Progress], Any],
    at_end: Callable[[], None],
) -> Iterator[Any]:
    """Runs `work` in a thread; gives its news and, last, its result unless it was cancelled.

    Args:
        ticket: cancelling it ends the work at its next step.
        total: sampling steps of the work.
        work: is handed the progress to report to.
        at_end: called in the thread when it is over, however it ended.

    Raises:
        RequestStopped: the ticket was cancelled.
        ValueError: the work's own, for the user.
        Crashed: anything else it raised.
    """
    told: queue.SimpleQueue = queue.SimpleQueue()

    def run() -> None:
        try:
            result = work(Progress(ticket, total, lambda n: told.put(("news", n))))
            told.put(("error", Cancelled()) if ticket.is_cancelled else ("result", result))
        except (ValueError, Cancelled) as error:
            told.put(("error", error))
        except BaseException:
            traceback.print_exc()
            told.put(("error", Crashed(CRASHED)))
        finally:
            at_end()

    threading.Thread(target=run, daemon=True, name="drawing").start()
    is_stopping = False
    while True:
        try:
            kind, value = told.get(timeout=NEWS_EVERY)
        except queue.Empty:
            if ticket.is_cancelled and not is_stopping:
                is_stopping = True
                yield News(total=total, is_stopping=True)
            continue
        if kind == "error":
            if isinstance(value, Cancelled):
                raise RequestStopped
            raise value
        yield value
        if kind == "result":
            return


def hear_warnings() -> None:
    """From now on a warning goes to the request whose thread it is of, else to the log."""
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = _heard_or_printed


@contextmanager
def hearing() -> Iterator[list[str]]:
    """The warnings of this thread, as they come, for the length of the block."""
    _heard.kept = []
    try:
        yield _heard.kept
    finally:
        del _heard.kept


def _heard_or_printed(message: Warning | str, category: type[Warning], *_: object) -> None:
    if hasattr(_heard, "kept") and issubclass(category, UserWarning):
        _heard.kept.append(str(message))
    else:
        print(f"warning: {message}", file=sys.stderr)
