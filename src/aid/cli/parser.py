"""How the words of a command line become the arguments of a command's function."""

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from aid import __version__
from aid.cli import recipes
from aid.config import SourceConfig

Commands = Mapping[str, Callable[..., None]]

SOURCE_FIELDS = fields(SourceConfig)
"""Flags of each command that reads other people's data sets: `--split`, not `--selection.split`."""
HIDDEN = {"selection", "given"}
"""Parameters that are no flags of their own."""
WRONG_TYPE = r'Parser key "(?P<name>[^"]+)":(?:.*?\n  Given|.*? Got) value: (?P<value>.*)'
"""jsonargparse's message, of several lines, about a value of the wrong type."""
NO_RECIPE = r"""Parser key "(?P<name>[^"]+)":\s+Unable to load config ['"](?P<value>.*?)['"]\s.*"""
"""Its message about a single value where a group of settings belongs."""
WIDTH = 100


def make_parser(
    commands: Commands, groups: Mapping[str, str], positional: Mapping[str, str], only: str | None
) -> "Parser":
    """The parser of all commands.

    Args:
        commands: functions by name; a name of two words belongs to the group of its first word.
        groups: what each group is for, by name.
        positional: the arguments without a flag of a command, as its usage line shows them.
        only: one command, whose flags are enough; None makes those of all.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    recipes.read_within_bounds()
    parser = Parser(
        prog="aid",
        version=__version__,
        usage="aid COMMAND ...",
        description="One frame and one instruction become the video of what happens next.",
    )
    top = parser.add_subcommands(required=True, dest="command", metavar="COMMAND")
    nested = {}
    for name, function in commands.items():
        summary = inspect.getdoc(function).splitlines()[0]
        own = Parser(usage=f"aid {name}{positional.get(name, '')} ...", description=summary)
        own.command = name
        if only in (name, None):
            own.add_argument("--config", action="config", help="a recipe (YAML) of these settings")
            own.add_argument("--debug", type=bool, default=False, help="show where errors are from")
            own.add_function_arguments(
                function, as_group=False, as_positional=name in positional, skip=HIDDEN
            )
            if reads_source(function):
                own.add_class_arguments(SourceConfig, as_group=False)
        group, _, action = name.rpartition(" ")
        if not group:
            top.add_subcommand(name, own, help=summary)
            continue
        if group not in nested:
            of_group = Parser(usage=f"aid {group} COMMAND ...", description=groups[group])
            of_group.command = group
            top.add_subcommand(group, of_group, help=groups[group])  # before its own subcommands
            nested[group] = of_group.add_subcommands(
                required=True, dest="action", metavar="COMMAND"
            )
        nested[group].add_subcommand(action, own, help=summary)
    return parser


def name_of(arguments: Sequence[str], commands: Commands) -> str:
    """The command's name, of one word or two; what was given instead if there is none."""
    two = " ".join(arguments[:2])
    return two if two in commands else arguments[0]


def reads_source(function: Callable[..., None]) -> bool:
    """Whether a command has the flags of `SourceConfig`."""
    return "selection" in inspect.signature(function).parameters


def flags_of(function: Callable[..., None]) -> dict[str, Any]:
    """A command's own flags and their types; those of `SourceConfig` are among them."""
    parameters = inspect.signature(function).parameters.values()
    types = {"debug": bool} | {p.name: p.annotation for p in parameters if p.name not in HIDDEN}
    if reads_source(function):
        types |= {one.name: one.type for one in SOURCE_FIELDS}
    return types


def with_values(arguments: Sequence[str], parser: "Parser", words: int) -> list[str]:
    """The arguments in the form that jsonargparse reads.

    `--gif` becomes `--gif=true`, `--text-guidance` becomes `--text_guidance`, and the values of a
    setting that takes several are joined: `--guidance_interval 3 inf`, `data join FOLDER A B`.

    Args:
        arguments: those after `aid`.
        parser: the command's own.
        words: how many of the arguments are the command's name.
    """
    switches, lists = set(), {}
    for action in parser._actions:
        kind = getattr(action, "_typehint", None)
        for flag in action.option_strings:
            if kind in (bool, bool | None):
                switches.add(flag)
            if (of := _elements_of(kind)) is not None:
                lists[flag] = of
    made, rest = list(arguments[:words]), list(arguments[words:])
    for number, action in enumerate(parser.positionals):
        if (of := _elements_of(getattr(action, "_typehint", None))) is None:
            continue
        end = next((i for i, one in enumerate(rest) if one.startswith("--")), len(rest))
        if end > number:
            rest[number:end] = [_as_list(rest[number:end], of)]
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            made.append(argument)
            continue
        name, equals, value = argument[2:].partition("=")
        argument = f"--{name.replace('-', '_')}{equals}{value}"
        end = next((i for i, one in enumerate(rest) if one.startswith("--")), len(rest))
        if argument in switches and (not rest or rest[0].lower() not in ("true", "false")):
            argument += "=true"
        elif argument in lists and end:
            argument += f"={_as_list(rest[:end], lists[argument])}"
            del rest[:end]
        made.append(argument)
    return made


def _as_list(values: Sequence[str], of: type) -> str:
    """Several values as YAML; one that already is a YAML list stays."""
    if len(values) == 1 and values[0].startswith("["):
        return values[0]
    if of is float:
        values = [one.replace("inf", ".inf") if one in ("inf", "-inf") else one for one in values]
    return json.dumps(values) if of is str else f"[{', '.join(values)}]"


