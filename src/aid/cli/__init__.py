"""The command line: `aid COMMAND --flags`, made from functions with types.

Every command takes `--config recipe.yaml`, whose unknown keys are refused by name, and flags that
override it. Exit codes: 0 done, 2 an error that the user can mend (a wrong flag or a `ValueError`),
1 any other error, 130 interrupted. Errors are one sentence on stderr; `--debug` adds the traceback.
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
from pathlib import Path
from typing import Any

from aid.cli import (
    ablating,
    checking,
    data,
    evaluating,
    predicting,
    recipes,
    scoring,
    serving,
    states,
    tabletop,
    training,
)
from aid.cli import parser as parsing
from aid.cli.parser import SOURCE_FIELDS, Parser, reads_source
from aid.config import SourceConfig
from aid.files import is_folder
from aid.types import Stopped

COMMANDS: dict[str, Callable[..., None]] = {
    "predict": predicting.predict,
    "data inspect": data.inspect,
    "data verify": data.verify,
    "data join": data.join,
    "data states": states.states,
    "prepare": training.prepare,
    "train": training.train,
    "evaluate": evaluating.evaluate,
    "score": scoring.score,
    "ablate": ablating.ablate,
    "web": serving.web,
    "doctor": checking.doctor,
    "tabletop make": tabletop.make,
    "tabletop pretrain": tabletop.pretrain,
    "tabletop extractor": tabletop.extractor,
    "tabletop build": tabletop.build,
    "tabletop demo": tabletop.demo,
}
GROUPS = {
    "data": "Inspects, verifies and joins data sets, and has their states written.",
    "tabletop": "Makes the built-in world: videos, backbone, feature extractor, demo.",
}
POSITIONAL = {
    "predict": " FRAME INSTRUCTION", "score": " REAL MADE", "data inspect": " SOURCE",
    "data verify": " CACHE", "data join": " FOLDER NAME NAME",
}  # fmt: skip
DATA_SETS = ("data", "source", "held_out")
"""Parameters of the commands that are data sets."""
SHARE_RECIPES = ("data inspect", "data states", "prepare", "train", "evaluate")
"""Commands that take one recipe; each reads the groups of it that it has."""
COMMON = (
    "out", "data", "cache", "model", "config", "split", "hold_out", "format", "camera", "states",
    "states_from", "gif", "sheet", "num_videos", "seed", "num_steps", "text_guidance",
    "image_guidance", "backbone", "device", "precision", "start", "dry_run", "held_out", "sample",
    "writer", "limit", "predictor", "extractor", "weights", "rows", "stage", "size", "port", "host",
    "rival", "frames", "num_frames", "with_backbone", "shuffled", "empty",
)  # fmt: skip
"""Flags that `--help` explains; it only names the others."""
REFUSED_GROUP = r"Does not validate against any of the Union.*?Errors:\s+- (?P<said>.*?)\n\s+- "
"""jsonargparse's words around the sentence of a group of settings that may be left out."""


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
        except Exception as error:  # every failure becomes a sentence and an exit code
            if "--debug" in arguments:
                traceback.print_exc()
            is_full = type(error).__name__ == "OutOfMemoryError"  # torch's, which may not be there
            sentence = _less_memory(arguments) if is_full else _sentence(error)
            print(f"error: {sentence}", file=sys.stderr)
            return 2 if is_full or isinstance(error, ValueError) else 1
    return 0


def _run(arguments: list[str]) -> None:
    name = parsing.name_of(arguments, COMMANDS)
    parser = make_parser(only=name)
    if name not in COMMANDS:  # --help, --version, a group or no command
        parser.parse_args(arguments)
        return
    if (wanted := parsing.is_help(arguments)) is not False:
        own = parser.of(name)
        print(own.format_help() if wanted == "all" else own.short_help(COMMON), end="")
        return
    function, values = COMMANDS[name], _values(name, parser, arguments)
    flags = {a[2:].partition("=")[0].replace("-", "_") for a in arguments if a.startswith("--")}
    files = [Path(str(one)) for one in values["config"] or ()]
    recipes.check_reach(files, flags)
    del values["config"], values["debug"]
    _refuse_file(name, values.get("out"))
    if name != "ablate" and values.get("format") is None:  # its --data may hold a set per split
        _refuse_several(values)
    if reads_source(function):
        own_fields = {one.name: values.pop(one.name) for one in SOURCE_FIELDS}
        values["selection"] = SourceConfig(**own_fields)
    if "given" in inspect.signature(function).parameters:
        values["given"] = recipes.settings_in(files) | flags
    function(**values)


def check(arguments: Sequence[str]) -> None:
    """Refuses a command whose flags or recipes do not fit, without carrying it out.

    Raises:
        ValueError, SystemExit: as the command itself would.
    """
    arguments = list(arguments)
    name = parsing.name_of(arguments, COMMANDS)
    _values(name, make_parser(only=name), arguments)


def _values(name: str, parser: Parser, arguments: list[str]) -> dict[str, Any]:
    """What flags and recipes say, by the names of the command's parameters."""
    words, function = name.split(), COMMANDS[name]
    groups = inspect.signature(function).parameters if name in SHARE_RECIPES else None
    recipes.check_readable(arguments)
    with recipes.left_out_but(groups):
        parsed = parser.parse_args(parsing.with_values(arguments, parser.of(name), len(words)))
        parsed = parser.instantiate(parsed)
    for word in words:
        parsed = parsed[word]
    return parsed.as_dict()


def _refuse_file(name: str, out: Path | str | None) -> None:
    """Refuses a file where a command writes a folder, before any work."""
    if name != "predict" and out is not None and os.path.isfile(out):  # noqa: PTH113 - or a URL
        raise ValueError(f"{str(out)!r} is a file, and a folder is written. Choose another --out.")


def _refuse_several(values: dict[str, Any]) -> None:
    """Refuses a folder of data sets where one is meant, before anything heavy is imported."""
    for name in DATA_SETS:
        folder = values.get(name)
        if folder is not None and is_folder(folder):
            from aid.data.formats import refuse_several

            refuse_several(Path(folder))


def _command(arguments: list[str]) -> str:
    """The command as a person gives it; under a launcher, what to say again."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return f"the launcher's command again, with -m aid.cli {shlex.join(arguments)}"
    return shlex.join(["aid", *arguments])


def make_parser(only: str | None = None) -> Parser:
    """The parser of all commands; `only` one has its flags, or with None each."""
    return parsing.make_parser(COMMANDS, GROUPS, POSITIONAL, only)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _less_memory(arguments: list[str]) -> str:
    """What to change where the device's memory is full."""
    remedies = {
        "precision": "--precision bfloat16", "offload": "--offload",
        "decode_chunk": "--decode_chunk 2", "batch_size": "--batch_size 1",
        "num_videos": "--num_videos 1", "train": "--train.batch_size 1",
    }  # fmt: skip
    flags = parsing.flags_of(COMMANDS[parsing.name_of(arguments, COMMANDS)])
    own = [remedy for flag, remedy in remedies.items() if flag in flags]
    return f"the device's memory is full. Try {', '.join([*own, '--device cpu'])}."


def _sentence(error: Exception) -> str:
    """What went wrong, in one line; with the kind of error where the words alone do not say it."""
    if isinstance(error, ValueError):
        refused = re.search(REFUSED_GROUP, str(error), re.DOTALL)
        return " ".join((refused["said"] if refused else str(error)).split())
    words = str(error).strip().partition("\n")[0]  # what a library adds may fill pages
    return f"{type(error).__name__}: {words or 'no more is known'} (--debug shows where)"
