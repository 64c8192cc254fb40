"""Shards shared by the ranks of one job, as `torchrun` and `accelerate launch` start them.

Rank 0 does what `run` says; the others only make shards, each on a device of its own, and write
them to the cache themselves. A rank that is free takes the next shard. All is said through the
key-value store in which the launcher's processes find each other. There is no collective: a rank
that waits for others looks whether they are alive, so nobody waits for the dead.
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
from aid.prepare.first_frames import First, encode_first_frames
from aid.prepare.job import Encode, Job, Made, Spent, Tell, line_of
from aid.prepare.videos import encode_videos
from aid.types import VideoRow

PATIENCE = 120.0
"""Seconds without a sign of life after which a rank counts as dead."""
POLL = 0.1
"""Seconds between two looks for what another rank has to say."""
FAREWELL = 10.0
"""Seconds that rank 0 waits for the others to leave, because it may be what keeps the store."""
KINDS: dict[str, tuple[Encode, Callable[[dict], Any]]] = {
    "encode_videos": (encode_videos, VideoRow.from_json),
    "encode_first_frames": (encode_first_frames, lambda row: First(**row)),
}
"""What makes a kind of shards, and what makes a row of it again."""


class _Over(Exception):
    """Rank 0 has nothing more to do for the others."""


class Ranks:
    """This process among those of the launcher.

    Args:
        store: shared by all of them.
        rank: number of this one.
        size: how many there are.
    """

    def __init__(self, store: distributed.Store, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.others = [other for other in range(size) if other != rank]
        self._store, self._steps = store, 0
        self._beats: dict[int, tuple[int, float]] = {}
        self._has_left = threading.Event()
        threading.Thread(target=self._live, name="alive", daemon=True).start()

    def _live(self) -> None:
        while not self._has_left.is_set():
            try:
                self._store.add(f"alive/{self.rank}", 1)
            except RuntimeError:  # the store is gone; whoever needs it will see
                return
            self._has_left.wait(PATIENCE / 12)

    def say(self, key: str, value: Any) -> None:
        """Tells the others a JSON value."""
        self._store.set(key, json.dumps(value))

    def has(self, key: str) -> bool:
        """Whether somebody said that."""
        return self._store.check([key])

    def hear(self, key: str, who: list[int], on_poll: Callable[[], None] = lambda: None) -> Any:
        """What one of some ranks says, once it does.

        Raises:
            ValueError: what one of them met.
            OSError: one of them is dead, or its disk is full.
        """
        while not self.has(key):
            self.look(who)
            on_poll()
            time.sleep(POLL)
        return json.loads(self._store.get(key))

    def look(self, who: Iterable[int]) -> None:
        """Raises what one of these ranks met, or that it is dead."""
        if self.rank and self.has("end"):
            raise _Over
        for rank in who:
            if self.rank == 0 and self.has(f"error/{rank}"):
                met = json.loads(self._store.get(f"error/{rank}"))
                raise (ValueError if met["is_users"] else OSError)(met["error"])
            beat, now = self._store.add(f"alive/{rank}", 0), time.monotonic()
            before, seen = self._beats.get(rank, (-1, now))
            if beat != before:
                self._beats[rank] = (beat, now)
            elif now - seen > PATIENCE:
                raise OSError(
                    f"rank {rank} has given no sign of life for {PATIENCE:.0f} s. Start the job "
                    "again: finished shards are kept"
                )

    def begin(self, kind: str, shards: list[list[Any]]) -> int:
        """Hands out shards, as rank 0; returns the step's number."""
        self._steps += 1
        for number, rows in enumerate(shards):
            self.say(f"{self._steps}/rows/{number}", [line_of(row) for row in rows])
        self.say(f"{self._steps}/kind", [kind, len(shards)])
        return self._steps

    def work(self, step: int, job: Job, tell: Tell) -> Iterator[None]:
        """Takes shards of a step until none is left; says what was made of each."""
        kind, total = self.hear(f"{step}/kind", [0])
        encode, restore = KINDS[kind]
        numbers: deque[int] = deque()

        def take() -> Iterator[list[Any]]:
            while (number := self._store.add(f"{step}/taken", 1) - 1) < total:
                numbers.append(number)
                yield [restore(row) for row in self.hear(f"{step}/rows/{number}", [0])]
                self._store.delete_key(f"{step}/rows/{number}")

        def tell_all(spent: Spent) -> None:
            for name, value in asdict(spent).items():
                is_time = isinstance(value, float)
                self._store.add(f"{step}/{name}", round(1e6 * value) if is_time else value)
            tell(spent)

        for made in encode(job, take(), tell_all):
            self.say(f"{step}/made/{numbers.popleft()}", asdict(made))
            yield

    def spent(self, step: int) -> Spent:
        """What all ranks have done in a step so far."""
        values = {name: self._store.add(f"{step}/{name}", 0) for name in asdict(Spent())}
        for name in ("seconds", "waited"):
            values[name] /= 1e6
        return Spent(**values)

    def leave(self) -> None:
        """Says that this rank is done; rank 0 lets the others go first, for a while."""
        if self.rank:
            self._store.add("left", 1)
        else:
            if not self.has("end"):
                self.say("end", None)
            start = time.monotonic()
            while self._store.add("left", 0) < self.size - 1:
                if time.monotonic() - start > FAREWELL:
                    break
                time.sleep(POLL)
        self._has_left.set()