def _elements_of(kind: Any) -> type | None:
    """The type of the elements, if a type is that of a list or tuple; else None."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return parts[0] if parts[0] in (int, float) else str
    if origin in (Union, UnionType):
        found = [one for one in map(_elements_of, parts) if one is not None]
        return found[0] if found and len(parts) == 2 and NoneType in parts else None
    return None


class Parser(ArgumentParser):
    """jsonargparse's parser with errors of one sentence and help of one screen."""

    command = ""
    """The name of the command that it parses, of one word or two."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.allow_abbrev = False  # `--train.step` must not be taken for `--train.steps`

    @property
    def positionals(self) -> list[Any]:
        """The arguments without a flag, in their order."""
        return [
            action
            for action in self._actions
            if not action.option_strings and action is not self._subcommands_action
        ]

    def of(self, name: str) -> "Parser":
        """The parser of a command."""
        found = self
        for word in name.split():
            found = found._subcommands_action.choices[word]
        return found

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

    def _is_group(self, name: str, action: Any) -> bool:
        """Whether a flag stands for a dataclass of settings, such as `--train`."""
        kind = getattr(action, "_typehint", None)
        return any(map(is_dataclass, (kind, *get_args(kind)))) or any(
            option.startswith(f"--{name}.") for option in self._option_string_actions
        )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the sentence and leaves with 2."""
        if refused := re.fullmatch(WRONG_TYPE, message, re.DOTALL):
            action = next((a for a in self._actions if a.dest == refused["name"]), None)
            if wanted := in_words(getattr(action, "_typehint", None)):
                dashes = "--" if action.option_strings else ""
                message = f"{dashes}{refused['name']} must be {wanted}, got {refused['value']}"
        if missing := re.fullmatch(r"the following arguments are required: (.*)", message):
            return self._of_missing(missing[1].split(", "))
        if re.fullmatch(r"unrecognized arguments: [^-].*", message) and self.positionals:
            message += ". Put a text of several words in quotes"
        if refused := re.fullmatch(NO_RECIPE, message, re.DOTALL):
            message = self._no_group(refused["name"], refused["value"])
        name = f" {self.command}" * bool(self.command)
        sys.stderr.write(f"error: {' '.join(message.split())}. See: aid{name} --help\n")
        raise SystemExit(2)

    def _of_missing(self, keys: Sequence[str]) -> NoReturn:
        """Says which arguments are missing, as they are typed."""
        parser, names = self, []
        for key in keys:
            parser, rest = self, key.split(".")
            while parser._subcommands_action and rest[0] in parser._subcommands_action.choices:
                parser = parser._subcommands_action.choices[rest.pop(0)]
            name = ".".join(rest)
            is_positional = name in (action.dest for action in parser.positionals)
            names.append(name if is_positional else f"--{name}")
        parser.error(f"missing: {', '.join(names)}")

    def short_help(self, common: Sequence[str]) -> str:
        """The help of a command on one screen.

        Args:
            common: names of the flags that are explained; the others are only named.
        """
        explained, named, grouped = [], [], []
        for action in self._actions:
            flag = action.option_strings[0] if action.option_strings else action.dest.upper()
            name = flag.removeprefix("--").rstrip("+")
            if name in ("-h", "help", "config", "debug", "print_config") or "." in name:
                continue
            if self._is_group(name, action):
                grouped.append(name)
            elif not action.option_strings or action.required or name in common:
                explained.append((flag.rstrip("+"), _summary(action)))
            else:
                named.append(flag.rstrip("+"))
        column = 2 + max((len(flag) for flag, _ in explained), default=0)
        lines = [self.format_usage().strip(), "", self.description, ""]
        for flag, text in explained:
            text = textwrap.shorten(text, WIDTH - column - 2, placeholder=" ...")
            lines.append(f"  {flag:<{column}}{text}")
        every = f"aid {self.command} --help all"
        if named:
            lines += ["", "Less common:"]
            lines += textwrap.wrap(" ".join(named), WIDTH - 2, initial_indent="  ",
                                   subsequent_indent="  ")  # fmt: skip
        if grouped:
            groups = ", ".join(f"--{group}.*" for group in grouped)
            lines += ["", f"Settings, as flags or in a recipe (--config): {groups}"]
        lines += ["", f"{every} explains all of them."]
        return "\n".join(lines) + "\n"


def _summary(action: Any) -> str:
    """The first sentence of a flag's description, and its default."""
    text = " ".join((action.help or "").replace("%(default)s", "").split())
    text = re.split(r"(?<=[.;]) |\(type:", text)[0].strip().rstrip(".;")
    default = action.default
    is_said = "default" in text or default in (None, False, "==SUPPRESS==") or default == ""
    return text if is_said or action.required else f"{text} (default: {default})"


def in_words(kind: Any) -> str:
    """A type in words for people who do not program; empty if there are none."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not NoneType]
    if origin is Literal:
        return f"{'one of ' * (len(parts) > 1)}{', '.join(map(str, parts))}"
    inside = ["..." if part is ... else in_words(part) for part in parts]
    if origin in (tuple, list) and all(inside):
        return f"[{', '.join([*inside, *['...'] * (origin is list)])}]"
    if origin in (Union, UnionType) and all(inside):
        return " or ".join(inside)
    return words.get(kind, "")


def is_help(arguments: Sequence[str]) -> bool | Literal["all"]:
    """Whether help is requested, and whether all of it."""
    for one, following in pairwise([*arguments, ""]):
        if one in ("--help", "-h"):
            return "all" if following == "all" else True
    return False
