"""The built-in world: a simulated table-top where the instruction decides the outcome.

`world` simulates and renders it, `language` is the grammar of its instructions and states, `rules`
writes states from an instruction, `reader` and `judge` read from the pixels what a video shows,
`pretrain` trains its backbone, `r3d` is its feature extractor, `demo` predicts videos with the
shipped model. The core imports nothing from this package; it finds `TABLETOP` as an entry point
(`aid.worlds`), like any other world. It is a simulation, not a real robot.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from aid.worlds import World

ASSETS = Path(str(files("aid.tabletop") / "assets"))
"""The shipped model (`aid/`, `backbone/`), extractor (`r3d/`) and first frames (`frames/`)."""
STATE_WRITER = "tabletop-rules"
"""Name of the rule-based state writer in data sets, caches and checkpoints."""
EXTRACTOR = "tabletop-r3d"


def _rules() -> Any:
    from aid.tabletop.rules import RuleStateWriter

    return RuleStateWriter()


def _extractor(weights: Path | None, device: str) -> Any:
    from aid.tabletop.r3d import TabletopR3D

    return TabletopR3D(weights, device)


def _judge() -> Any:
    from aid.tabletop.judge import TabletopJudge

    return TabletopJudge()


def _has_made(facts: Mapping[str, Any]) -> bool:
    return {"items", "camera"} <= facts.keys()


TABLETOP = World(
    name="tabletop",
    model=ASSETS,
    frames=ASSETS / "frames",
    state_writers={STATE_WRITER: _rules},
    extractors={EXTRACTOR: _extractor},
    judge=_judge,
    has_made=_has_made,
)