_here: Ranks | None = None
_jobs = count(1)
"""Jobs of this process; all ranks have the same ones, one after another."""


@contextmanager
def joined() -> Iterator[Ranks | None]:
    """This process's place among the launcher's; None where it was started alone.

    A block inside of another has the same place.
    """
    global _here
    if _here is not None or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield _here
        return
    patience = timedelta(seconds=PATIENCE)
    store, rank, size = next(distributed.rendezvous("env://", timeout=patience))
    _here = Ranks(distributed.PrefixStore(f"aid-prepare-{next(_jobs)}", store), rank, size)
    try:
        yield _here
    finally:
        here, _here = _here, None
        here.leave()


def on_ranks(
    encode: Encode,
    job: Job,
    shards: list[list[Any]],
    restore: Callable[[dict], Any],
    tell: Tell,
    ranks: Ranks,
) -> Iterator[Made]:
    """What `encode(job, shards)` yields, in the same order, each shard made by some rank.

    Called by rank 0, which makes shards, too.

    Raises:
        ValueError: what a rank met.
        OSError: a rank is dead, or its disk is full.
    """
    step, told, expected = ranks.begin(encode.__name__, shards), Spent(), 0

    def catch_up(_: Spent | None = None) -> None:
        nonlocal told
        now, before = ranks.spent(step), told
        told = now
        tell(now - before)
        ranks.look(ranks.others)

    for _ in ranks.work(step, job, catch_up):
        while expected < len(shards) and ranks.has(f"{step}/made/{expected}"):
            yield Made(**ranks.hear(f"{step}/made/{expected}", []))
            expected += 1
    for number in range(expected, len(shards)):
        yield Made(**ranks.hear(f"{step}/made/{number}", ranks.others, catch_up))
    catch_up()


def share(job: Job, ranks: Ranks) -> None:
    """Tells the other ranks what is to be made, and waits until each could begin.

    Raises:
        ValueError: one has no device of its own, or too little memory there.
    """
    ranks.say("job", to_json(job))
    for rank in ranks.others:
        ranks.hear(f"ready/{rank}", ranks.others)


def help_out(ranks: Ranks) -> dict[str, Any]:
    """Makes shards for rank 0 until it has none left; returns what rank 0 says in the end.

    Raises:
        ValueError: rank 0 ended with an error, which it has said itself.
        OSError: rank 0 is dead.
    """
    try:
        job = from_json(Job, ranks.hear("job", [0]))
        if job.place.type != "cpu":
            job.parts  # noqa: B018  loads the encoders and tries the device's memory
        ranks.say(f"ready/{ranks.rank}", True)
        for step in count(1):
            for _ in ranks.work(step, job, lambda spent: ranks.look([0])):
                pass
    except _Over:
        pass
    except (ValueError, OSError) as error:
        met = {"error": str(error), "is_users": isinstance(error, ValueError)}
        ranks.say(f"error/{ranks.rank}", met)
    end = ranks.hear("end", [0])
    if end is None:
        raise ValueError("rank 0 has ended with an error.")
    return end
