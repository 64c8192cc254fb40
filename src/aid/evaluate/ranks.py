"""The processes of a launcher share the rows of an evaluation; they communicate through files.

`torchrun` and `accelerate launch` set each process's rank. No process waits for ever: rank 0 does
the work that a dead process has left.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE = 60.0
"""Seconds without a new file until the other processes count as dead."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The rank of this process and the number of processes."""

    rank: int = 0
    number: int = 1

    @classmethod
    def from_launcher(cls) -> "Ranks":
        """The values in the launcher's environment variables; one process without a launcher."""
        return cls(rank=int(os.environ.get("RANK", 0)), number=int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def is_first(self) -> bool:
        """Whether this process writes the score card."""
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """The items that this process works on."""
        return items[self.rank :: self.number]

    def wait(
        self,
        count: Callable[[], int],
        total: int,
        slowest: float = 0.0,
        on_done: Callable[[int, int], None] | None = None,
    ) -> None:
        """Waits until all items are done, or until no new item was done for too long.

        Args:
            count: returns the number of items that are done.
            total: number of all items.
            slowest: seconds that this process's slowest item took; others may need as long.
            on_done: called with (items done, total) while waiting.
        """
        if self.number == 1:
            return
        patience = max(PATIENCE, 4 * slowest)
        done, changed = count(), time.monotonic()
        while done < total and time.monotonic() - changed < patience:
            time.sleep(min(1.0, patience / 10))
            if (now := count()) != done:
                done, changed = now, time.monotonic()
                if on_done is not None:
                    on_done(done, total)


ALONE = Ranks()
"""One process, without a launcher."""
