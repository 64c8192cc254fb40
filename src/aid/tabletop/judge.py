"""The table-top's judge: reads from the pixels of a video which task it shows.

Called by the command line where rows state what the simulator knows of the first frame.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.evaluate.judge import Verdict
from aid.metrics.scorecard import Scores, wilson_interval
from aid.tabletop.language import FAMILIES, Task, instructions
from aid.tabletop.reader.instruction import Judgement, judge
from aid.tabletop.reader.reading import OutcomeReader
from aid.types import VideoRow

NEEDED = {"items", "camera", "task", "alternatives", "scene"}
"""What a row's `world` must say; its splits test, forks and combos do."""


class TabletopJudge:
    """Judges videos of the splits test, forks and combos."""

    name = "the table-top's outcome reader"

    def __init__(self) -> None:
        self._known: tuple[VideoRow, bytes, OutcomeReader] | None = None

    def can_judge(self, row: VideoRow) -> bool:
        """Whether the row says which items the frame shows and which tasks it allows.

        A part of an episode does not: its items are where they are at the episode's start.
        """
        return row.world.keys() >= NEEDED and "window" not in row.world

    def judge(
        self,
        row: VideoRow,
        given_frame: UInt8[np.ndarray, "H W 3"],
        video: UInt8[np.ndarray, "f H W 3"],
        told: VideoRow | None = None,
    ) -> Verdict:
        """The verdict on one video; see `evaluate.judge.Judge`.

        Raises:
            ValueError: the frame does not show the row's items, or the video has another size.
        """
        reading = self._reader(row, given_frame).read(video)
        asked, alternatives = task_of(row), alternatives_of(row)
        finding, by_told = judge(reading, asked, alternatives), None
        if told is not None and told.world.get("scene") == row.world["scene"]:
            by_told = judge(reading, task_of(told), alternatives)
        left_out = ("asked", "shown", "num_items")
        facts = {key: value for key, value in asdict(finding).items() if key not in left_out}
        return Verdict(
            is_obeyed=finding.is_obeyed,
            shown=None if finding.shown is None else instructions(finding.shown)[0],
            obeys_told=None if by_told is None else by_told.is_obeyed,
            facts=facts,
            finding=(finding, by_told),
        )

    def scores(self, verdicts: Sequence[Verdict]) -> Scores:
        """Instruction accuracy and what stands beside it."""
        by_told = [one for _, one in (v.finding for v in verdicts) if one is not None]
        return scores_of([v.finding[0] for v in verdicts], by_told or None)

    def _reader(self, row: VideoRow, frame: UInt8[np.ndarray, "H W 3"]) -> OutcomeReader:
        """A reader for one given frame; several videos of a row share it."""
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
    """The rows, if the table-top's judge can judge all of them.

    Raises:
        ValueError: a row lacks facts about the world.
    """
    for row in rows:
        if missing := sorted(NEEDED - row.world.keys()):
            raise ValueError(
                f"row {row.id!r} does not say {', '.join(missing)}, which judging it needs. "
                "Give a table-top split with a closed list of tasks: test, forks or combos."
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
