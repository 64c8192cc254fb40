"""The score card that `evaluate` writes, as JSON, Markdown and one HTML page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aid.evaluate.words import WordEffect
from aid.metrics import card
from aid.metrics.lift import Lift
from aid.metrics.likeness import Comparison, Number
from aid.metrics.scorecard import Scores


@dataclass(frozen=True, kw_only=True)
class ScoreCard:
    """What every set of videos is worth: the real ones, trivial ones, the model's of each mode."""

    title: str
    seed: int
    comparison: Comparison | None = None
    """How like the real videos each set is; None if no row could be compared."""
    words: dict[str, WordEffect] = field(default_factory=dict)
    """By each other way to tell the model something, what it changes."""
    lift: Lift | None = None
    """What the words do in an extractor's features; None without an extractor, or if no first
    frame has several instructions."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """The judge's numbers of each set; empty without a judge."""
    videos: list[dict[str, Any]] = field(default_factory=list)
    """For each set and row what was asked, what was told and what the judge read."""
    notes: list[str] = field(default_factory=list)
    """Sentences that a person should read: what was left out, and why."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def to_markdown(self) -> str:
        """The tables of `report.md`."""
        lines = [f"# {self.title}", ""]
        if self.comparison is not None:
            lines += [text for line in card.first_lines(self.comparison) for text in (line, "")]
        if self.scores:
            lines += [*_markdown_table(self._accuracy_rows()), "", *self._told_sentences(), ""]
        tables = [rows for rows in (self._word_rows(), self._lift_rows()) if rows]
        if tables:
            lines += ["## What the words do", ""]
            for rows in tables:
                lines += [*_markdown_table(rows), ""]
        if self.comparison is not None:
            lines += ["## How like the real videos", "", card.markdown_tables(self.comparison)]
        lines += [*(f"- {note}" for note in self.notes), ""] if self.notes else []
        lines += [f"Seed {self.seed}. What the columns mean: docs/evaluation.md."]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The same as one page that needs no other file."""
        rows = [self._accuracy_rows() if self.scores else [], self._word_rows(), self._lift_rows()]
        rows.append([["notes"], *([note] for note in self.notes)] if self.notes else [])
        return card.html_page(self.title, self.comparison, [table for table in rows if table])

    def _accuracy_rows(self) -> list[list[str]]:
        families = list(dict.fromkeys(f for s in self.scores.values() for f in s.families))
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

    def _told_sentences(self) -> list[str]:
        return [
            f"Told {name}, {_percent(scores.obeys_told)} of the videos obey what was told."
            for name, scores in self.scores.items()
            if scores.obeys_told is not None
        ]

    def _word_rows(self) -> list[list[str]]:
        if not self.words:
            return []
        rows = [
            ["told instead of the own instruction", "change of the video", "own video nearer",
             "lift, PSNR", "lift, LPIPS", "videos"]
        ]  # fmt: skip
        for name, one in self.words.items():
            real = f"; real videos against their first frame: {one.change_of_real:.1f}"
            near = one.nearer
            percents = [f"{100 * value:.0f}" for value in (near.value, near.low, near.high)]
            rows.append(
                [
                    name,
                    f"{_number(one.change, 1)} grey levels{real}",
                    f"{percents[0]} % ({percents[1]} to {percents[2]}); 50 % says nothing",
                    f"{_number(one.lift_psnr, 2)} dB",
                    "-" if one.lift_lpips is None else _number(one.lift_lpips, 4),
                    str(near.num_videos),
                ]
            )
        return rows

    def _lift_rows(self) -> list[list[str]]:
        if self.lift is None:
            return []
        rows = [[f"instruction lift{self._seen_by()}", "value", "95 %", "videos"]]
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

    def _seen_by(self) -> str:
        """Whose features the lift is measured in, and whether they can be trusted here."""
        comparison = self.comparison
        if comparison is None or not comparison.extractor:
            return ""
        check = comparison.check
        is_trusted = check is not None and any(map(check.is_trusted, check.distances))
        doubt = "" if is_trusted else ", not shown to be trustworthy on these videos"
        return f", by the features of {comparison.extractor['extractor']}{doubt}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(number: Number, digits: int) -> str:
    return f"{number.value:.{digits}f} ({number.low:.{digits}f} to {number.high:.{digits}f})"


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    first, *others = rows
    return [_line(first), _line(["---"] * len(first)), *map(_line, others)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
