"""Finds the class of a method: a rival, an installed package's, or one in a file of the user's.

Code comes from here and from installed packages only, or from where a flag of the user says. A
checkpoint, a data set or a run's folder names no code.
"""

import hashlib
import importlib
import importlib.util
import inspect
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from aid.rivals.method import Method, Sizes

GROUP = "aid.methods"
"""The group of entry points with which a package adds methods: `name = "package.module:Class"`."""
RIVALS = {
    "simvp": "aid.rivals.simvp:SimVP",
    "pvdm": "aid.rivals.pvdm:PVDM",
    "videofusion": "aid.rivals.videofusion:VideoFusion",
    "tune_a_video": "aid.rivals.tune_a_video:TuneAVideo",
    "seer": "aid.rivals.seer:Seer",
}
FUNCTIONS = ("trained", "loss", "draw")
SPACES = ("pixels", "latents")
TOLERANCE = 1e-6
"""Of the sum of the stages' shares."""


def is_code(name: str) -> bool:
    """Whether a name says where code is: `package.module:Class`, `file.py` or `file.py:Class`."""
    return ":" in name or name.endswith(".py")


def find_method(name: str) -> type:
    """The class of a method.

    Args:
        name: a rival's name, one of an entry point of the group `aid.methods`,
            "package.module:Class", or a Python file, with ":Class" if it has several methods.

    Raises:
        ValueError: there is no such method, its code cannot be imported, or it is no method.
    """
    installed = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    place = ({**installed, **RIVALS}).get(name, name)
    if not is_code(place):
        known = ", ".join(sorted({*installed, *RIVALS}))
        raise ValueError(
            f"method {name!r} is unknown. Methods: {known}; or a class of your own: "
            "package.module:Class, or file.py:Class."
        )
    where, _, wanted = place.rpartition(":") if not place.endswith(".py") else (place, "", "")
    module = _load(where, name)
    if not wanted:
        wanted = _only_method(module, name)
    found = getattr(module, wanted, None)
    if not inspect.isclass(found):
        raise ValueError(f"method {name!r}: {where} has no class {wanted!r}. Correct the name.")
    if missing := [one for one in FUNCTIONS if not callable(getattr(found, one, None))]:
        raise ValueError(
            f"method {name!r} has no {missing[0]!r}. A method offers what aid.rivals.method says."
        )
    if getattr(found, "space", None) not in SPACES:
        raise ValueError(
            f"method {name!r} must have the class attribute space, 'pixels' or 'latents', got "
            f"{getattr(found, 'space', None)!r}."
        )
    return found


def code_digest(name: str) -> str | None:
    """A digest of the user's own file, so that a changed one is noticed; None for other methods."""
    path = _file_of(name)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def title_of(name: str, method: type) -> str:
    """The name of a method in tables."""
    return str(getattr(method, "title", None) or (method.__name__ if is_code(name) else name))


def make_method(name: str, sizes: Sizes, seed: int) -> Method:
    """A new method, whose first weights depend on the seed.

    A rival's name, such as simvp, makes its small preset, which learns something on a CPU;
    `aid.rivals.simvp:SimVP` has the paper's sizes.

    Raises:
        ValueError: as `find_method`, or what it says about itself does not fit together.
    """
    found = find_method(name)
    with torch.random.fork_rng(devices=[]):  # weights are made on the CPU
        torch.manual_seed(seed)
        # Choice: a rival's name means its small preset; its class has the paper's sizes.
        made = found(sizes, found.small) if name in RIVALS else found(sizes)
    for attribute in ("reads_text", "stages", "network"):
        if not hasattr(made, attribute):
            raise ValueError(
                f"method {name!r} has no {attribute!r}. A method offers what aid.rivals.method "
                "says."
            )
    if not isinstance(made.network, nn.Module):
        raise ValueError(
            f"method {name!r}: its network must be a torch.nn.Module, got "
            f"{type(made.network).__name__}."
        )
    shares = dict(made.stages)
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > TOLERANCE:
        raise ValueError(
            f"method {name!r}: the shares of its stages must be above 0 and sum to 1, got {shares}."
        )
    own = {id(parameter) for parameter in made.network.parameters()}
    for stage in shares:
        trained = made.trained(stage)
        if not trained or any(id(parameter) not in own for parameter in trained.values()):
            raise ValueError(
                f"method {name!r}: stage {stage!r} must train parameters of its network."
            )
    return made


def _file_of(name: str) -> Path | None:
    where = name if name.endswith(".py") else name.rpartition(":")[0]
    return Path(where) if where.endswith(".py") else None


def _load(where: str, name: str) -> ModuleType:
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except ImportError as error:
            raise ValueError(
                f"method {name!r} cannot be imported ({error}). Install its package, or correct "
                "the name."
            ) from None
    path = Path(where)
    if not path.is_file():
        raise ValueError(f"method {name!r}: file {where!r} does not exist. Correct the path.")
    spec = importlib.util.spec_from_file_location(f"aid_method_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's own file does wrong is said in one sentence
        raise ValueError(
            f"method {name!r} cannot be imported ({type(error).__name__}: {error}). Correct the "
            "file."
        ) from error
    return module


def _only_method(module: ModuleType, name: str) -> str:
    def is_method(value: Any) -> bool:
        return (
            inspect.isclass(value)
            and value.__module__ == module.__name__
            and any(hasattr(value, one) for one in FUNCTIONS)
        )

    found = [key for key, value in vars(module).items() if is_method(value)]
    if len(found) != 1:
        many = f"several methods ({', '.join(found)})" if found else "no method"
        raise ValueError(f"method {name!r}: the file has {many}. Name the class: {name}:Class.")
    return found[0]
