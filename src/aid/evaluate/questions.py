"""What is asked of a model about every row: with which words and which seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from aid.evaluate.real import RealVideo
from aid.types import VideoRow

MODES = {
    "true": "the instruction",
    "shuffled": "another instruction of the same frame",
    "empty": "no instruction",
}
"""What each mode gives the model, as the report says it."""
OTHER_ROW = "another row's instruction"
"""What the mode "shuffled" is called where some row has no sibling."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row: its real video, what the model is told in each mode, and with which seed.

    `other` is the row whose instruction the mode "shuffled" tells. `is_sibling` is whether that
    one has the same first frame.
    """

    real: RealVideo
    told: dict[str, str]
    seed: int
    other: VideoRow | None = None
    is_sibling: bool = False

    @property
    def row(self) -> VideoRow:
        """The manifest's row."""
        return self.real.row

    def states(self, mode: str) -> list[str]:
        """The states that were recorded with what is told in a mode."""
        row = {"true": self.row, "shuffled": self.other}.get(mode)
        return [] if row is None else [state.text for state in row.states]


def questions_of(
    real: Sequence[RealVideo],
    modes: Sequence[str],
    seed: int,
    more: Sequence[VideoRow] = (),
) -> list[Question]:
    """What is asked about every row; row number i has seed + i.

    Args:
        real: the rows' videos.
        modes: what the model is told.
        seed: of the first row.
        more: rows that are not evaluated, whose words are told where all evaluated ones say the
            same.

    Raises:
        ValueError: as `check_modes`.
    """
    check_modes([one.row for one in real], modes, more)
    others = _others(real, more) if "shuffled" in modes else [(None, False)] * len(real)
    return [
        Question(
            real=one,
            told={"true": one.row.instruction, "empty": ""}
            | ({} if other is None else {"shuffled": other.instruction}),
            seed=seed + one.number,
            other=other,
            is_sibling=is_sibling,
        )
        for one, (other, is_sibling) in zip(real, others, strict=True)
    ]


def titles_of(questions: Sequence[Question]) -> dict[str, str]:
    """What each mode is called on the card."""
    if all(question.is_sibling for question in questions):
        return MODES
    return MODES | {"shuffled": OTHER_ROW}


def can_shuffle(rows: Sequence[VideoRow], more: Sequence[VideoRow] = ()) -> bool:
    """Whether there is another instruction to tell for every row, also of rows beside them."""
    return _lonely(rows, more) is None


def check_modes(
    rows: Sequence[VideoRow], modes: Sequence[str], more: Sequence[VideoRow] = ()
) -> None:
    """Refuses ways to tell the model something that these rows do not have.

    Raises:
        ValueError: a mode is unknown, or "shuffled" is asked and all rows say the same.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"mode {unknown[0]!r} is unknown. Modes: {', '.join(MODES)}.")
    if "shuffled" in modes and (row := _lonely(rows, more)) is not None:
        raise ValueError(
            f"row {row.id!r} is the only one of its first frame, or all its siblings say the same, "
            "and no other row says anything else: there is no other instruction to tell. Evaluate "
            "more rows (of the table-top: the split forks), or leave out --shuffled."
        )


def _lonely(rows: Sequence[VideoRow], more: Sequence[VideoRow]) -> VideoRow | None:
    """A row for which no row says anything else."""
    said = {plain for row in chain(rows, more) if (plain := _plain(row.instruction))}
    return next((row for row in rows if not said - _own_words(row)), None)


def _others(real: Sequence[RealVideo], more: Sequence[VideoRow]) -> list[tuple[VideoRow, bool]]:
    """For each row the next sibling that says something else, else the next row that does.

    With each, whether it is a sibling.
    """
    rows = [one.row for one in real]
    siblings: dict[str, list[int]] = {}
    for index, one in enumerate(real):
        siblings.setdefault(one.first_frame, []).append(index)
    others = []
    for index, one in enumerate(real):
        own, own_words = siblings[one.first_frame], _own_words(one.row)
        at = own.index(index)
        in_order = chain(
            ((rows[n], True) for n in chain(own[at + 1 :], own[:at])),
            ((row, False) for row in chain(rows[index + 1 :], rows[:index], more)),
        )
        others.append(next(
            (row, is_sibling) for row, is_sibling in in_order
            if _plain(row.instruction) and _plain(row.instruction) not in own_words
        ))  # fmt: skip
    return others


def _own_words(row: VideoRow) -> set[str]:
    """All ways to say what a row asks."""
    return {_plain(words) for words in [row.instruction, *row.wordings]}


def _plain(words: str) -> str:
    return " ".join(words.casefold().split())
