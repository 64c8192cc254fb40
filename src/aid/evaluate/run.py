"""Predicts every row of a split, batch by batch, scores that, and writes the score card."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aid.config import FrameConfig
from aid.evaluate.baselines import ENCODED, Autoencode, encoded_videos, trivial_videos
from aid.evaluate.card import ScoreCard
from aid.evaluate.judge import Judge, Verdict
from aid.evaluate.predictions import Predict, Predictions, Video
from aid.evaluate.questions import Question, check_modes, questions_of, titles_of
from aid.evaluate.ranks import ALONE, Ranks
from aid.evaluate.real import FrameSettings, OnVideo, read_real_videos
from aid.evaluate.showing import write_sheet, write_side_by_side
from aid.evaluate.words import effects_of, lift_in_features
from aid.metrics.baselines import COPIED
from aid.metrics.extractors import Extractor
from aid.metrics.likeness import compare
from aid.metrics.paired import Perceptual
from aid.metrics.protocol import Protocol, choose_protocol
from aid.metrics.videos import VideoSet
from aid.types import VideoRow
from aid.video import NoteCounter, remove_leftovers, whole_file

REAL = "real videos"
TEXTLESS = "the backbone alone, without words"
NUM_PICTURES = 12
FEWEST_FOR_DISTANCES = 4
"""Videos from which on sets can be compared with each other: two halves of two."""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One set of predictions: who predicts, told what."""

    title: str
    folder: str
    predict: Predict
    mode: str


