"""Items made ahead of their use, by one thread: decoding goes on while the backbone encodes."""

import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterator[T], depth: int) -> Iterator[T]:
    """The same items in the same order, made up to `depth` ahead.

    An error of the items is raised here, in its turn. When the caller stops early, the thread ends.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    is_over = threading.Event()

    def offer(item: Any) -> bool:
        while not is_over.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not offer((item, None)):
                    return
            offer((_END, None))
        except BaseException as error:  # whatever it is, the caller must see it
            offer((_END, error))

    thread = threading.Thread(target=work, name="decode", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        is_over.set()
        thread.join()
