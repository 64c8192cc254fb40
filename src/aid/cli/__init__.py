"""The door for people at a terminal: `aid COMMAND --flags`, made from functions with types.

Every command takes `--config recipe.yaml`, whose unknown keys are refused by name, and flags that
override it. Exit codes: 0 done, 2 the user can mend it (a wrong flag or a `ValueError`), 1 anything
else, 130 interrupted. Errors are one sentence on stderr; `--debug` adds where they came from.
"""

import inspect
import logging
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from aid import __version__
from aid.cli import (
    checking,
    drawing,
    evaluating,
    recipes,
    scoring,
    serving,
    studies,
    training,
)
from aid.cli.data import data, join
from aid.cli.states import states
from aid.config import SourceConfig
from aid.types import Stopped

COMMANDS: dict[str, Callable[..., None]] = {
    "predict": drawing.predict,
    "demo": drawing.demo,
    "tabletop": training.tabletop,
    "pretrain": training.pretrain,
    "data": data,
    "join": join,
    "states": states,
    "prepare": training.prepare,
    "train": training.train,
    "report": training.report,
    "evaluate": evaluating.evaluate,
    "score": scoring.score,
    "card": scoring.card,
    "extractor": studies.extractor,
    "ablate": studies.ablate,
    "plan": checking.plan,
    "doctor": checking.doctor,
    "web": serving.web,
}
POSITIONAL = {
    "predict": " FRAME INSTRUCTION", "report": " RUN", "score": " REAL MADE",
    "card": " MODEL",
    "data": " inspect|verify SOURCE", "join": " FOLDER '[NAME, NAME]'",
}  # fmt: skip
SOURCE_FIELDS = fields(SourceConfig)
"""Flags of each command that reads other people's data sets: `--split`, not `--asked.split`."""
WRONG_TYPE = r'Parser key "(?P<name>[^"]+)":(?:.*?\n  Given|.*? Got) value: (?P<value>.*)'
"""What jsonargparse says, in several lines, of a value that has not the flag's type."""
NO_RECIPE = r"""Parser key "(?P<name>[^"]+)":\s+Unable to load config ['"](?P<value>.*?)['"]\s.*"""
"""What it says of a value for what is a group of settings."""
REFUSED_GROUP = r"Does not validate against any of the Union.*?Errors:\s+- (?P<said>.*?)\n\s+- "
"""What it says around the sentence of a group of settings that may be left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: those after `aid`; None takes the terminal's.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")  # their notices are about their own code
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # likewise
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not arguments:
        make_parser(only="").print_help(sys.stderr)
        return 2
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            _run(arguments)
        except Stopped as stop:
            if os.environ.get("RANK", "0") == "0":
                print(f"{stop}. Go on: {_command(arguments)}", file=sys.stderr)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as error:  # the door: every failure becomes a sentence and an exit code
            if "--debug" in arguments:
                traceback.print_exc()
            is_full = type(error).__name__ == "OutOfMemoryError"  # torch's, which may not be there
            said = _less_memory(arguments[0]) if is_full else _sentence(error)
            print(f"error: {said}", file=sys.stderr)
            return 2 if is_full or isinstance(error, ValueError) else 1
    return 0


def _run(arguments: list[str]) -> None:
    parser, arguments = make_parser(only=arguments[0]), _with_values(arguments)
    parsed = parser.instantiate(parser.parse_args(arguments))
    values = parsed[parsed["command"]].as_dict()
    flags = {a[2:].partition("=")[0] for a in arguments if a.startswith("--")}
    own = [Path(str(one)) for one in values["config"] or ()]
    recipes.check_reach(own, flags)
    del values["config"], values["debug"]
    function = COMMANDS[parsed["command"]]
    if _reads_source(function):
        values["asked"] = SourceConfig(**{one.name: values.pop(one.name) for one in SOURCE_FIELDS})
    if "said" in inspect.signature(function).parameters:
        values["said"] = recipes.settings_in(own) | flags
    function(**values)


def _command(arguments: list[str]) -> str:
    """The command that runs, as a person gives it; what a launcher was told is the launcher's."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return f"the launcher's command again, with -m aid.cli {shlex.join(arguments)}"
    return shlex.join(["aid", *arguments])


