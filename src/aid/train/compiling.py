"""torch.compile for the UNet of a training run: what it needs, and its failures in one sentence."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Check = TypeVar("Check", bound=Callable)


def compile_unet(unet: nn.Module, device: torch.device) -> None:
    """Compiles the UNet in place, when it is first called; its tensors and their names stay.

    For one shape only, which every part of every batch has.

    Raises:
        ValueError: this machine lacks what compiling for a CPU needs.
    """
    if device.type == "cpu":
        _require_tools()
    unet.compile(dynamic=False)


def as_written(check: Check) -> Check:
    """`check` with nothing compiled: it has other shapes, for each of which torch would compile."""
    return torch.compiler.set_stance("force_eager")(check)


@contextmanager
def plain_errors() -> Iterator[None]:
    """While it lasts, a failure of torch's compiler is a sentence, not pages of compiler output.

    Raises:
        ValueError: torch.compile failed; what it printed is the cause (`--debug` shows it).
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        cause = getattr(error, "inner_exception", error)
        first = str(cause).strip().partition("\n")[0]
        raise ValueError(
            f"torch.compile failed ({first}). Train without it (--train.use_compile false), or see "
            "with --debug what it printed."
        ) from error


def _require_tools() -> None:
    usual = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", usual)
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    without = "or train without --train.use_compile."
    if shutil.which(compiler) is None:
        raise ValueError(
            f"train.use_compile needs a C++ compiler, and {compiler!r} is not there. Install one "
            f"(Debian: apt-get install g++), name another in the variable CXX, {without}"
        )
    if not headers.is_file():
        raise ValueError(
            f"train.use_compile needs Python's headers, and {str(headers)!r} is not there. Install "
            f"them (Debian: apt-get install python3-dev), {without}"
        )
