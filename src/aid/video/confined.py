"""Reads strangers' files in processes of their own, with limits on memory and time.

A decoder given a hostile file may take gigabytes, minutes, or the whole process with it. Here it
runs in a child process, which is killed at the limit; the caller gets one sentence. Requests are
lines of JSON, answers a JSON header and raw bytes. A child gets neither keys nor other settings of
the environment, and ends when its parent does.
"""

import atexit
import functools
import json
import math
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

NUM_PROCESSES = 4
MEGABYTES = 1024
"""That reading one file may take beyond what the process takes when idle."""
SECONDS = 10.0
PATIENCE = 60.0
"""Seconds that a file waits for those that are read before it, and for a process to start."""
LONGEST_HEADER = 4_000_000
LOOK_EVERY = 0.1
"""Seconds between two looks at whether whoever asked has gone."""
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
"""Variables of the environment that a process is given."""
REMEDY = "It was given up. Save the file anew with another program, or make it smaller"

Owner = tuple[str, str]
"""An address and a session there: whoever waits for a file."""
PROGRAM: Owner = ("", "")
"""The program itself: it may have all processes, and waits as long as that takes."""


@dataclass(frozen=True)
class Answer:
    """What a function returned: something that JSON holds, and pixels."""

    value: Any
    arrays: list[UInt8[np.ndarray, "..."]]


class Cancelled(Exception):
    """Whoever asked has gone; the process that read the file was killed."""


class _Ended(Exception):
    """A process ended by itself."""


class _Late(Exception):
    """The time is over."""


class Readers:
    """A few processes that read files, started when they are needed.

    Those who wait take turns: first the address that has the fewest files read, then the one whose
    files have taken the least time since it last had none, then the session.
    The last free process goes to an address that has no file read, so one address never has all of
    them; the program itself may.

    Args:
        size: how many processes.
    """

    def __init__(self, size: int = NUM_PROCESSES) -> None:
        self.size = size
        self._idle: list[_Reader] = []
        self._busy: set[_Reader] = set()
        self._running: Counter[Owner] = Counter()
        self._spent: Counter[str] = Counter()
        self._waiting: list[_Place] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def start(self) -> None:
        """Starts all processes, so that nobody waits for that later."""
        with self._changed:
            while len(self._idle) + sum(self._running.values()) < self.size:
                self._idle.append(_Reader())

    def ask(
        self,
        function: str,
        arguments: dict[str, Any],
        *,
        megabytes: int = MEGABYTES,
        seconds: float = SECONDS,
        owner: Owner = PROGRAM,
        is_cancelled: Callable[[], bool] = lambda: False,
        name: str = "this file",
    ) -> Answer:
        """What the function returns for the arguments, in one of the processes.

        Args:
            function: `package.module:name`; it returns a value for JSON and a list of arrays.
            arguments: by name, as JSON holds them.
            megabytes: of memory (Linux only).
            seconds: by the clock.
            owner: who asks, for fair turns.
            is_cancelled: asked while waiting and reading.
            name: of the file, for errors.

        Raises:
            ValueError: the function's own, or memory or time ran out, or the process broke down.
            Cancelled: whoever asked has gone.
        """
        request = {
            "function": function, "arguments": arguments, "megabytes": megabytes,
            "seconds": seconds, "folder": str(Path.cwd()),
        }  # fmt: skip
        with self._turn(owner, is_cancelled) as reader:
            try:
                header, arrays = reader.ask(request, seconds, is_cancelled)
            except _Late:
                raise ValueError(
                    f"reading {name} took more than {seconds:.4g} s. {REMEDY}."
                ) from None
            except (_Ended, OSError):
                raise ValueError(
                    f"reading {name} broke down the process that read it. {REMEDY}."
                ) from None
        if "refused" in header:
            raise ValueError(header["refused"])
        if "memory" in header:
            raise ValueError(f"reading {name} took more than {megabytes} MB of memory. {REMEDY}.")
        if "fault" in header:
            raise RuntimeError(f"{function}: {header['fault']}")
        return Answer(header["value"], arrays)

    def close(self) -> None:
        """Ends all processes; whoever waits is refused."""
        with self._changed:
            self._is_closed = True
            for reader in self._idle:
                reader.kill()
            for reader in self._busy:
                reader.process.kill()  # its own thread does the rest
            self._idle.clear()
            self._changed.notify_all()

    @contextmanager
    def _turn(self, owner: Owner, is_cancelled: Callable[[], bool]) -> Iterator["_Reader"]:
        place = _Place(owner)
        deadline = math.inf if owner == PROGRAM else time.monotonic() + PATIENCE
        with self._changed:
            self._waiting.append(place)
            try:
                while self._next() is not place:
                    if is_cancelled() or self._is_closed:
                        raise Cancelled
                    if time.monotonic() > deadline:
                        raise ValueError(
                            "too many files are being read at the moment. Try again soon."
                        )
                    self._changed.wait(LOOK_EVERY)
                reader = self._idle.pop() if self._idle else _Reader()
                self._running[owner] += 1
                self._busy.add(reader)
            finally:
                self._waiting.remove(place)
                self._changed.notify_all()
        started = time.monotonic()
        try:
            yield reader
        finally:
            with self._changed:
                self._running[owner] -= 1
                self._running += Counter()  # drops owners without a file
                self._spent[owner[0]] += time.monotonic() - started
                addresses = {one.owner[0] for one in self._waiting}
                addresses |= {address for address, _ in self._running}
                for address in self._spent.keys() - addresses:
                    del self._spent[address]
                self._busy.discard(reader)
                self._changed.notify_all()
                if not reader.is_usable:
                    reader.kill()
                    # Ready, most often, before it is needed.
                    self._idle += [] if self._is_closed else [_Reader()]
                else:
                    self._idle.append(reader)

    def _next(self) -> "_Place | None":
        """Who may begin now."""
        number = sum(self._running.values())
        if number >= self.size:
            return None
        addresses: Counter[str] = Counter()
        for (address, _), files in self._running.items():
            addresses[address] += files
        is_last = number == self.size - 1
        free = [
            one
            for one in self._waiting
            if one.owner == PROGRAM or not (is_last and addresses[one.owner[0]])
        ]
        return min(
            free,
            key=lambda one: (
                addresses[one.owner[0]],
                self._spent[one.owner[0]],
                self._running[one.owner],
            ),
            default=None,
        )


