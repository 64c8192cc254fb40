"""The table-top's judge: reads from the pixels of a video which task it shows.

`aid evaluate` uses it for rows that state what the simulator knows about the first frame.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.evaluate.judge import Scores, Verdict, wilson_interval
from aid.tabletop.language import FAMILIES, Task, instructions
from aid.tabletop.reader.instruction import Judgement, judge
from aid.tabletop.reader.reading import OutcomeReader
from aid.types import VideoRow

NEEDED = {"items", "camera", "task", "alternatives", "scene"}
"""Facts that a row's `world` must state; those of the splits val, test, forks and combos do."""


class TabletopJudge:
    """Judges videos of the splits val, test, forks and combos."""

    name = "the table-top's outcome reader"

    def __init__(self) -> None:
        self._known: tuple[VideoRow, bytes, OutcomeReader] | None = None

    def can_judge(self, row: VideoRow) -> bool:
        """Whether the row states which items the frame shows and which tasks it allows.

        A part of an episode does not: its facts describe the episode's first frame.
        """
        return row.world.keys() >= NEEDED and "window" not in row.world

    def judge(
        self,
        row: VideoRow,
        given_frame: UInt8[np.ndarray, "H W 3"],
        video: UInt8[np.ndarray, "f H W 3"],
        other_row: VideoRow | None = None,
    ) -> Verdict:
        """The verdict on one video; see `evaluate.judge.Judge`.

        Raises:
            ValueError: the frame does not show the row's items, or the video has another size.
        """
        reading = self._reader(row, given_frame).read(video)
        alternatives = alternatives_of(row)
        judgement, by_given = judge(reading, task_of(row), alternatives), None
        if other_row is not None and other_row.world.get("scene") == row.world["scene"]:
            by_given = judge(reading, task_of(other_row), alternatives)
        left_out = ("requested", "shown", "num_items")
        facts = {key: value for key, value in asdict(judgement).items() if key not in left_out}
        return Verdict(
            is_obeyed=judgement.is_obeyed,
            shown=None if judgement.shown is None else instructions(judgement.shown)[0],
            obeys_given=None if by_given is None else by_given.is_obeyed,
            facts=facts,
            finding=(judgement, by_given),
        )

    def scores(self, verdicts: Sequence[Verdict]) -> Scores:
        """Instruction accuracy and the table-top's further figures."""
        by_given = [one for _, one in (v.finding for v in verdicts) if one is not None]
        return scores_of([v.finding[0] for v in verdicts], by_given or None)

    def _reader(self, row: VideoRow, frame: UInt8[np.ndarray, "H W 3"]) -> OutcomeReader:
        """The reader for one given frame, which all videos of a row share."""
        pixels = frame.tobytes()
        if self._known is not None and self._known[0] is row and self._known[1] == pixels:
            return self._known[2]
        names = [item["name"] for item in row.world["items"]]
        try:
            reader = OutcomeReader(frame, names, row.world["camera"])
        except ValueError as error:
            raise ValueError(f"row {row.id!r}: {error}") from None
        self._known = (row, pixels, reader)
        return reader


def require_facts(rows: Sequence[VideoRow]) -> Sequence[VideoRow]:
    """Returns the rows if the table-top's judge can judge all of them.

    Raises:
        ValueError: a row lacks facts about the world.
    """
    for row in rows:
        if missing := sorted(NEEDED - row.world.keys()):
            raise ValueError(
                f"row {row.id!r} does not state {', '.join(missing)}, which the judge needs. "
                "Give a table-top split that lists the possible tasks: val, test, forks or combos."
            )
    return rows


def task_of(row: VideoRow) -> Task:
    """The task that a row asks for."""
    return _task(row.world["task"])


def alternatives_of(row: VideoRow) -> list[Task]:
    """All tasks that a row's first frame allows."""
    return [_task(one) for one in row.world["alternatives"]]


def _task(facts: dict[str, Any]) -> Task:
    return Task(facts["family"], facts["object"], facts.get("target"), facts.get("direction"))


def scores_of(
    judgements: Sequence[Judgement], by_given: Sequence[Judgement] | None = None
) -> Scores:
    """The figures of one set of videos.

    `details` are `families` (for each family of tasks the number of videos that obey, and of all),
    `outcome_holds` and `right_object` (shares), `bystander_displacement` (metres; None if all other
    items are lost) and `items_lost` (a share).

    Args:
        judgements: one for each video, by the row's instruction.
        by_given: the same videos, judged by the given instruction if that is another one. It then
            also decides which items should not have moved.
    """
    assert judgements
    number, obeyed = len(judgements), sum(one.is_obeyed for one in judgements)
    families = {}
    for family in FAMILIES:
        if members := [one for one in judgements if one.requested.family == family]:
            families[family] = (sum(one.is_obeyed for one in members), len(members))
    found = [one.bystander_displacement for one in by_given or judgements]
    displacements = [one for one in found if one is not None]
    displacement = float(np.mean(displacements)) if displacements else None
    holds = float(np.mean([one.holds for one in judgements]))
    right_object = float(np.mean([one.is_right_object for one in judgements]))
    lost = sum(one.num_lost for one in judgements) / sum(one.num_items for one in judgements)
    return Scores(
        num_videos=number,
        num_obeyed=obeyed,
        accuracy=obeyed / number,
        interval=wilson_interval(obeyed, number),
        obeys_given=None if by_given is None else float(np.mean([o.is_obeyed for o in by_given])),
        details={
            "outcome_holds": holds,
            "right_object": right_object,
            "families": families,
            "bystander_displacement": displacement,
            "items_lost": lost,
        },
        columns={
            **{family: f"{yes}/{all_}" for family, (yes, all_) in families.items()},
            "outcome holds": f"{100 * holds:.1f} %",
            "right object": f"{100 * right_object:.1f} %",
            "bystanders moved": "" if displacement is None else f"{1000 * displacement:.1f} mm",
            "items lost": f"{100 * lost:.1f} %",
        },
    )
