"""Verb 4: predictions against what was asked, as a score card.

Called by the command line with any `predict` callable: a model, a baseline, another program. Of
every row the first frame and an instruction go in; the video that comes out is read by its pixels
(`aid.metrics`), next to the real video and the copied first frame, which need no model.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.metrics.instruction import Judgement, OutcomeReader, judge
from aid.metrics.scorecard import ScoreCard, scores_of
from aid.types import VideoRow
from aid.video import contact_sheet, read_video, whole_file, write_png
from aid.wording import Task, instructions

Frame = UInt8[np.ndarray, "_ _ 3"]
Video = UInt8[np.ndarray, "_ _ _ 3"]
Predict = Callable[[list[Frame], list[str], list[int]], list[Video]]
"""(first frames, instructions, seeds) -> a video for each."""

REAL, COPIED = "real videos", "first frame, repeated"
MODES = {
    "true": "the instruction",
    "shuffled": "another instruction of the same frame",
    "empty": "no instruction",
}
"""What each mode gives the model, as the report says it."""
NUM_PICTURES = 12


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


def evaluate(
    rows: Sequence[VideoRow],
    folder: Path,
    predict: Predict | None,
    *,
    out: Path,
    modes: Sequence[str] = ("true",),
    seed: int = 0,
    batch_size: int = 8,
    title: str = "Instruction accuracy",
    on_video: Callable[[int, int], None] | None = None,
) -> ScoreCard:
    """The score card of a model; also written as report.json, report.md and sheet.png.

    Row number i is predicted with seed `seed` + i in every mode, so that only the words differ.

    Args:
        rows: of a split whose world says which tasks each frame allows: test, forks or combos.
        folder: the split's folder, to which the rows' videos are relative.
        predict: the model; None scores only the real videos and the copied first frame.
        out: where the report goes; made if it does not exist.
        modes: what the model is told: the row's instruction; another one of the same frame (both
            are judged by the row's own); nothing.
        seed: of the first row.
        batch_size: rows that are handed to `predict` at once.
        title: heading of the report, such as the model's name and the split.
        on_video: called with (videos scored, all of them).

    Raises:
        ValueError: there are no rows, a row lacks facts about the world, "shuffled" is asked of a
            split with one instruction per frame, or `predict` returns something else.
    """
    questions = _questions(rows, modes, seed)
    out.mkdir(parents=True, exist_ok=True)
    names = [REAL, COPIED] + [MODES[mode] for mode in modes if predict is not None]
    tally = _Tally(names=names)
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        real = [read_video(folder / question.row.video) for question in batch]
        shown = {REAL: real, COPIED: [np.repeat(video[:1], len(video), 0) for video in real]}
        if predict is not None:
            for mode in modes:
                shown[MODES[mode]] = _predicted(predict, batch, real, mode)
        for index, question in enumerate(batch):
            tally.add(question, real[index][0], {name: shown[name][index] for name in names})
        if on_video is not None:
            on_video(len(tally.videos), len(questions) * len(names))
    card = tally.score_card(title, seed)
    _write(out, card, tally.pictures)
    return card


@dataclass(frozen=True, kw_only=True)
class _Tally:
    """The verdicts so far, and the videos of the first rows."""

    names: list[str]
    judged: dict[str, list[Judgement]] = field(default_factory=lambda: defaultdict(list))
    by_told: list[Judgement] = field(default_factory=list)
    videos: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[str, Video]] = field(default_factory=list)

    def add(self, question: Question, given_frame: Frame, shown: dict[str, Video]) -> None:
        """Reads and judges every video of one row."""
        reader = _reader(question.row, given_frame)
        has_picture = len(self.judged[REAL]) < NUM_PICTURES
        pictured = [REAL, *self.names[2:3]]
        for name, video in shown.items():
            reading = reader.read(video)
            verdict = judge(reading, question.asked, question.alternatives)
            self.judged[name].append(verdict)
            self.videos.append(_record(name, question, verdict))
            if name == MODES["shuffled"]:
                assert question.told_task is not None
                self.by_told.append(judge(reading, question.told_task, question.alternatives))
            if has_picture and name in pictured:
                self.pictures.append((_caption(name, question, verdict), video))

    def score_card(self, title: str, seed: int) -> ScoreCard:
        """All verdicts as numbers."""
        scores = {
            name: scores_of(self.judged[name], self.by_told if name == MODES["shuffled"] else None)
            for name in self.names
        }
        return ScoreCard(title=title, seed=seed, scores=scores, videos=self.videos)


def _questions(rows: Sequence[VideoRow], modes: Sequence[str], seed: int) -> list[Question]:
    """What is asked about every row, checked before anything is predicted."""
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


def _reader(row: VideoRow, given_frame: Frame) -> OutcomeReader:
    names = [item["name"] for item in row.world["items"]]
    try:
        return OutcomeReader(given_frame, names, row.world["camera"])
    except ValueError as error:
        raise ValueError(f"row {row.id!r}: {error}") from None


def _predicted(
    predict: Predict, batch: list[Question], real: list[Video], mode: str
) -> list[Video]:
    videos = predict(
        [video[0] for video in real],
        [question.told[mode] for question in batch],
        [question.seed for question in batch],
    )
    if len(videos) != len(batch):
        raise ValueError(
            f"predict must return a video for each frame, {len(batch)}, got {len(videos)}."
        )
    return videos


def _record(name: str, question: Question, verdict: Judgement) -> dict[str, Any]:
    """One line about one video for report.json."""
    told = {MODES[mode]: text for mode, text in question.told.items()}
    return {
        "set": name,
        "id": question.row.id,
        "asked": question.row.instruction,
        "told": told.get(name),
        "seed": question.seed,
        "shown": None if verdict.shown is None else instructions(verdict.shown)[0],
        "is_obeyed": verdict.is_obeyed,
        **{
            key: value
            for key, value in asdict(verdict).items()
            if key not in ("asked", "shown", "num_items")
        },
    }


def _caption(name: str, question: Question, verdict: Judgement) -> str:
    record = _record(name, question, verdict)
    if name == REAL:
        return f"asked: {record['asked']}"
    told = "" if name == MODES["true"] else f", told {record['told'] or 'nothing'!r}"
    mark = "yes" if verdict.is_obeyed else "no"
    return f"{mark}{told}: it shows {record['shown'] or 'none of the tasks'}"


def _write(out: Path, card: ScoreCard, pictures: list[tuple[str, Video]]) -> None:
    with whole_file(out / "report.json") as temporary:
        temporary.write_text(json.dumps(card.to_json(), indent=1) + "\n", encoding="utf-8")
    with whole_file(out / "report.md") as temporary:
        temporary.write_text(card.to_markdown(), encoding="utf-8")
    scale = max(1, 128 // pictures[0][1].shape[1])
    write_png(out / "sheet.png", contact_sheet(pictures, scale=scale))
