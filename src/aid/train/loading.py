"""The input pipeline of training: a DataLoader that reads and draws the parts of the coming steps.

Every draw is a function of (seed, step, place in the step's whole batch), so what a step sees does
not depend on the number of worker processes, and a resumed run sees what the straight run saw.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from aid.config import ConditionConfig, TrainConfig
from aid.data.cache import Cache
from aid.data.order import batch_indices
from aid.models.conditions import TextTokens
from aid.optim import sample_generators
from aid.train.batches import Noised, draw_sample

NUM_WORKERS_BESIDE_A_GPU = 2


@dataclass(frozen=True, kw_only=True)
class Parts(Dataset):
    """Item `step * accumulate + part`: this process's share of one forward pass, on the CPU.

    Attributes:
        groups: videos that are drawn together, all of one length (`hard_examples.drawn_groups`).
        null: the tokens that stand for "no instruction"; None puts zeros.
        num_processes: that share each forward pass; `rank` is this one's number.
    """

    data: Cache
    groups: list[list[int]]
    condition: ConditionConfig
    null: TextTokens | None
    train: TrainConfig
    num_processes: int
    rank: int

    def __len__(self) -> int:
        """Forward passes of the whole run."""
        return self.train.steps * self.train.accumulate

    def __getitem__(self, number: int) -> Noised | ValueError | OSError:
        """The samples of a forward pass, or the error of reading them, which `Feed` raises."""
        try:
            return self._drawn(*divmod(number, self.train.accumulate))
        except (ValueError, OSError) as error:  # a DataLoader would wrap it in a worker's traceback
            return error

    def _drawn(self, step: int, part: int) -> Noised:
        train, each, together = self.train, self.train.batch_size, len(self.groups[0])
        begin = (part * self.num_processes + self.rank) * each
        places = range(begin, begin + each)
        size = each * self.num_processes * train.accumulate
        chosen = batch_indices(len(self.groups), size // together, train.seed, step)
        whole = [index for group in chosen for index in self.groups[group]]
        own = sample_generators(train.seed, step, places)
        # A group shares its noise, drawn from a generator of its own beside the samples'.
        alike = own
        if together > 1:
            alike = sample_generators(train.seed, step, [-1 - p // together for p in places])
        return Noised.cat(
            [
                draw_sample(self.data, whole[place], self.condition, self.null, train, *generators)
                for place, *generators in zip(places, own, alike, strict=True)
            ]
        )


class Feed:
    """`feed(step, part)` gives the samples of a forward pass on the device.

    Worker processes read and draw the following ones meanwhile. Passes are asked for in order; any
    other starts the workers again from there, as a resumed run does.
    """

    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.parts, self.device = parts, device
        self._items: Iterator[Noised | ValueError | OSError] = iter(())
        self._next: int | None = None

    def __call__(self, step: int, part: int = 0) -> Noised:
        """The samples of a forward pass.

        Raises:
            ValueError: a file of the cache is damaged.
            OSError: it cannot be read.
        """
        number = step * self.parts.train.accumulate + part
        if number != self._next:
            self._items = iter(self._loader(number))
        item = next(self._items)
        self._next = number + 1
        if isinstance(item, Exception):
            raise item
        return item.to(self.device, non_blocking=True)

    def close(self) -> None:
        """Ends the workers."""
        self._items, self._next = iter(()), None

    def _loader(self, number: int) -> DataLoader:
        workers, on_gpu = self.parts.train.num_workers, self.device.type == "cuda"
        if workers is None:
            workers = NUM_WORKERS_BESIDE_A_GPU if on_gpu else 0
        return DataLoader(
            self.parts,
            batch_size=None,
            sampler=range(number, len(self.parts)),
            num_workers=workers,
            pin_memory=on_gpu,
            worker_init_fn=_leave_signals_to_the_run if workers else None,
        )


def _leave_signals_to_the_run(_: int) -> None:
    """Ctrl-c reaches every process of the terminal; the run saves its state and ends its workers.

    A worker inherits the run's handlers, which only take note of a signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
