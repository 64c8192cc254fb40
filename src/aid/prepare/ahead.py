"""Items made ahead of their use, by one thread: decoding goes on while the backbone encodes."""

import queue
import threading
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END = object()


class Ahead(Generic[T]):
    """The same items in the same order, made up to `depth` ahead.

    An error of the items is raised here, in its turn. When the caller stops early, the thread ends.
    `waited` is how many seconds the caller has stood still because the next item was not made yet.
    """

    def __init__(self, items: Iterable[T], depth: int) -> None:
        self.waited = 0.0
        self._items = items
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._is_over = threading.Event()

    def _offer(self, item: Any) -> bool:
        while not self._is_over.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _work(self) -> None:
        try:
            for item in self._items:
                if not self._offer((item, None)):
                    return
            self._offer((_END, None))
        except BaseException as error:  # whatever it is, the caller must see it
            self._offer((_END, error))

    def __iter__(self) -> Iterator[T]:
        """The items, once."""
        thread = threading.Thread(target=self._work, name="decode", daemon=True)
        thread.start()
        try:
            while True:
                asked = monotonic()
                item, error = self._queue.get()
                self.waited += monotonic() - asked
                if error is not None:
                    raise error
                if item is _END:
                    return
                yield item
        finally:
            self._is_over.set()
            thread.join()
