"""Makes the table-top's model from nothing, stage by stage: data, backbone, AID, score card.

Each stage is a public command in a process of its own, which resumes where it was stopped. So the
whole is resumed by giving the same command again, and any stage can be repeated by hand from
`build.json`, which lists the commands with the seconds that they took since they were last started.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.config import Precision
from aid.config.bounded_yaml import load_yaml
from aid.config.bounds import require_seed
from aid.files import make_folder
from aid.video import whole_file

WORLDS = {"play": 2200, "ogbench": 230, "fetch": 170}
"""Scenes or rollouts that the backbone is pretrained on."""
SPLITS = {"train": 1000, "twins": 400, "val": 60}
"""Scenes that AID is trained on, and those of `val`, on which choices are made."""
SIZE = 128


@dataclass(frozen=True)
class Stage:
    """One command of the chain."""

    name: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """As it would be typed."""
        return " ".join(("aid", *self.arguments))


def stages(
    out: Path, recipes: Path, seed: int, share: float, precision: Precision, device: str | None
) -> list[Stage]:
    """The commands of the chain.

    Args:
        out: folder of everything that is made.
        recipes: folder with backbone.yaml, aid.yaml and aid_coarse.yaml.
        seed: of the data and of every training.
        share: of the scenes (at least 20 of each split) and of the steps (at least 4 of each
            loop); 1 is the recipe, 0.01 a rehearsal.
        precision: arithmetic of the trainings.
        device: as for `choose_device`.
    """
    worlds, data = out / "data/worlds", out / "data/tabletop"
    backbone, cache = out / "backbone", out / "cache"
    on = ("--precision", precision, *(() if device is None else ("--device", device)))

    def make(folder: Path, numbers: dict[str, int]) -> tuple[str, ...]:
        wanted = [(f"--scenes.{k}", str(max(20, round(share * n)))) for k, n in numbers.items()]
        flags = [text for pair in wanted for text in pair]
        return ("tabletop", "make", "--out", str(folder), "--size", str(SIZE),
                "--seed", str(seed), *flags)  # fmt: skip

    def steps(recipe: str, *paths: str) -> tuple[str, ...]:
        """Flags that shorten the loops of a recipe and set their seeds."""
        flags, file = [], recipes / recipe
        for path in paths:
            try:
                value: Any = load_yaml(file.read_text(encoding="utf-8"))
                for key in f"{path}.steps".split("."):
                    value = value[key]
                number = max(4, round(share * value))
            except (ValueError, KeyError, TypeError) as error:
                wrong = f" ({error})" if isinstance(error, ValueError) else ""
                raise ValueError(
                    f"recipe {str(file)!r} does not say {path}.steps, a number{wrong}. Correct it, "
                    "or give --recipes another folder."
                ) from None
            flags += [f"--{path}.steps", str(number)]
            flags += [f"--{path}.seed", str(seed)]
        return tuple(flags)

    def prepare(name: str, folder: Path) -> tuple[str, ...]:
        return ("prepare", "--config", str(recipes / "aid.yaml"), "--backbone", str(backbone),
                "--data", str(folder), "--out", str(cache / name))  # fmt: skip

    def train(name: str, *more: str) -> tuple[str, ...]:
        return ("train", "--config", str(recipes / "aid.yaml"), *more, "--backbone", str(backbone),
                "--cache", str(cache / "train"), "--held_out", str(cache / "val"),
                "--out", str(out / name), *on)  # fmt: skip

    loops = ("autoencoder_loop", "clip_loop", "words.loop", "coarse.loop", "fine.loop")
    coarse = ("--config", str(recipes / "aid_coarse.yaml"), *steps("aid_coarse.yaml", "train"))
    whole = ("--start", str(out / "aid_coarse/checkpoint"), *steps("aid.yaml", "train"))
    pretrain = (
        "tabletop", "pretrain", "--config", str(recipes / "backbone.yaml"), "--data", str(worlds),
        "--out", str(backbone), *steps("backbone.yaml", *(f"pretrain.{loop}" for loop in loops)),
        *on,
    )  # fmt: skip
    evaluate = (
        "evaluate", "--model", str(out / "aid"), "--backbone", str(backbone),
        "--data", str(data / "val"), "--out", str(out / "report"), *on,
        *(() if share == 1 else ("--limit", "16")),
    )  # fmt: skip
    return [
        Stage("make_worlds", make(worlds, WORLDS)),
        Stage("join_worlds", ("data", "join", str(worlds), *WORLDS)),
        Stage("pretrain", pretrain),
        Stage("make_tabletop", make(data, SPLITS)),
        Stage("join_tabletop", ("data", "join", str(data), "train", "twins")),
        Stage("prepare_train", prepare("train", data)),
        Stage("prepare_val", prepare("val", data / "val")),
        Stage("train_coarse", train("aid_coarse", *coarse)),
        Stage("train", train("aid", *whole)),
        Stage("evaluate", evaluate),
    ]


def build(
    out: Path,
    recipes: Path,
    *,
    seed: int = 0,
    share: float = 1.0,
    precision: Precision = "float32",
    device: str | None = None,
    until: str | None = None,
    on_stage: Callable[[int, int, str], None] | None = None,
    check: Callable[[Stage], None] = lambda stage: None,
) -> list[dict[str, Any]]:
    """Carries out the stages that are not done yet, and returns what each took.

    Args:
        until: the last stage to carry out; all of them if None.
        on_stage: called with (number from 1, how many, name) before each stage.
        check: called with every stage before the first; raises what its command would refuse.
        out, recipes, seed, share, precision, device: as for `stages`.

    Raises:
        ValueError: a setting is out of range, a recipe is missing, or `out` holds a build with
            other commands.
        RuntimeError: a stage failed, with its last line and its log.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}. Try 0.01 to rehearse.")
    require_seed(seed, least=0)
    for name in ("backbone.yaml", "aid.yaml", "aid_coarse.yaml"):
        if not (recipes / name).is_file():
            raise ValueError(
                f"recipe {str(recipes / name)!r} does not exist. Give --recipes the folder "
                "configs/tabletop of the source code."
            )
    planned = stages(out, recipes, seed, share, precision, device)
    names = [stage.name for stage in planned]
    if until is not None and until not in names:
        raise ValueError(f"stage {until!r} is unknown. Stages: {', '.join(names)}.")
    for stage in planned:
        check(stage)
    make_folder(out)
    note = out / "build.json"
    try:
        done = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else []
        done = [{key: row[key] for key in ("name", "command", "seconds")} for row in done]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{str(note)!r} is not of a build or damaged. Choose another --out."
        ) from None
    for before, stage in zip(done, planned, strict=False):
        if before["command"] != stage.command:
            raise ValueError(
                f"{str(out)!r} holds a build whose stage {stage.name!r} was {before['command']!r}, "
                f"now it is {stage.command!r}. Use the same settings or another folder."
            )
    for number, stage in enumerate(planned, 1):
        if number > len(done):
            if on_stage is not None:
                on_stage(number, len(planned), stage.name)
            begun = time.monotonic()
            _carry_out(stage, out / f"{stage.name}.log")
            seconds = round(time.monotonic() - begun, 1)
            done.append({"name": stage.name, "command": stage.command, "seconds": seconds})
            with whole_file(note) as temporary:
                temporary.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
        if stage.name == until:
            break
    return done


def _carry_out(stage: Stage, log: Path) -> None:
    """Runs one command with its output in `log`."""
    command: Sequence[str] = (sys.executable, "-m", "aid.cli", *stage.arguments)
    with log.open("a", encoding="utf-8") as file:
        code = subprocess.run(command, stdout=file, stderr=file).returncode
    if code:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise RuntimeError(f"stage {stage.name!r} ended with {code}: {' '.join(last)} ({log})")
