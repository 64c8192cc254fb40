"""Many judgements as a few numbers: the score card that `evaluate` writes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from aid.metrics import card
from aid.metrics.instruction import Judgement, wilson_interval
from aid.metrics.lift import Lift
from aid.metrics.likeness import Comparison
from aid.wording import FAMILIES


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What one set of videos is worth. Shares are in [0, 1], lengths in metres."""

    num_videos: int
    num_obeyed: int
    accuracy: float
    """Instruction accuracy: share of videos that show the asked task and no other."""
    interval: tuple[float, float]
    """Its 95 % confidence interval (Wilson)."""
    outcome_holds: float
    """Share in which the asked outcome is there, whatever else happened."""
    right_object: float
    """Share in which the asked object moved and no other object did."""
    families: dict[str, tuple[int, int]]
    """For each family of tasks how many videos obeyed, of how many."""
    bystander_displacement: float | None
    """Mean displacement of the items that nobody told to move; None if all are lost."""
    items_lost: float
    """Share of the items that are in the given frame and cannot be found at the end."""
    obeys_told: float | None = None
    """Share that obeys the instruction that the model was told, where that is not the asked one."""


def scores_of(
    judgements: Sequence[Judgement], by_told: Sequence[Judgement] | None = None
) -> Scores:
    """The numbers of one set of videos.

    Args:
        judgements: one for each video, against the asked instruction.
        by_told: the same videos against the instruction that the model was told, if that was
            another; then those not asked to move are judged by it, too.
    """
    assert judgements
    number, obeyed = len(judgements), sum(one.is_obeyed for one in judgements)
    families = {}
    for family in FAMILIES:
        if ours := [one for one in judgements if one.asked.family == family]:
            families[family] = (sum(one.is_obeyed for one in ours), len(ours))
    ways = [one.bystander_displacement for one in by_told or judgements]
    known = [way for way in ways if way is not None]
    return Scores(
        num_videos=number,
        num_obeyed=obeyed,
        accuracy=obeyed / number,
        interval=wilson_interval(obeyed, number),
        outcome_holds=float(np.mean([one.holds for one in judgements])),
        right_object=float(np.mean([one.is_right_object for one in judgements])),
        families=families,
        bystander_displacement=float(np.mean(known)) if known else None,
        items_lost=sum(one.num_lost for one in judgements)
        / sum(one.num_items for one in judgements),
        obeys_told=None if by_told is None else float(np.mean([o.is_obeyed for o in by_told])),
    )


@dataclass(frozen=True, kw_only=True)
class ScoreCard:
    """The scores of every set of videos: the real ones, the copied first frame, each mode."""

    title: str
    seed: int
    scores: dict[str, Scores]
    videos: list[dict[str, Any]] = field(default_factory=list)
    """For each set and row what was asked, what was given and what was read."""
    comparison: Comparison | None = None
    """How like the real videos each set is; None if no extractor was given."""
    lift: Lift | None = None
    """What the words do; None without predictions, or if no frame has several instructions."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The tables of `report.md`."""
        first, *rows = self._accuracy_rows()
        lines = [f"# {self.title}", "", _line(first), _line(["---"] * len(first))]
        lines += [*map(_line, rows), "", *self._sentences()]
        if self.lift is not None:
            first, *rows = self._lift_rows()
            lines += ["", "## What the words do", "", _line(first), _line(["---"] * len(first))]
            lines += map(_line, rows)
        if self.comparison is not None:
            lines += ["", "## How like the real videos", "", card.markdown(self.comparison)]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The same as one page that needs no other file."""
        tables = [self._accuracy_rows(), *([self._lift_rows()] if self.lift else [])]
        return card.html_page(self.title, self.comparison, tables)

    def _accuracy_rows(self) -> list[list[str]]:
        families = [f for f in FAMILIES if any(f in s.families for s in self.scores.values())]
        head = ["", "instruction accuracy", "95 %", "videos", *families]
        head += ["outcome holds", "right object", "bystanders moved", "items lost"]
        rows = [head]
        for name, scores in self.scores.items():
            low, high = scores.interval
            counts = [scores.families.get(family) for family in families]
            way = scores.bystander_displacement
            cells = [name, _percent(scores.accuracy), f"{100 * low:.1f} to {100 * high:.1f}"]
            cells += [
                str(scores.num_videos),
                *("" if c is None else f"{c[0]}/{c[1]}" for c in counts),
            ]
            cells += [_percent(scores.outcome_holds), _percent(scores.right_object)]
            cells += ["" if way is None else f"{1000 * way:.1f} mm", _percent(scores.items_lost)]
            rows.append(cells)
        return rows

    def _lift_rows(self) -> list[list[str]]:
        assert self.lift is not None
        rows = [["instruction lift", "value", "95 %", "videos"]]
        for name, one in self.lift.retrieval.items():
            words = f"{name}: nearest to the real video of its instruction"
            cells = [_percent(one.value), f"{100 * one.low:.1f} to {100 * one.high:.1f}"]
            rows.append([words, *cells, str(one.num_videos)])
        rows.append(["by guessing", _percent(self.lift.chance), "", ""])
        for name, one in self.lift.moves.items():
            words = f"{name}: how far features move (two real videos of one frame: 1)"
            cells = [f"{one.value:.2f}", f"{one.low:.2f} to {one.high:.2f}"]
            rows.append([words, *cells, str(one.num_videos)])
        return rows

    def _sentences(self) -> list[str]:
        return [
            *(
                f"Told {name}, {_percent(scores.obeys_told)} of the videos obey what was told."
                for name, scores in self.scores.items()
                if scores.obeys_told is not None
            ),
            f"Seed {self.seed}. What the columns mean: docs/evaluation.md.",
        ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
