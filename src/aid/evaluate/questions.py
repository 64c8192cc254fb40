"""What is asked of a model about every row: instructions, seeds, and what the frame allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aid.types import VideoRow
from aid.wording import Task

MODES = {
    "true": "the instruction",
    "shuffled": "another instruction of the same frame",
    "empty": "no instruction",
}
"""What each mode gives the model, as the report says it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One row: what is asked, what the frame allows, and what the model is told in each mode."""

    row: VideoRow
    asked: Task
    alternatives: list[Task]
    told: dict[str, str]
    told_task: Task | None
    """The task of the shuffled instruction."""
    seed: int


def questions_of(rows: Sequence[VideoRow], modes: Sequence[str], seed: int) -> list[Question]:
    """What is asked about every row, checked before anything is predicted; row i has seed + i.

    Raises:
        ValueError: there are no rows, a row lacks facts about the world, a mode is unknown, or
            "shuffled" is asked of a split with one instruction per frame.
    """
    if not rows:
        raise ValueError("there are no videos to evaluate. Give the rows of a split.")
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"mode {unknown[0]!r} is unknown. Modes: {', '.join(MODES)}.")
    for row in rows:
        needed = {"items", "camera", "task", "alternatives", "scene"}
        if missing := sorted(needed - row.world.keys()):
            raise ValueError(
                f"row {row.id!r} does not say {', '.join(missing)}, which judging it needs. "
                "Evaluate a table-top split with a closed list of tasks: test, forks or combos."
            )
    others = _other_rows(rows) if "shuffled" in modes else [None] * len(rows)
    questions = []
    for index, (row, other) in enumerate(zip(rows, others, strict=True)):
        told: dict[str, str] = {"true": row.instruction, "empty": ""}
        if other is not None:
            told["shuffled"] = other.instruction
        questions.append(
            Question(
                row=row,
                asked=_task(row.world["task"]),
                alternatives=[_task(one) for one in row.world["alternatives"]],
                told=told,
                told_task=None if other is None else _task(other.world["task"]),
                seed=seed + index,
            )
        )
    return questions


def _other_rows(rows: Sequence[VideoRow]) -> list[VideoRow]:
    """For each row the next one of the same scene that asks something else, in a circle."""
    scenes: dict[Any, list[VideoRow]] = {}
    for row in rows:
        scenes.setdefault(row.world["scene"], []).append(row)
    others = []
    for row in rows:
        scene = scenes[row.world["scene"]]
        at = next(i for i, one in enumerate(scene) if one is row)
        after = [*scene[at + 1 :], *scene[:at]]
        different = [one for one in after if _task(one.world["task"]) != _task(row.world["task"])]
        if not different:
            raise ValueError(
                f"row {row.id!r} is the only one of its first frame, so there is no other "
                "instruction to give. Use the split forks (or test), and whole scenes of it."
            )
        others.append(different[0])
    return others


def _task(facts: dict[str, Any]) -> Task:
    return Task(facts["family"], facts["object"], facts.get("target"), facts.get("direction"))
