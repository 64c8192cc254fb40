"""The cases of an evaluation: each row with its real video, its seed and all its instructions."""

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
"""The instruction that the model gets in each mode, as the report names it."""
OTHER_ROW = "another row's instruction"
"""The name of the mode "shuffled" if some row has no other row with the same first frame."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: its real video, the instruction that the model gets in each mode, and the seed."""

    real: RealVideo
    instructions: dict[str, str]
    seed: int
    other_row: VideoRow | None = None
    """The row whose instruction the model gets in the mode "shuffled"."""
    has_same_frame: bool = False
    """Whether that row has the same first frame."""

    @property
    def row(self) -> VideoRow:
        """The manifest's row."""
        return self.real.row

    def states(self, mode: str) -> list[str]:
        """The states that were recorded with the instruction of a mode."""
        row = {"true": self.row, "shuffled": self.other_row}.get(mode)
        return [] if row is None else [state.text for state in row.states]


def make_cases(
    real: Sequence[RealVideo],
    modes: Sequence[str],
    seed: int,
    more: Sequence[VideoRow] = (),
) -> list[Case]:
    """A case for every row; row number i has seed + i.

    Args:
        real: the rows' videos.
        modes: which instructions the model gets.
        seed: of the first row.
        more: rows that are not evaluated; their instructions are used in the mode "shuffled" if all
            evaluated rows have the same instruction.

    Raises:
        ValueError: as `check_modes`.
    """
    check_modes([one.row for one in real], modes, more)
    others = _other_rows(real, more) if "shuffled" in modes else [(None, False)] * len(real)
    return [
        Case(
            real=one,
            instructions={"true": one.row.instruction, "empty": ""}
            | ({} if other is None else {"shuffled": other.instruction}),
            seed=seed + one.number,
            other_row=other,
            has_same_frame=has_same_frame,
        )
        for one, (other, has_same_frame) in zip(real, others, strict=True)
    ]


def mode_titles(cases: Sequence[Case]) -> dict[str, str]:
    """The name of each mode on the card."""
    if all(case.has_same_frame for case in cases):
        return MODES
    return MODES | {"shuffled": OTHER_ROW}


def can_shuffle(rows: Sequence[VideoRow], more: Sequence[VideoRow] = ()) -> bool:
    """Whether every row finds another instruction among all rows."""
    return _without_other(rows, more) is None


def check_modes(
    rows: Sequence[VideoRow], modes: Sequence[str], more: Sequence[VideoRow] = ()
) -> None:
    """Refuses modes that these rows do not allow.

    Raises:
        ValueError: a mode is unknown, or "shuffled" is given and all rows have one instruction.
    """
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"mode {unknown[0]!r} is unknown. Modes: {', '.join(MODES)}.")
    if "shuffled" in modes and (row := _without_other(rows, more)) is not None:
        raise ValueError(
            f"no row has another instruction than row {row.id!r}, so the model cannot be given "
            "another one. Evaluate more rows (of the table-top: the split val), or leave out "
            "--shuffled."
        )


def _without_other(rows: Sequence[VideoRow], more: Sequence[VideoRow]) -> VideoRow | None:
    """The first row for which no row has another instruction."""
    known = {plain for row in chain(rows, more) if (plain := _plain(row.instruction))}
    return next((row for row in rows if not known - _own_wordings(row)), None)


def _other_rows(real: Sequence[RealVideo], more: Sequence[VideoRow]) -> list[tuple[VideoRow, bool]]:
    """For each row the row whose instruction is used instead, and whether it has the same frame.

    It is the next row with the same first frame and another instruction, else the next row with
    another instruction.
    """
    rows = [one.row for one in real]
    with_frame: dict[str, list[int]] = {}
    for index, one in enumerate(real):
        with_frame.setdefault(one.first_frame, []).append(index)
    others = []
    for index, one in enumerate(real):
        same_frame, own_wordings = with_frame[one.first_frame], _own_wordings(one.row)
        at = same_frame.index(index)
        in_order = chain(
            ((rows[n], True) for n in chain(same_frame[at + 1 :], same_frame[:at])),
            ((row, False) for row in chain(rows[index + 1 :], rows[:index], more)),
        )
        others.append(next(
            (row, has_same_frame) for row, has_same_frame in in_order
            if _plain(row.instruction) and _plain(row.instruction) not in own_wordings
        ))  # fmt: skip
    return others


def _own_wordings(row: VideoRow) -> set[str]:
    """All wordings of a row's instruction."""
    return {_plain(words) for words in [row.instruction, *row.wordings]}


def _plain(words: str) -> str:
    return " ".join(words.casefold().split())
