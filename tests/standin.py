"""A device for tests of machines without a GPU: "standin", whose tensors compute on the CPU.

It behaves as an accelerator does where code goes wrong: an operation on tensors of two devices
raises, so does `.numpy()`, and a CPU generator cannot draw on it. `.to()` and `.cpu()` move.

`register()` changes torch for the whole process and cannot be undone, so only processes of their
own call it (`standin_path.py`). It stands on torch's experimental hooks for a backend in Python.
"""

import functools
from typing import Any

import torch
from torch import library
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_iter, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"
ATEN = torch.ops.aten
MOVES = (ATEN._to_copy.default, ATEN.copy_.default)
READ_CPU_INDICES = (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default)
"""These take a CPU tensor as an index on CUDA, too."""


class StandInTensor(torch.Tensor):
    """A tensor that says it is on the device; `on_cpu` holds its numbers."""

    on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls, on_cpu: torch.Tensor) -> "StandInTensor":
        """Wraps a CPU tensor without a copy."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            layout=on_cpu.layout,
            device=torch.device(NAME, 0),
        )
        made.on_cpu = on_cpu
        return made

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """What torch does with a tensor without its dispatcher: lists as indices, leaving torch."""
        kwargs = kwargs or {}
        if func in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError(f"a tensor on {NAME!r} cannot become a NumPy array; use .cpu() first")
        if func is torch.Tensor.tolist:
            return args[0].cpu().tolist()
        indexing = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
        if func in indexing and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]), *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Every operation on such a tensor."""
        return compute(func, args, kwargs or {})


def compute(func: Any, args: tuple, kwargs: dict) -> Any:
    """The operation on the CPU; its result is on the device that a real one would leave it on."""
    tensors = [one for one in tree_iter((args, kwargs)) if isinstance(one, torch.Tensor)]
    ours = [one for one in tensors if isinstance(one, StandInTensor)]
    asked = None if kwargs.get("device") is None else torch.device(kwargs["device"])
    generator = kwargs.get("generator")
    if generator is not None and (ours or (asked and asked.type == NAME)):
        raise RuntimeError(f"{func} on {NAME!r} cannot draw from a generator of {generator.device}")
    # A single number of the CPU may join an operation of CUDA tensors, too.
    others = [one for one in tensors if not isinstance(one, StandInTensor) and one.dim() > 0]
    may_mix = asked is not None or func in (*MOVES, *READ_CPU_INDICES)
    if ours and others and not may_mix:
        raise RuntimeError(f"{func} got tensors on two devices, {NAME!r} and 'cpu'")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu"), "pin_memory": None}
        if "pin_memory" not in {one.name for one in func._schema.arguments}:
            del kwargs["pin_memory"]
    out = func(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
    if not (asked.type == NAME if asked else bool(ours)) or (
        func is ATEN.copy_.default and not isinstance(args[0], StandInTensor)
    ):
        return args[0] if func is ATEN.copy_.default else out
    known = {id(one.on_cpu): one for one in ours}  # what was changed in place stays the same object

    def on_device(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else StandInTensor(value)

    return tree_map(on_device, out)


def _on_cpu(value: Any) -> Any:
    return value.on_cpu if isinstance(value, StandInTensor) else value


class _Backend:
    """What torch asks of `torch.standin`."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_kept: list[Any] = []


def register() -> None:
    """Makes the device known to torch, in this process and for good."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    kernels = library.Library("_", "IMPL")
    kernels.fallback(lambda op, *args, **kwargs: compute(op, args, kwargs), "PrivateUse1")
    _kept.append(kernels)
    # These make their tensor on the device without the dispatcher, or enlarge an empty one, which
    # a wrapper cannot follow. `with torch.device(...)` knows them as they are now.
    _device_constructors()
    for name in ("tensor", "as_tensor", "arange", "eye"):
        setattr(torch, name, _made_first(getattr(torch, name)))


def _made_first(make: Any) -> Any:
    @functools.wraps(make)
    def wrapped(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if device is None:
            return make(*args, **kwargs)
        return make(*args, **kwargs).to(device)

    return wrapped
