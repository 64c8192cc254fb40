"""The rows of the tables, with the paper's numbers, and the runs that they need."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aid.ablate.methods import find_method, is_code, title_of
from aid.config import (
    FrameConfig,
    ModelConfig,
    SamplerConfig,
    TrainConfig,
    Tuning,
    from_json,
    to_json,
    tuned,
)
from aid.config.bounded_yaml import load_yaml
from aid.evaluate import COPIED, ENCODED, REAL
from aid.evaluate.stored import safe_name
from aid.metrics.baselines import BLENDED, MEAN
from aid.metrics.likeness import FLOOR

GROUPS = {
    "model": ModelConfig, "train": TrainConfig, "sampler": SamplerConfig, "frames": FrameConfig,
}  # fmt: skip
"""Groups of settings in a recipe."""
Table = Literal["main", "conditions", "adapters", "tuning"]
TABLES: tuple[Table, ...] = ("main", "conditions", "adapters", "tuning")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table. `fvd` and `kvd` are the paper's numbers, on Something-Something v2."""

    table: Table
    name: str
    """What `--rows` calls it."""
    title: str
    kind: Literal["recipe", "method", "baseline"]
    """AID with other settings; another method; or videos made from the real ones, of no run."""
    recipe: str | None = None
    """Of a recipe: name of the file with the settings that differ; None: nothing differs."""
    tuning: Tuning = "aid"
    """Of a recipe: how the backbone is adapted."""
    sets: tuple[str, str] = ("", "")
    """Of a baseline: its titles on the score card, among the distances and with the judge."""
    fvd: float | None = None
    kvd: float | None = None

    @property
    def has_equal_steps(self) -> bool:
        """Whether its budget is a number of steps, as in the paper's ablations; else operations."""
        return self.table in ("conditions", "adapters")


PAPER = {
    "conditions": (
        ("none", "no MCondition", 152.4, 0.14),
        ("multimodal", "multimodal branch only", 74.98, 0.03),
        ("decomposed", "decomposed branch only", 70.16, 0.04),
        ("no_states", "both, without states", 64.48, 0.03),
        ("full", "both, with states", 50.23, 0.02),
    ),
    "adapters": (
        ("none", "none", 279.42, 0.71),
        ("no_spatial", "no spatial", 68.12, 0.05),
        ("no_temporal", "no temporal", 76.32, 0.03),
        ("no_short_term", "no short-term", 59.62, 0.03),
        ("no_long_term", "no long-term", 58.16, 0.02),
        ("full", "all three", 50.23, 0.02),
    ),
}
"""The paper's rows of each ablation: (end of the recipe's name, title, FVD, KVD)."""
RIVAL_ROWS = (
    ("simvp", "SimVP", 537.2),
    ("pvdm", "PVDM", 502.4),
    ("videofusion", "VideoFusion", 163.2),
    ("tune_a_video", "Tune-A-Video", 291.4),
    ("seer", "Seer", 112.9),
)
BASELINES = (
    ("real against real", FLOOR, REAL),
    (ENCODED, ENCODED, ENCODED),
    (COPIED, COPIED, COPIED),
    (BLENDED, BLENDED, BLENDED),
    (MEAN, MEAN, MEAN),
)
VPP = "VPP's way: temporal layers, with text"


def _ablations() -> list[Row]:
    return [
        Row(
            table=table, name=f"{table}_{name}", recipe=f"{table}_{name}", title=title,
            kind="recipe", fvd=fvd, kvd=kvd,
        )
        for table, lines in PAPER.items()
        for name, title, fvd, kvd in lines
    ]  # fmt: skip


def _main() -> list[Row]:
    rows = [
        Row(table="main", name=name, title=title, kind="method", fvd=fvd)
        for name, title, fvd in RIVAL_ROWS
    ]
    rows.append(Row(table="main", name="vpp", title=VPP, kind="recipe", tuning="temporal"))
    rows.append(Row(table="main", name="aid", title="AID", kind="recipe", fvd=50.23))
    rows += [
        Row(table="main", name="baselines", title=title, kind="baseline", sets=(among, judged))
        for title, among, judged in BASELINES
    ]
    return rows


