"""The score card that `evaluate` writes, as JSON, Markdown and one HTML page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aid.evaluate.judge import Scores
from aid.evaluate.words import Lift, WordEffect
from aid.metrics import card
from aid.metrics.likeness import Comparison, Number


@dataclass(frozen=True, kw_only=True)
class ScoreCard:
    """The figures of every set of videos: real, trivial, and predicted in each mode."""

    title: str
    seed: int
    comparison: Comparison | None = None
    """Similarity of each set to the real videos; None if no row could be compared."""
    words: dict[str, WordEffect] = field(default_factory=dict)
    """The effect of other words, by the title of each other mode."""
    lift: Lift | None = None
    """The effect of the words in an extractor's features; None without an extractor, or if no first
    frame has several instructions."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """The judge's figures of each set; empty without a judge."""
    videos: list[dict[str, Any]] = field(default_factory=list)
    """For each set and row its instruction, the given instruction and what the judge read."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader: what was left out, and why."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {name: one.to_json() for name, one in self.scores.items()}
        return asdict(self) | {"scores": scores}

    def to_markdown(self) -> str:
        """The tables of `report.md`."""
        lines = [f"# {self.title}", ""]
        if self.comparison is not None:
            lines += [text for line in card.first_lines(self.comparison) for text in (line, "")]
        if self.scores:
            lines += [*_markdown_table(self._accuracy_rows()), "", *self._given_sentences(), ""]
        tables = [rows for rows in (self._word_rows(), self._lift_rows()) if rows]
        if tables:
            lines += ["## Effect of the words", ""]
            for rows in tables:
                lines += [*_markdown_table(rows), ""]
        if self.comparison is not None:
            lines += ["## Similarity to the real videos", "", card.markdown_tables(self.comparison)]
        lines += [*(f"- {note}" for note in self.notes), ""] if self.notes else []
        lines += [f"Seed {self.seed}. What the columns mean: docs/evaluation.md."]
        return "\n".join(lines) + "\n"

    def to_html(self) -> str:
        """The same tables as one HTML page that needs no other file."""
        rows = [self._accuracy_rows() if self.scores else [], self._word_rows(), self._lift_rows()]
        rows.append([["notes"], *([note] for note in self.notes)] if self.notes else [])
        return card.html_page(self.title, self.comparison, [table for table in rows if table])

    def _accuracy_rows(self) -> list[list[str]]:
        columns = list(dict.fromkeys(one for s in self.scores.values() for one in s.columns))
        rows = [["", "instruction accuracy", "95 %", "videos", *columns]]
        for name, scores in self.scores.items():
            low, high = scores.interval
            rows.append(
                [
                    name,
                    _percent(scores.accuracy),
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    str(scores.num_videos),
                    *(scores.columns.get(column, "") for column in columns),
                ]
            )
        return rows

    def _given_sentences(self) -> list[str]:
        return [
            f"Given {name}, {_percent(scores.obeys_given)} of the videos obey the given one."
            for name, scores in self.scores.items()
            if scores.obeys_given is not None
        ]

    def _word_rows(self) -> list[list[str]]:
        if not self.words:
            return []
        rows = [
            ["given instead of the row's instruction", "change of the video",
             "nearer to the real video with the row's instruction", "lift, PSNR", "lift, LPIPS",
             "videos"]
        ]  # fmt: skip
        for name, one in self.words.items():
            real = f"; real videos from their first frame: {one.change_of_real:.1f}"
            near = one.nearer
            rows.append(
                [
                    name,
                    f"{_number(one.change, 1)} grey levels{real}",
                    f"{_number(near, 0, 100.0, ' %')}; 50 % is chance",
                    f"{_number(one.lift_psnr, 2)} dB",
                    "-" if one.lift_lpips is None else _number(one.lift_lpips, 4),
                    str(near.num_videos),
                ]
            )
        return rows

    def _lift_rows(self) -> list[list[str]]:
        if self.lift is None:
            return []
        rows = [[f"instruction lift{self._features()}", "value", "95 %", "videos"]]
        for name, one in self.lift.retrieval.items():
            words = f"{name}: nearest real video is that of the instruction"
            rows.append([words, _percent(one.value), _interval(one, 1, 100.0), str(one.num_videos)])
        rows.append(["chance", _percent(self.lift.chance), "", ""])
        for name, one in self.lift.moves.items():
            words = f"{name}: change of the features (1: two real videos of one first frame)"
            rows.append([words, f"{one.value:z.2f}", _interval(one, 2), str(one.num_videos)])
        return rows

    def _features(self) -> str:
        """The extractor of the features, and whether its distances are trusted on these videos."""
        comparison = self.comparison
        if comparison is None or not comparison.extractor:
            return ""
        check = comparison.check
        is_trusted = check is not None and any(map(check.is_trusted, check.distances))
        doubt = "" if is_trusted else " (its distances are not trusted on these videos)"
        return f", features of {comparison.extractor['extractor']}{doubt}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(number: Number, digits: int, factor: float = 1.0, unit: str = "") -> str:
    value = f"{factor * number.value:z.{digits}f}{unit}"
    interval = _interval(number, digits, factor)
    return f"{value} ({interval})" if interval else value


def _interval(number: Number, digits: int, factor: float = 1.0) -> str:
    """The interval of a value; "" for a single video, which has none."""
    low, high = (f"{factor * end:z.{digits}f}" for end in (number.low, number.high))
    return f"{low} to {high}" if number.num_videos > 1 else ""


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    first, *others = rows
    return [_line(first), _line(["---"] * len(first)), *map(_line, others)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
