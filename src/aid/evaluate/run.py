"""Predicts, reads and judges every row of a split, batch by batch, and writes the score card."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from aid.evaluate.likeness import OnVideo, likeness_to_real
from aid.evaluate.predictions import Frame, Predict, Predictions, Video
from aid.evaluate.questions import MODES, Question, questions_of
from aid.metrics.baselines import COPIED
from aid.metrics.extractors import Extractor
from aid.metrics.instruction import Judgement, OutcomeReader, judge
from aid.metrics.paired import Perceptual
from aid.metrics.protocol import Protocol
from aid.metrics.scorecard import ScoreCard, scores_of
from aid.metrics.videos import VideoSet
from aid.types import VideoRow
from aid.video import contact_sheet, read_video, whole_file, write_png
from aid.wording import instructions

REAL = "real videos"
TEXTLESS = "the backbone alone, without words"
NUM_PICTURES = 12


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One set of predictions: who predicts, told what."""

    name: str
    folder: str
    predict: Predict
    mode: str


def evaluate(
    rows: Sequence[VideoRow],
    folder: Path,
    predict: Predict | None,
    *,
    out: Path,
    textless: Predict | None = None,
    modes: Sequence[str] = ("true",),
    seed: int = 0,
    batch_size: int = 8,
    made_with: dict[str, Any] | None = None,
    title: str = "Instruction accuracy",
    protocol: Protocol | None = None,
    extractor: Extractor | None = None,
    perceptual: Perceptual | None = None,
    on_video: Callable[[int, int], None] | None = None,
    on_read: OnVideo | None = None,
) -> ScoreCard:
    """The score card of a model; also written as report.json, .md and .html, and sheet.png.

    Row number i is predicted with seed `seed` + i in every mode, so that only the words differ.
    Every prediction stays in `out/predictions`, and is not made again by a second call.

    Args:
        rows: of a split whose world says which tasks each frame allows: test, forks or combos.
        folder: the split's folder, to which the rows' videos are relative.
        predict: the model; None scores only the real videos and the copied first frame.
        out: where the report goes; made if it does not exist.
        textless: the model's backbone without words, as one more line.
        modes: what the model is told: the row's instruction; another one of the same frame (both
            are judged by the row's own); nothing.
        seed: of the first row.
        batch_size: rows that are handed to `predict` at once.
        made_with: plain values that identify model and sampler; predictions in `out` that were made
            with others are refused.
        title: heading of the report, such as the model's name and the split.
        protocol: which frames are compared with the real ones; needed with `extractor`.
        extractor: what videos are compared with; None leaves all distances out.
        perceptual: LPIPS, if its weights are at hand.
        on_video: called with (videos scored, all of them).
        on_read: called with (what is compared, videos done, all of them).

    Raises:
        ValueError: there are no rows, a row lacks facts about the world, "shuffled" is asked of a
            split with one instruction per frame, `predict` returns something else, or `out` holds
            other predictions.
    """
    questions = questions_of(rows, modes, seed)
    out.mkdir(parents=True, exist_ok=True)
    asked = [_Asked(name=MODES[m], folder=m, predict=predict, mode=m) for m in modes if predict]
    if textless is not None:
        asked.append(_Asked(name=TEXTLESS, folder="textless", predict=textless, mode="empty"))
    predictions = Predictions(out / "predictions", made_with or {}) if asked else None
    tally = _Tally(names=[REAL, COPIED, *(one.name for one in asked)])
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        real = [read_video(folder / question.row.video) for question in batch]
        shown = {REAL: real, COPIED: [np.repeat(video[:1], len(video), 0) for video in real]}
        for one in asked:
            shown[one.name] = predictions.of_batch(one.folder, one.predict, batch, real, one.mode)
        for index, question in enumerate(batch):
            videos = {name: shown[name][index] for name in tally.names}
            tally.add(question, real[index][0], videos)
        if on_video is not None:
            on_video(len(tally.videos), len(questions) * len(tally.names))
    card = tally.score_card(title, seed)
    if extractor is not None and protocol is not None:
        real_set = VideoSet(title=REAL, paths={q.row.id: folder / q.row.video for q in questions})
        sets = [
            VideoSet(title=one.name, paths={q.row.id: predictions.path(one.folder, q, one.mode)
                                            for q in questions})
            for one in asked
        ]  # fmt: skip
        comparison, lift = likeness_to_real(
            real_set, sets, questions, protocol, extractor, out / "features",
            perceptual=perceptual, on_video=on_read,
        )  # fmt: skip
        card = replace(card, comparison=comparison, lift=lift)
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


def _reader(row: VideoRow, given_frame: Frame) -> OutcomeReader:
    names = [item["name"] for item in row.world["items"]]
    try:
        return OutcomeReader(given_frame, names, row.world["camera"])
    except ValueError as error:
        raise ValueError(f"row {row.id!r}: {error}") from None


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
    with whole_file(out / "report.html") as temporary:
        temporary.write_text(card.to_html(), encoding="utf-8")
    scale = max(1, 128 // pictures[0][1].shape[1])
    write_png(out / "sheet.png", contact_sheet(pictures, scale=scale))
