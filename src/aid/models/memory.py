"""The memory of a computation, counted without doing it.

Tensors here have a shape and a device but no storage (PyTorch's fake tensors), so the full-size
model is built and run in seconds. `train/forecast.py` uses it before anything is loaded.
"""

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class MemoryCount(TorchDispatchMode):
    """Bytes of all live tensors, as operations create them and Python frees them.

    `live` is the present sum and `peak` the highest since `restart`. Memory that kernels allocate
    internally is not counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def restart(self) -> None:
        """Forgets the peak so far."""
        self.peak = self.live

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._see(value)
        return made

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := storage._cdata) in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextmanager
def counting() -> Iterator[MemoryCount]:
    """Within it, tensors have no storage and their sizes are counted."""
    with warnings.catch_warnings(), FakeTensorMode(), MemoryCount() as count:
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield count


@contextmanager
def with_storage() -> Iterator[None]:
    """Within it, tensors have storage even inside `counting`; for code that needs it."""
    with unset_fake_temporarily():
        yield


def has_storage(tensor: Tensor) -> bool:
    """Whether a tensor has storage, so is not only counted."""
    return not isinstance(tensor, FakeTensor)
