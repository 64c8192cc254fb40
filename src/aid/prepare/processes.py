"""Shards made by several processes, as `torchrun` and `accelerate launch` start them.

Rank 0 runs `prepare`; the others only make shards, each on a device of its own, and write them to
the cache themselves. A free rank takes the next shard. Messages go through the launcher's key-value
store. There is no collective operation: a rank that waits for others checks their heartbeats, so it
never waits for a dead process.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from itertools import count
from typing import Any

from torch import distributed

from aid.config import from_json, to_json
from aid.prepare.encoding import Encode, EncodingJob, OnProgress, Progress, ShardResult, row_as_json
from aid.prepare.first_frames import First, encode_first_frames
from aid.prepare.videos import encode_videos
from aid.types import VideoRow

TIMEOUT = 120.0
"""Seconds without a heartbeat after which a rank counts as dead."""
POLL_INTERVAL = 0.1
"""Seconds between two checks for a message of another rank."""
EXIT_TIMEOUT = 10.0
"""Seconds that rank 0 waits for the others to exit, because its process may hold the store."""
KINDS: dict[str, tuple[Encode, Callable[[dict], Any]]] = {
    "encode_videos": (encode_videos, VideoRow.from_json),
    "encode_first_frames": (encode_first_frames, lambda row: First(**row)),
}
"""For each kind of shards, the function that makes them and the one that restores their rows."""


class _Finished(Exception):
    """Rank 0 has no more work for the others."""


class ProcessGroup:
    """The processes of the launcher, seen from this one.

    Args:
        store: key-value store of all of them.
        rank: of this process.
        size: number of processes.
    """

    def __init__(self, store: distributed.Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.others = [other for other in range(size) if other != rank]
        self._store, self._steps = store, 0
        self._heartbeats: dict[int, tuple[int, float]] = {}
        self._is_closed = threading.Event()
        threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True).start()

    def _send_heartbeats(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._store.add(f"alive/{self.rank}", 1)
            except RuntimeError:  # the store is gone; the next message raises
                return
            self._is_closed.wait(TIMEOUT / 12)

    def send(self, key: str, value: Any) -> None:
        """Publishes a JSON value to the others."""
        self._store.set(key, json.dumps(value))

    def has(self, key: str) -> bool:
        """Whether a value of that key was sent."""
        return self._store.check([key])

    def receive(
        self, key: str, ranks: list[int], on_poll: Callable[[], None] = lambda: None
    ) -> Any:
        """Waits for a value from one of some ranks.

        Raises:
            ValueError: an error of one of them.
            OSError: one of them is dead, or its disk is full.
        """
        while not self.has(key):
            self.check(ranks)
            on_poll()
            time.sleep(POLL_INTERVAL)
        return json.loads(self._store.get(key))

    def check(self, ranks: Iterable[int]) -> None:
        """Raises an error of one of these ranks, or that it is dead."""
        if self.rank and self.has("end"):
            raise _Finished
        for rank in ranks:
            if self.rank == 0 and self.has(f"error/{rank}"):
                error = json.loads(self._store.get(f"error/{rank}"))
                raise (ValueError if error["is_users"] else OSError)(error["message"])
            beat, now = self._store.add(f"alive/{rank}", 0), time.monotonic()
            before, seen = self._heartbeats.get(rank, (-1, now))
            if beat != before:
                self._heartbeats[rank] = (beat, now)
            elif now - seen > TIMEOUT:
                raise OSError(
                    f"rank {rank} has not sent a heartbeat for {TIMEOUT:.0f} s. Start the job "
                    "again: finished shards are kept"
                )

    def begin(self, kind: str, shards: list[list[Any]]) -> int:
        """Publishes the shards of a step, as rank 0; returns the number of the step."""
        self._steps += 1
        for number, rows in enumerate(shards):
            self.send(f"{self._steps}/rows/{number}", [row_as_json(row) for row in rows])
        self.send(f"{self._steps}/kind", [kind, len(shards)])
        return self._steps

    def work(self, step: int, job: EncodingJob, on_progress: OnProgress) -> Iterator[None]:
        """Makes shards of a step until none is left, and sends the result of each."""
        kind, total = self.receive(f"{step}/kind", [0])
        encode, restore = KINDS[kind]
        numbers: deque[int] = deque()

        def take() -> Iterator[list[Any]]:
            while (number := self._store.add(f"{step}/taken", 1) - 1) < total:
                numbers.append(number)
                yield [restore(row) for row in self.receive(f"{step}/rows/{number}", [0])]
                self._store.delete_key(f"{step}/rows/{number}")

        def report(progress: Progress) -> None:
            for name, value in asdict(progress).items():
                is_time = isinstance(value, float)
                self._store.add(f"{step}/{name}", round(1e6 * value) if is_time else value)
            on_progress(progress)

        for made in encode(job, take(), report):
            self.send(f"{step}/made/{numbers.popleft()}", asdict(made))
            yield

    def progress(self, step: int) -> Progress:
        """The progress of all ranks in a step so far."""
        values = {name: self._store.add(f"{step}/{name}", 0) for name in asdict(Progress())}
        for name in ("seconds", "waited"):
            values[name] /= 1e6
        return Progress(**values)

    def close(self) -> None:
        """Announces that this rank is done; rank 0 lets the others exit first, for a while."""
        if self.rank:
            self._store.add("left", 1)
        else:
            if not self.has("end"):
                self.send("end", None)
            start = time.monotonic()
            while self._store.add("left", 0) < self.size - 1:
                if time.monotonic() - start > EXIT_TIMEOUT:
                    break
                time.sleep(POLL_INTERVAL)
        self._is_closed.set()


_here: ProcessGroup | None = None
_jobs = count(1)
"""Numbers of this process's jobs; all ranks have the same jobs in the same order."""


