"""Recipes as files of strangers: read within bounds, and no reason to go to the network.

A recipe is YAML that may be handed around. It may set any number; whom a command asks over the
network and which model it downloads is set by a flag of the user.
"""

from collections.abc import Container, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from aid.config.bounded_yaml import check_bounds, load_yaml

WRITERS = ("states", "states_from", "writer")
MODELS_AND_DATA = ("backbone", "model", "rival", "rival_backbone", "start", "data")
CODE = ("method", "rows")
LOCAL_TRACKERS = ("tensorboard", "trackio")


GROUPS = frozenset({"model", "train", "sampler", "frames"})
"""Groups of a recipe that several commands share: prepare reads some of them, train all."""
_left_out: set[str] = set()


@contextmanager
def left_out_but(own: Container[str] | None) -> Iterator[None]:
    """Within, recipes are read without the shared groups that a command does not have.

    Args:
        own: the command's; None for a command that shares no recipe.
    """
    _left_out.update(() if own is None else {name for name in GROUPS if name not in own})
    try:
        yield
    finally:
        _left_out.clear()


def read_within_bounds() -> None:
    """From now on jsonargparse reads YAML with a limit on size, depth and aliases."""
    plain = get_loader("yaml")
    if getattr(plain, "is_bounded", False):
        return

    def bounded(text: str) -> Any:
        check_bounds(text)
        values = plain(text)
        if isinstance(values, dict) and _left_out:
            return {key: value for key, value in values.items() if key not in _left_out}
        return values

    bounded.is_bounded = True
    set_loader("yaml", bounded, (yaml.YAMLError,))


def check_readable(arguments: Sequence[str]) -> None:
    """Refuses recipes among the arguments that are no settings by name, and says which one.

    Raises:
        ValueError: a file is no YAML, or holds something else.
    """
    for one, following in pairwise([*arguments, ""]):
        name = following if one == "--config" else one.removeprefix("--config=")
        if name == one:
            continue
        try:
            values = load_yaml(Path(name).read_text(encoding="utf-8"))
        except OSError:
            continue  # the parser says that there is no such file
        except ValueError as error:
            raise ValueError(f"recipe {name!r} cannot be read: {error}") from None
        if not isinstance(values, dict | None):
            raise ValueError(
                f"recipe {name!r} must be settings by name, got a {type(values).__name__}."
            )


def check_reach(recipes: Iterable[Path], flags: Set[str]) -> None:
    """Refuses recipes that name what only a flag may name.

    Args:
        recipes: the files.
        flags: names of the flags that the user gave, without dashes; these count instead.

    Raises:
        ValueError: a recipe names a language model, a server, a URL, a model or data set of the
            hub, code that would be run, or a tracker that sends what it is told.
    """
    for path in recipes:
        values = load_yaml(path.read_text(encoding="utf-8"))
        for key, value in _leaves(values if isinstance(values, dict) else {}):
            if key not in flags and (what := _reach(key, value)):
                shown = value if isinstance(value, str) else ", ".join(map(str, value))
                raise ValueError(
                    f"recipe {str(path)!r} says {key}: {shown[:200]!r}, {what}. A recipe may come "
                    f"from a stranger, so say it yourself: --{key} ..."
                )


def settings_in(recipes: Iterable[Path]) -> frozenset[str]:
    """Names of the settings that recipes give, with dots: `frames.fps`."""
    read = (load_yaml(path.read_text(encoding="utf-8")) for path in recipes)
    return frozenset(
        key for values in read if isinstance(values, dict) for key, _ in _leaves(values)
    )


def _leaves(values: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _reach(key: str, value: Any) -> str:
    """What a setting would reach for beyond this machine's folders; empty for nothing."""
    if key.endswith("trackers") and isinstance(value, list):
        return "which may send the log elsewhere" if set(value) - set(LOCAL_TRACKERS) else ""
    if key in CODE and any(":" in one or one.endswith(".py") for one in _texts(value)):
        return "code that would be run"
    if not isinstance(value, str):
        return ""
    from aid.conditioning.addresses import SCHEMES
    from aid.models.folder import is_name

    if key in WRITERS and value.startswith(SCHEMES):
        return "a language model or a server"
    if "://" in value:
        return "which lies behind a URL"
    if key in MODELS_AND_DATA and is_name(value):
        return "which is no folder here and would be looked for on the Hugging Face Hub"
    return ""


def _texts(value: Any) -> list[str]:
    """The texts in a setting that is one or a list of them."""
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
