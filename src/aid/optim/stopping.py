"""Ending a run on purpose: SIGTERM and ctrl-c let the present step finish and be saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether a signal has asked the run to end."""

    def __init__(self) -> None:
        self.is_made = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal handler; a second ctrl-c ends at once."""
        if self.is_made and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_made = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within it, SIGTERM and ctrl-c are recorded and end the run after the present step.

    Only the main thread may handle signals; in another thread nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
