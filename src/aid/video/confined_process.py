"""The process in which strangers' files are read; `confined` starts it and talks to it by pipes."""

import importlib
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import PIL.Image

GRACE = 5.0
"""Seconds after the time limit when the process ends itself, if its parent does not end it."""
MUCH, MUCH_OF_LIMIT = 64_000_000, 1 / 8
"""Bytes, and a share of the limit: a process that keeps more after an answer is replaced."""
SIZES = Path("/proc/self/statm")


def main() -> None:
    """Answers requests until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed does not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the parent, which ends this one
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    PIL.Image.init()
    av.logging.set_level(None)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    usual = _size()
    _send(answers, b"r")
    while True:
        request = json.loads(requests.get())
        header, arrays = _limited(request, usual)
        content = json.dumps(header | {"shapes": [array.shape for array in arrays]}).encode()
        _send(answers, len(content).to_bytes(8, "big") + content)
        for array in arrays:
            _send(answers, np.ascontiguousarray(array).data)
        del header, arrays
        much = max(MUCH, MUCH_OF_LIMIT * 1e6 * request["megabytes"])
        _send(answers, b"g" if _size() - usual < much else b"m")


def _listen(requests: "queue.SimpleQueue[bytes]") -> None:
    """Passes requests on, and ends the process when the parent has, whatever is being read."""
    for line in sys.stdin.buffer:
        requests.put(line)
    os._exit(0)


def _send(answers: BinaryIO, content: Any) -> None:
    answers.write(content)
    answers.flush()


def _size() -> int:
    """Bytes of this process's address space; 0 where the system does not say."""
    if not SIZES.exists():
        return 0
    return int(SIZES.read_text().split()[0]) * resource.getpagesize()


def _limited(request: dict[str, Any], usual: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The header and the arrays for a request, made within its limits."""
    os.chdir(request["folder"])
    module, _, name = request["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    if usual:
        allowed = _size() + request["megabytes"] * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    signal.setitimer(signal.ITIMER_REAL, request["seconds"] + GRACE)
    try:
        value, arrays = function(**request["arguments"])
        return {"value": value}, arrays
    except ValueError as error:
        return {"refused": str(error)}, []
    except MemoryError:
        return {"memory": True}, []
    except Exception as error:
        traceback.print_exc()
        return {"fault": f"{type(error).__name__}: {error}"}, []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