@contextmanager
def process_group() -> Iterator[ProcessGroup | None]:
    """The launcher's processes; None if this process was started without a launcher.

    Nested blocks get the same object.
    """
    global _here
    if _here is not None or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield _here
        return
    patience = timedelta(seconds=TIMEOUT)
    store, rank, size = next(distributed.rendezvous("env://", timeout=patience))
    _here = ProcessGroup(distributed.PrefixStore(f"aid-prepare-{next(_jobs)}", store), rank, size)
    try:
        yield _here
    finally:
        here, _here = _here, None
        here.close()


def on_ranks(
    encode: Encode,
    job: EncodingJob,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    on_progress: OnProgress,
    group: ProcessGroup,
) -> Iterator[ShardResult]:
    """Yields what `encode(job, shards)` would, in that order; any rank makes a shard.

    Called by rank 0, which makes shards, too.

    Raises:
        ValueError: an error of a rank.
        OSError: a rank is dead, or its disk is full.
    """
    step, reported, expected = group.begin(encode.__name__, shards), Progress(), 0

    def report(_: Progress | None = None) -> None:
        nonlocal reported
        now, before = group.progress(step), reported
        reported = now
        on_progress(now - before)
        group.check(group.others)

    for _ in group.work(step, job, report):
        while expected < len(shards) and group.has(f"{step}/made/{expected}"):
            yield ShardResult(**group.receive(f"{step}/made/{expected}", []))
            expected += 1
    for number in range(expected, len(shards)):
        yield ShardResult(**group.receive(f"{step}/made/{number}", group.others, report))
    report()


def send_job(job: EncodingJob, group: ProcessGroup) -> None:
    """Sends the job to the other ranks, and waits until each is ready.

    Raises:
        ValueError: one has no device of its own, or too little memory there.
    """
    group.send("job", to_json(job))
    for rank in group.others:
        group.receive(f"ready/{rank}", group.others)


def work_for_rank_0(group: ProcessGroup) -> dict[str, Any]:
    """Makes shards until rank 0 has no more; returns the result that rank 0 sends.

    Raises:
        ValueError: rank 0 ended with an error, which it has printed itself.
        OSError: rank 0 is dead.
    """
    try:
        job = from_json(EncodingJob, group.receive("job", [0]))
        if job.place.type != "cpu":
            job.parts  # noqa: B018  loads the encoders and tries the device's memory
        group.send(f"ready/{group.rank}", True)
        for step in count(1):
            for _ in group.work(step, job, lambda progress: group.check([0])):
                pass
    except _Finished:
        pass
    except (ValueError, OSError) as error:
        message = {"message": str(error), "is_users": isinstance(error, ValueError)}
        group.send(f"error/{group.rank}", message)
    end = group.receive("end", [0])
    if end is None:
        raise ValueError("rank 0 has ended with an error.")
    return end