def make_parser(only: str | None = None) -> ArgumentParser:
    """The parser of all commands.

    Args:
        only: one command, whose flags are enough; None makes those of all.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    recipes.read_within_bounds()
    parser = _Parser(
        prog="aid",
        version=__version__,
        usage="aid COMMAND ...",
        description="One frame and one instruction become the video of what happens next.",
    )
    subcommands = parser.add_subcommands(required=True, dest="command", metavar="COMMAND")
    for name, function in COMMANDS.items():
        summary = inspect.getdoc(function).splitlines()[0]
        own = _Parser(usage=f"aid {name}{POSITIONAL.get(name, '')} ...", description=summary)
        if only in (name, None):
            own.add_argument("--config", action="config", help="a recipe (YAML) of these settings")
            own.add_argument("--debug", type=bool, default=False, help="show where errors are from")
            own.add_function_arguments(
                function, as_group=False, as_positional=name in POSITIONAL, skip={"asked", "said"}
            )
            if _reads_source(function):
                own.add_class_arguments(SourceConfig, as_group=False)
        subcommands.add_subcommand(name, own, help=summary)
    return parser


def flags_of(command: str) -> dict[str, Any]:
    """A command's own flags and their types; those of `SourceConfig` stand among them by name."""
    types: dict[str, Any] = {"debug": bool}
    if function := COMMANDS.get(command):
        types |= {p.name: p.annotation for p in inspect.signature(function).parameters.values()}
        if _reads_source(function):
            types |= {one.name: one.type for one in SOURCE_FIELDS}
    return types


def _reads_source(function: Callable[..., None]) -> bool:
    return "asked" in inspect.signature(function).parameters


def _with_values(arguments: list[str]) -> list[str]:
    """The arguments as the parser wants them.

    `--gif` alone means `--gif=true`, for every setting of a command that is true or false, and
    `--text-guidance` means `--text_guidance`. `aid plan RECIPE` means `aid plan --config RECIPE`.
    """
    if arguments[0] == "plan" and arguments[1:2] and not arguments[1].startswith("-"):
        arguments = ["plan", "--config", *arguments[1:]]
    switches = {
        f"--{name}" for name, kind in flags_of(arguments[0]).items() if kind in (bool, bool | None)
    }
    made = []
    for argument, following in pairwise([*arguments, ""]):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            argument = f"--{name.replace('-', '_')}{equals}{value}"
        is_bare = argument in switches and following.lower() not in ("true", "false")
        made.append(f"{argument}=true" if is_bare else argument)
    return made


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _less_memory(command: str) -> str:
    """What to change where the device's memory is full."""
    remedies = {
        "precision": "--precision bfloat16", "offload": "--offload",
        "decode_chunk": "--decode_chunk 2", "batch_size": "--batch_size 1",
        "num_videos": "--num_videos 1", "train": "--train.batch_size 1",
    }  # fmt: skip
    own = [remedy for flag, remedy in remedies.items() if flag in flags_of(command)]
    return f"the device's memory is full. Try {', '.join([*own, '--device cpu'])}."


def _sentence(error: Exception) -> str:
    """What went wrong, in one line; the kind of error where the words alone would puzzle."""
    if isinstance(error, ValueError):
        refused = re.search(REFUSED_GROUP, str(error), re.DOTALL)
        return " ".join((refused["said"] if refused else str(error)).split())
    words = str(error).strip().partition("\n")[0]  # what a library adds may fill pages
    return f"{type(error).__name__}: {words or 'no more is known'} (--debug shows where)"


class _Parser(ArgumentParser):
    """Says what is wrong with the flags in one sentence."""

    def instantiate(self, cfg: Namespace, **rest: Any) -> Namespace:
        """As jsonargparse's; a single value where a recipe needs a group of settings is refused."""
        for option in self._option_string_actions:
            group, _, setting = option.removeprefix("--").rpartition(".")
            if setting and cfg.get(group) is not None and not isinstance(cfg[group], Namespace):
                raise ValueError(self._no_group(group, cfg[group]))
        return super().instantiate(cfg, **rest)

    def _no_group(self, name: str, value: Any) -> str:
        settings = [o for o in self._option_string_actions if o.startswith(f"--{name}.")]
        return f"--{name} is a group of settings, got {value}. They are {', '.join(settings)}"

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the sentence and leaves with 2."""
        command = "".join(f" {word}" for word in self.prog.split()[-1:] if word in COMMANDS)
        if refused := re.fullmatch(WRONG_TYPE, message, re.DOTALL):
            action = next((a for a in self._actions if a.dest == refused["name"]), None)
            if wanted := _words_of(getattr(action, "_typehint", None)):
                dashes = "--" if action.option_strings else ""
                message = f"{dashes}{refused['name']} must be {wanted}, got {refused['value']}"
        if refused := re.fullmatch(NO_RECIPE, message, re.DOTALL):
            message = self._no_group(refused["name"], refused["value"])
        sys.stderr.write(f"error: {' '.join(message.split())}. See: aid{command} --help\n")
        raise SystemExit(2)


def _words_of(kind: Any) -> str:
    """A type as somebody who does not program would say it; empty if there are no such words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not NoneType]
    if origin is Literal:
        return f"{'one of ' * (len(parts) > 1)}{', '.join(map(str, parts))}"
    inside = ["..." if part is ... else _words_of(part) for part in parts]
    if origin in (tuple, list) and all(inside):
        return f"[{', '.join([*inside, *['...'] * (origin is list)])}]"
    if origin in (Union, UnionType) and all(inside):
        return " or ".join(inside)
    return words.get(kind, "")
