"""The built-in world: a simulated table-top where the instruction decides the outcome.

`world` simulates and renders it, `language` words its tasks, `rules` writes states from an
instruction, `reader` and `judge` read from the pixels what a video shows, `pretrain` makes its
backbone, `r3d` is an extractor of features, `demo` draws what the shipped model can do. The core
imports nothing from here; it finds `entry.TABLETOP` as an entry point (`aid.worlds`), as it would
find anybody's. Simulated, not a real robot.
"""

from importlib.resources import files
from pathlib import Path

ASSETS = Path(str(files("aid.tabletop") / "assets"))
"""The shipped model (`aid/`, `backbone/`), extractor (`r3d/`) and first frames (`frames/`)."""
STATE_WRITER = "tabletop-rules"
"""Name of the rule-based state writer in data sets, caches and checkpoints."""
EXTRACTOR = "tabletop-r3d"
"""Name of the feature extractor."""
