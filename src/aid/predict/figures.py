"""The figures of a checkpoint's model card, from the score cards of `aid evaluate`.

A score card is used only if its predictions name the checkpoint's tensors and backbone by hash, so
that no model card has another model's figures.
"""

import json
from pathlib import Path
from typing import Any

from aid.models.checkpoint import read_info, read_trained, trained_hash

REPORT, MADE_WITH = "report.md", "predictions/predictions.json"


def figures_of(checkpoint: Path | str, score: Path | str | None = None) -> str | None:
    """The figures of a checkpoint as Markdown, None if there are none.

    Args:
        checkpoint: its folder.
        score: a folder that `aid evaluate` wrote; None takes all score cards of this checkpoint in
            folders beside it.

    Raises:
        ValueError: `checkpoint` is no checkpoint, or `score` no score card of it.
    """
    checkpoint = Path(checkpoint)
    own = {
        "backbone": read_info(checkpoint).backbone_hash,
        "trained": trained_hash(read_trained(checkpoint)),
    }
    if score is not None:
        return _figures(Path(score), _made_with(Path(score), own))
    found = []
    for report in sorted(checkpoint.resolve().parent.glob(f"*/{REPORT}")):
        try:
            found.append(_figures(report.parent, _made_with(report.parent, own)))
        except ValueError:
            continue
    return "\n\n".join(found) or None


def _made_with(score: Path, own: dict[str, str]) -> dict[str, Any]:
    """What the predictions of a score card were made with, which must be this checkpoint."""
    if not (score / REPORT).is_file() or not (score / MADE_WITH).is_file():
        raise ValueError(
            f"{str(score)!r} is no score card of a model: it lacks {REPORT} or {MADE_WITH}. Give "
            "the --out of aid evaluate."
        )
    made_with = json.loads((score / MADE_WITH).read_text(encoding="utf-8"))
    for name, value in own.items():
        if made_with.get(name) != value:
            raise ValueError(
                f"the score card {str(score)!r} is another model's: its {name} tensors have the "
                f"hash {made_with.get(name)!r}, here it is {value!r}."
            )
    return made_with


def _figures(score: Path, made_with: dict[str, Any]) -> str:
    """A score card with its headings two levels lower, and the sampler of its videos."""
    lines = (score / REPORT).read_text(encoding="utf-8").strip().splitlines()
    text = "\n".join(f"##{line}" if line.startswith("#") else line for line in lines)
    s = made_with.get("sampler", {})
    sampler = ", ".join(f"{name} {value}" for name, value in s.items())
    precision = made_with.get("precision", "float32")
    states = f"; states by {made_with['states']}" if "states" in made_with else ""
    return f"{text}\n\nSampler: {sampler}; precision: {precision}{states}."
