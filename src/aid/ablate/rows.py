"""The rows of the paper's ablations, with the paper's numbers, and the runs that they need."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.config.bounded_yaml import load_yaml


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of one of the two tables; `fvd` and `kvd` are the paper's numbers, on SSv2."""

    table: str
    recipe: str
    title: str
    fvd: float
    kvd: float


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
"""The paper's rows of each table: (end of the recipe's name, title, FVD, KVD)."""

ROWS = tuple(
    Row(table=table, recipe=f"{table}_{name}", title=title, fvd=fvd, kvd=kvd)
    for table, lines in PAPER.items()
    for name, title, fvd, kvd in lines
)
"""Source of the numbers: AID, the two ablation tables (docs/paper_map.md)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run of a row's model with a seed. Rows with equal models share their runs."""

    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return f"{self.recipe}-seed{self.seed}"


def choose_rows(names: Sequence[str] | None) -> list[Row]:
    """The rows with these recipes; all eleven if None.

    Raises:
        ValueError: a name is unknown.
    """
    known = {row.recipe: row for row in ROWS}
    if unknown := [name for name in names or () if name not in known]:
        raise ValueError(f"row {unknown[0]!r} is unknown. Rows: {', '.join(known)}.")
    return [row for row in ROWS if names is None or row.recipe in names]


def plan(rows: Sequence[Row], base: Path, folder: Path, seeds: int) -> dict[Row, list[Run]]:
    """The runs of each row.

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
    first: dict[str, str] = {}
    runs = {}
    for row in rows:
        model = merged(shared, read_recipe(folder / f"{row.recipe}.yaml")).get("model", {})
        # Choice: a recipe that states a default is equal to one that does not.
        key = hashlib.sha256(json.dumps(_complete(model), sort_keys=True).encode()).hexdigest()
        recipe = first.setdefault(key, row.recipe)
        runs[row] = [Run(recipe=recipe, seed=seed) for seed in range(seeds)]
    return runs


def _complete(model: dict[str, Any]) -> dict[str, Any]:
    """The settings with all defaults."""
    from aid.config import ModelConfig, from_json, to_json

    return to_json(from_json(ModelConfig, model))


def read_recipe(path: Path) -> dict[str, Any]:
    """The settings in a recipe.

    Raises:
        ValueError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"recipe {str(path)!r} does not exist. Give the folder of the recipes.")
    return load_yaml(path.read_text(encoding="utf-8")) or {}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The settings `base`, updated with `changes` at every level."""
    made = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = merged(made[key], value) if both else value
    return made