def evaluate(
    rows: Sequence[VideoRow],
    folder: Path | str,
    predict: Predict | None,
    *,
    out: Path,
    frames: FrameSettings | None = None,
    textless: Predict | None = None,
    autoencode: Autoencode | None = None,
    judge: Judge | None = None,
    modes: Sequence[str] = ("true",),
    mean: Video | None = None,
    more: Sequence[VideoRow] = (),
    seed: int = 0,
    batch_size: int = 8,
    made_with: dict[str, Any] | None = None,
    title: str = "Instruction accuracy",
    protocol: Protocol | None = None,
    extractor: Extractor | None = None,
    perceptual: Perceptual | None = None,
    notes: Sequence[str] = (),
    with_states: bool = False,
    ranks: Ranks = ALONE,
    on_video: Callable[[int, int], None] | None = None,
    on_read: OnVideo | None = None,
) -> ScoreCard | None:
    """The score card of a model on any rows; also written as report.json, .md and .html.

    Of every row the given frames of its real video and an instruction go in. Row number i is
    predicted with seed `seed` + i in every mode, so that only the words differ. Everything that is
    made stays in `out` (real videos in `real`, predictions in `predictions`, each beside a record
    with its checksum), and is not made again by a second call. sheet.png and the folder `videos`
    show the first rows.

    Args:
        rows: windows of a data set, in any order.
        folder: folder or URL that the rows' videos are in.
        predict: the model; None scores only the real videos and trivial ones.
        out: where the report goes; made if it does not exist.
        frames: which frames of the rows, in which size; None takes each whole video of the first
            row's number of frames and size.
        textless: the model's backbone without words, as one more line.
        autoencode: the backbone's autoencoder, as one more line: encodes and decodes.
        judge: reads what a video shows, of the rows that it can judge.
        modes: what the model is told: the row's instruction; another one, of a row with the same
            first frame where there is one (both are judged by the row's own); nothing.
        mean: the mean of the training videos; None takes, for each row, the mean of the others.
        more: rows that are not evaluated, whose words are told in the mode "shuffled" where all
            evaluated rows say the same.
        seed: of the first row.
        batch_size: rows that are handed to `predict` at once.
        made_with: plain values that identify model and sampler; predictions in `out` that were made
            with others are refused.
        title: heading of the report, such as the model's name and the split.
        protocol: which frames are compared, and how many were given; None compares all but the
            first.
        extractor: what videos are compared with; None leaves all distances out.
        perceptual: LPIPS, if its weights are at hand.
        notes: sentences for the card that the caller knows: what was left out before.
        with_states: whether `predict` is also given the states recorded with each row (of the mode
            "shuffled" the other row's). They must not know more than the first frame and the words.
        ranks: the processes of a launcher, which share the rows.
        on_video: called with (videos scored, all of them).
        on_read: called with (what is compared, videos done, all of them).

    Returns:
        The card; None in the processes that only draw their share.

    Raises:
        ValueError: there are no rows, none can be read, "shuffled" is asked where all rows say the
            same, `predict` returns something else, or `out` holds other predictions.
    """
    if not rows:
        raise ValueError("there are no videos to evaluate. Give the rows of a split.")
    frames = frames or _whole_videos(rows[0])
    protocol = protocol or choose_protocol("strict", frames.num_frames, 1)
    check_modes(rows, modes, more)
    out.mkdir(parents=True, exist_ok=True)
    if ranks.number == 1:
        remove_leftovers(out)
    real, unreadable = read_real_videos(
        folder, rows, out / "real", frames, ranks=ranks, on_video=on_read
    )
    questions, notes = questions_of(real, modes, seed, more), list(notes)
    of_files = NoteCounter()
    for one in real:
        of_files.add(one.row.id, one.notes)
    notes += of_files.lines()
    notes += [f"Left out: {row_id}: {reason}" for row_id, reason in unreadable.items()]
    titles = titles_of(questions)
    asked = [_Asked(title=titles[m], folder=m, predict=predict, mode=m) for m in modes if predict]
    if textless is not None:
        asked.append(_Asked(title=TEXTLESS, folder="textless", predict=textless, mode="empty"))
    predictions = None
    if asked:
        given = protocol.num_given_frames
        predictions = Predictions(out / "predictions", made_with or {}, given, with_states)
    by = str((made_with or {}).get("backbone"))

    def show(batch: Sequence[Question]) -> dict[str, list[Video]]:
        """All videos of a batch, made where they are not there yet."""
        videos = [question.real.read() for question in batch]
        shown = {REAL: videos, COPIED: [np.repeat(video[:1], len(video), 0) for video in videos]}
        for one in asked:
            shown[one.title] = predictions.of_batch(
                one.folder, one.predict, batch, videos, one.mode
            )
        if autoencode is not None:
            shown[ENCODED] = encoded_videos(out / "encoded", autoencode, batch, videos, by)
        return shown

    names = [REAL, COPIED, *(one.title for one in asked), *([ENCODED] if autoencode else [])]
    if ranks.number > 1 and asked:
        _draw_share(show, questions, asked, predictions, batch_size, ranks, on_video)
    if not ranks.is_first:
        return None
    tally = _Tally(names=names, titles=titles, judge=judge)
    for start in range(0, len(questions), batch_size):
        batch = questions[start : start + batch_size]
        shown = show(batch)
        for index, question in enumerate(batch):
            tally.add(question, {name: shown[name][index] for name in names})
        if on_video is not None:
            on_video((start + len(batch)) * len(names), len(questions) * len(names))
    if judge is not None and (unjudged := len(questions) - tally.num_judged):
        notes.append(
            f"{unjudged} of {len(questions)} rows do not say what {judge.name} needs, so they are "
            "scored without it."
        )

    def video_set(title: str, path_of: Callable[[Question], Path]) -> VideoSet:
        return VideoSet(title=title, paths={q.row.id: path_of(q) for q in questions})

    real_set = video_set(REAL, lambda q: q.real.path)
    made = {
        one.folder: video_set(one.title, lambda q, o=one: predictions.path(o.folder, q, o.mode))
        for one in asked
    }
    trivial, not_run = trivial_videos(real_set, protocol, mean)
    if autoencode is not None:
        trivial.append(video_set(ENCODED, lambda q: out / "encoded" / q.real.path.name))
    if extractor is not None and len(questions) < FEWEST_FOR_DISTANCES:
        not_run["distances"] = (
            f"sets of at least {FEWEST_FOR_DISTANCES} videos can be compared, there are "
            f"{len(questions)}"
        )
        extractor = None
    kept = out / "features"
    comparison = compare(
        real_set, [*made.values(), *trivial], protocol, extractor, kept, perceptual=perceptual,
        not_run=not_run, on_video=on_read,
    )  # fmt: skip
    of_words = {mode: made[mode] for mode in modes if mode in made}
    words, lift = {}, None
    if "true" in of_words:
        others = [videos for mode, videos in of_words.items() if mode != "true"]
        true = of_words["true"]
        words = effects_of(real_set, trivial[0], true, others, protocol, kept, perceptual)
    if extractor is not None and made and not comparison.unreadable:
        siblings = [question.real.first_frame for question in questions]
        lift = lift_in_features(real_set, made, siblings, protocol, extractor, kept)
    card = ScoreCard(
        title=title, seed=seed, comparison=comparison, words=words, lift=lift,
        scores=tally.scores(), videos=tally.videos, notes=notes,
    )  # fmt: skip
    _write(out, card, tally)
    return card


def _whole_videos(row: VideoRow) -> FrameSettings:
    """All frames of videos like this one, as they are."""
    if not (row.num_frames and row.height and row.width):
        raise ValueError(
            f"row {row.id!r} does not say how many frames of which size it has. Say which to take."
        )
    return FrameSettings(
        frames=FrameConfig(), num_frames=row.num_frames, height=row.height, width=row.width
    )


