"""The rows of the paper's ablations, what the paper printed for them, and which runs they need."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of one of the two tables; `fvd` and `kvd` are the paper's, on SSv2."""

    table: str
    recipe: str
    title: str
    fvd: float
    kvd: float


ROWS = (
    Row(table="conditions", recipe="conditions_none", title="no MCondition", fvd=152.4, kvd=0.14),
    Row(
        table="conditions", recipe="conditions_multimodal", title="multimodal branch only",
        fvd=74.98, kvd=0.03,
    ),
    Row(
        table="conditions", recipe="conditions_decomposed", title="decomposed branch only",
        fvd=70.16, kvd=0.04,
    ),
    Row(
        table="conditions", recipe="conditions_no_states", title="both, without states",
        fvd=64.48, kvd=0.03,
    ),
    Row(
        table="conditions", recipe="conditions_full", title="both, with states",
        fvd=50.23, kvd=0.02,
    ),
    Row(table="adapters", recipe="adapters_none", title="none", fvd=279.42, kvd=0.71),
    Row(table="adapters", recipe="adapters_no_spatial", title="no spatial", fvd=68.12, kvd=0.05),
    Row(table="adapters", recipe="adapters_no_temporal", title="no temporal", fvd=76.32, kvd=0.03),
    Row(
        table="adapters", recipe="adapters_no_short_term", title="no short-term",
        fvd=59.62, kvd=0.03,
    ),
    Row(
        table="adapters", recipe="adapters_no_long_term", title="no long-term",
        fvd=58.16, kvd=0.02,
    ),
    Row(table="adapters", recipe="adapters_full", title="all three", fvd=50.23, kvd=0.02),
)  # fmt: skip
"""Source of the numbers: AID, the two ablation tables (docs/paper_map.md)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run: a row's model with a seed. Rows of equal models share their runs."""

    recipe: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
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
        folder: of the recipes that say what differs.
        seeds: runs of each row.

    Raises:
        ValueError: a recipe is missing, or there is no seed.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}. Two show a spread.")
    shared = _read(base)
    first: dict[str, str] = {}
    runs = {}
    for row in rows:
        model = _merged(shared, _read(folder / f"{row.recipe}.yaml")).get("model", {})
        # Choice: settings that say the default aloud count as equal to settings that are silent.
        key = hashlib.sha256(json.dumps(_told(model), sort_keys=True).encode()).hexdigest()
        recipe = first.setdefault(key, row.recipe)
        runs[row] = [Run(recipe=recipe, seed=seed) for seed in range(seeds)]
    return runs


def _told(model: dict[str, Any]) -> dict[str, Any]:
    from aid.config import ModelConfig, from_json, to_json

    return to_json(from_json(ModelConfig, model))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"recipe {str(path)!r} does not exist. Give the folder of the recipes.")
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = _merged(made[key], value) if both else value
    return made
