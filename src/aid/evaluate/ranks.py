"""The processes that a launcher started share the rows of an evaluation; files say what is done.

`torchrun` and `accelerate launch` tell each process its rank. No process waits for another one for
ever: what a dead process left undone is done by whoever needs it.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PATIENCE = 60.0
"""Seconds without a new file after which the other processes count as dead."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    number: int = 1

    @classmethod
    def from_launcher(cls) -> "Ranks":
        """As the launcher's environment says; alone without one."""
        return cls(rank=int(os.environ.get("RANK", 0)), number=int(os.environ.get("WORLD_SIZE", 1)))

    @property
    def is_first(self) -> bool:
        """Whether this process writes the score card."""
        return self.rank == 0

    def share(self, items: Sequence) -> Sequence:
        """This process's part of some items."""
        return items[self.rank :: self.number]

    def wait(
        self,
        count: Callable[[], int],
        total: int,
        slowest: float = 0.0,
        on_done: Callable[[int, int], None] | None = None,
    ) -> None:
        """Waits until everything is there, or nothing new has come for too long.

        Args:
            count: how much is there.
            total: how much there will be.
            slowest: seconds that this process's slowest item took; others may need as long.
            on_done: told (there, total) while waiting.
        """
        if self.number == 1:
            return
        patience = max(PATIENCE, 4 * slowest)
        there, changed = count(), time.monotonic()
        while there < total and time.monotonic() - changed < patience:
            time.sleep(min(1.0, patience / 10))
            if (now := count()) != there:
                there, changed = now, time.monotonic()
                if on_done is not None:
                    on_done(there, total)


ALONE = Ranks()
"""One process, without a launcher."""