def _draw_share(
    show: Callable[[Sequence[Question]], Any],
    questions: Sequence[Question],
    asked: Sequence[_Asked],
    predictions: Predictions,
    batch_size: int,
    ranks: Ranks,
    on_video: Callable[[int, int], None] | None,
) -> None:
    """Draws this process's rows; the first one then waits for the others, not for ever."""
    own, slowest, total = ranks.share(questions), 0.0, len(questions) * len(asked)

    def count() -> int:
        return sum(predictions.has(o.folder, q, o.mode) for o in asked for q in questions)

    for start in range(0, len(own), batch_size):
        before = time.monotonic()
        show(own[start : start + batch_size])
        slowest = max(slowest, time.monotonic() - before)
        if on_video is not None:
            on_video(count(), total)
    if ranks.is_first:
        ranks.wait(count, total, slowest, on_video)


@dataclass(kw_only=True)
class _Tally:
    """The verdicts so far, and the videos of the first rows."""

    names: list[str]
    titles: dict[str, str]
    judge: Judge | None
    num_judged: int = 0
    verdicts: dict[str, list[Verdict]] = field(default_factory=lambda: defaultdict(list))
    videos: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[Question, list[tuple[str, str, Video]]]] = field(default_factory=list)
    """Of the first rows the videos with their captions and short labels, the real one first."""

    def add(self, question: Question, shown: dict[str, Video]) -> None:
        """Judges every video of one row, if there is a judge for it."""
        row, given_frame = question.row, shown[REAL][0]
        is_judged = self.judge is not None and self.judge.can_judge(row)
        self.num_judged += is_judged
        panels = []
        for name, video in shown.items():
            verdict = None
            if is_judged:
                told = question.other if name == self.titles["shuffled"] else None
                verdict = self.judge.judge(row, given_frame, video, told)
                self.verdicts[name].append(verdict)
            self.videos.append(self._record(name, question, verdict))
            if name != COPIED:
                label = self._label(name, question, verdict)
                caption = f"real: {row.instruction}" if name == REAL else label
                if verdict is not None and name != REAL:
                    caption += f": it shows {verdict.shown or 'none of the tasks'}"
                panels.append((caption, label, video))
        if len(self.pictures) < NUM_PICTURES:
            self.pictures.append((question, panels))

    def scores(self) -> dict[str, Any]:
        """The judge's numbers of each set."""
        if self.judge is None or not self.num_judged:
            return {}
        return {name: self.judge.scores(self.verdicts[name]) for name in self.names}

    def _told(self, name: str, question: Question) -> str | None:
        """What the model was told for a video of this set; None if there was no model."""
        told = {self.titles[mode]: text for mode, text in question.told.items()}
        return told.get(name)

    def _record(self, name: str, question: Question, verdict: Verdict | None) -> dict[str, Any]:
        """One line about one video for report.json."""
        line = {
            "set": name,
            "id": question.row.id,
            "asked": question.row.instruction,
            "told": self._told(name, question),
            "seed": question.seed,
            "fps": question.real.fps,
        }
        if verdict is not None:
            line |= {"shown": verdict.shown, "is_obeyed": verdict.is_obeyed, **verdict.facts}
        return line

    def _label(self, name: str, question: Question, verdict: Verdict | None) -> str:
        """What a video is, in a few words; with a judge, whether it shows what was asked."""
        told = self._told(name, question)
        if name == REAL:
            label = "real"
        elif told is None:
            label = name
        elif name == self.titles["true"]:
            label = "predicted"
        else:
            label = f"told {told!r}" if told else "told nothing"
        if verdict is None or name == REAL:
            return label
        return f"{'yes' if verdict.is_obeyed else 'no'}, {label}"


def _write(out: Path, card: ScoreCard, tally: _Tally) -> None:
    written = {
        "report.json": json.dumps(card.to_json(), indent=1) + "\n",
        "report.md": card.to_markdown(),
        "report.html": card.to_html(),
    }
    for name, text in written.items():
        with whole_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    pictures = [
        (caption, video) for _, panels in tally.pictures for caption, _, video in panels[:2]
    ]
    write_sheet(out / "sheet.png", pictures)
    (out / "videos").mkdir(exist_ok=True)
    for question, panels in tally.pictures:
        path = out / "videos" / f"{question.real.name}.mp4"
        shown = [(label, video) for _, label, video in panels]
        write_side_by_side(path, question.row.instruction, shown, question.real.fps)