@dataclass(eq=False)
class _Place:
    """Somebody who waits."""

    owner: Owner


class _Reader:
    """One process. `is_usable` until it was killed, ended, or took much memory for good."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "PYTHONPATH": os.pathsep.join(paths),
            "MALLOC_ARENA_MAX": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "aid.video.confined_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self.is_ready, self.is_usable = False, True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.process.stdout, selectors.EVENT_READ)

    def ask(
        self, request: dict[str, Any], seconds: float, is_cancelled: Callable[[], bool]
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """The header and the arrays of an answer.

        Raises:
            _Late: there is none in time.
            _Ended: there is none.
            Cancelled: whoever asked has gone.
        """
        usable, self.is_usable = self.is_usable, False  # until the answer was read to its end
        if not usable:
            raise _Ended
        if not self.is_ready:
            self._read(1, time.monotonic() + PATIENCE, is_cancelled)
            self.is_ready = True
        deadline = time.monotonic() + seconds
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        length = int.from_bytes(self._read(8, deadline, is_cancelled), "big")
        if length > LONGEST_HEADER:
            raise _Ended
        header = json.loads(self._read(length, deadline, is_cancelled))
        shapes = header.get("shapes", [])
        if sum(map(math.prod, shapes)) > request["megabytes"] * 1_000_000:
            raise _Ended
        arrays = [
            np.frombuffer(
                self._read(math.prod(shape), deadline, is_cancelled), np.uint8
            ).reshape(shape)
            for shape in shapes
        ]  # fmt: skip
        self.is_usable = self._read(1, deadline, is_cancelled) == b"g"
        return header, arrays

    def kill(self) -> None:
        """Ends the process at once."""
        self.is_usable = False
        self.process.kill()
        self.process.wait()
        self._selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()

    def _read(self, size: int, deadline: float, is_cancelled: Callable[[], bool]) -> bytearray:
        buffer, have = bytearray(size), 0
        with memoryview(buffer) as view:
            while have < size:
                if is_cancelled():
                    raise Cancelled
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _Late
                if not self._selector.select(min(left, LOOK_EVERY)):
                    continue
                number = self.process.stdout.readinto(view[have:])
                if not number:
                    raise _Ended
                have += number
        return buffer


@functools.cache
def readers(size: int = NUM_PROCESSES) -> Readers:
    """The processes of this program, as many as `size`; all who name one size share them."""
    made = Readers(size)
    atexit.register(made.close)
    return made


os.register_at_fork(after_in_child=readers.cache_clear)
