"""What the table-top adds to the core under names, as the entry point in pyproject.toml says.

Each part is imported when it is used, so that finding the worlds costs nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.tabletop import ASSETS, EXTRACTOR, STATE_WRITER
from aid.worlds import Understood, World


def _rules() -> Any:
    from aid.tabletop.rules import RuleStateWriter

    return RuleStateWriter()


def _extractor(weights: Path | None, device: str) -> Any:
    from aid.tabletop.r3d import TabletopR3D

    return TabletopR3D(weights, device)


def _judge() -> Any:
    from aid.tabletop.judge import TabletopJudge

    return TabletopJudge()


def _understand(frame: UInt8[np.ndarray, "H W 3"], instruction: str) -> Understood:
    from aid.tabletop.language import understand
    from aid.tabletop.reader.items import items_in

    found = understand(instruction, items_in(frame))
    return Understood(instruction=found.sentence, notes=found.notes)


def _has_made(facts: Mapping[str, Any]) -> bool:
    return {"items", "camera"} <= facts.keys()


TABLETOP = World(
    name="tabletop",
    model=ASSETS,
    frames=ASSETS / "frames",
    state_writers={STATE_WRITER: _rules},
    extractors={EXTRACTOR: _extractor},
    judge=_judge,
    understand=_understand,
    has_made=_has_made,
)