def _tuning() -> list[Row]:
    titles: dict[Tuning, tuple[str, str]] = {
        "aid": ("aid", "AID: adapters and spatial cross-attention"),
        "lora": ("lora", "LoRA on attention"),
        "cross_attention": ("cross_attention", "all of cross-attention"),
        "temporal": ("vpp", VPP),
        "full": ("full", "every weight"),
    }
    return [
        Row(table="tuning", name=name, title=title, kind="recipe", tuning=tuning)
        for tuning, (name, title) in titles.items()
    ]


ROWS = (*_main(), *_ablations(), *_tuning())
"""Source of the numbers: AID, the main table and the two ablation tables (docs/paper_map.md)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run of a row's model with a seed. Rows with equal models share their runs."""

    row: Row
    """The first row with this model."""
    seed: int

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{safe_name(self.row.name)}-seed{self.seed}"


def choose_rows(
    names: Sequence[str] | None = None, tables: Sequence[Table] | None = None
) -> list[Row]:
    """The rows with these names or of these tables; both ablations if both are None.

    Args:
        names: of rows; or "package.module:Class" or a Python file, which adds a row to the main
            table.
        tables: of which all rows are taken.

    Raises:
        ValueError: a name is unknown, or a method of one's own cannot be loaded.
    """
    if names is None and tables is None:
        tables = ("conditions", "adapters")
    rows = [row for row in ROWS if row.table in (tables or ()) or row.name in (names or ())]
    known = list(dict.fromkeys(row.name for row in ROWS))
    for name in names or ():
        if is_code(name):
            title = title_of(name, find_method(name))
            rows.append(Row(table="main", name=name, title=title, kind="method"))
        elif name not in known:
            raise ValueError(
                f"row {name!r} is unknown. Rows: {', '.join(known)}; or a method of your own: "
                "package.module:Class, or file.py:Class."
            )
    return rows


def plan(rows: Sequence[Row], base: Path, folder: Path, seeds: int) -> dict[Row, list[Run]]:
    """The runs of each row that needs some.

    Args:
        rows: of the tables.
        base: the recipe that all rows share.
        folder: of the recipes with the settings that differ.
        seeds: number of runs of each row.

    Raises:
        ValueError: a recipe is missing, or there is no seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}. Two show a spread.")
    shared = read_recipe(base)

    def key_of(row: Row) -> str:
        if row.kind == "method":
            return row.name
        # Choice: a recipe that states a default is equal to one that does not.
        settings = json.dumps(to_json(model_of(row, shared, folder)), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()

    # The first of all rows names the folder, whichever of them are chosen.
    first: dict[str, Row] = {}
    for row in ROWS:
        is_there = row.recipe is None or (folder / f"{row.recipe}.yaml").is_file()
        if row.kind == "recipe" and is_there:
            first.setdefault(key_of(row), row)
    return {
        row: [Run(row=first.get(key_of(row), row), seed=seed) for seed in range(seeds)]
        for row in rows
        if row.kind != "baseline"
    }


def model_of(row: Row, shared: dict[str, Any], folder: Path) -> ModelConfig:
    """The model's settings of a recipe row."""
    changes = {} if row.recipe is None else read_recipe(folder / f"{row.recipe}.yaml")
    return tuned(from_json(ModelConfig, merged(shared, changes).get("model", {})), row.tuning)


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a recipe.

    Raises:
        ValueError: there is no such file, it cannot be read, or a setting in it is unknown or out
            of range.
    """
    if not path.is_file():
        raise ValueError(
            f"recipe {str(path)!r} does not exist. Give the shared one with --recipe, the folder "
            "of the others with --recipes."
        )
    try:
        settings = load_yaml(path.read_text(encoding="utf-8")) or {}
        if not isinstance(settings, dict):
            raise ValueError(f"it must be settings by name, got a {type(settings).__name__}.")
        for name, kind in GROUPS.items():
            from_json(kind, settings.get(name, {}))
    except ValueError as error:
        raise ValueError(f"recipe {str(path)!r} cannot be used: {error}") from None
    return settings


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings `base`, updated with `changes` at every level."""
    made = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = merged(made[key], value) if both else value
    return made
