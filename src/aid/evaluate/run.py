"""Predicts the rows of a split batch by batch, scores the videos, and writes the score card."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.config import FrameConfig
from aid.evaluate.card import ScoreCard
from aid.evaluate.cases import Case, check_modes, make_cases, mode_titles
from aid.evaluate.judge import Judge, Scores, Verdict
from aid.evaluate.pictures import write_sheet, write_side_by_side
from aid.evaluate.predictions import (
    ENCODED,
    Autoencode,
    Predict,
    Predictions,
    Video,
    encoded_videos,
)
from aid.evaluate.ranks import ALONE, Ranks
from aid.evaluate.real import FrameSettings, OnVideo, read_real_videos
from aid.evaluate.words import effects_of, lift_in_features
from aid.metrics.baselines import COPIED, baselines
from aid.metrics.extractors import Extractor
from aid.metrics.likeness import compare
from aid.metrics.pairs import Perceptual
from aid.metrics.protocol import Protocol, choose_protocol
from aid.metrics.videos import VideoSet
from aid.types import VideoRow
from aid.video import NoteCounter, remove_leftovers, whole_file
from aid.worlds import Understand

REAL = "real videos"
TEXTLESS = "the backbone alone, without words"
NUM_PICTURES = 12
FEWEST_FOR_DISTANCES = 4
"""Fewest videos that sets can be compared with: two halves of two."""


@dataclass(frozen=True, kw_only=True)
class _PredictedSet:
    """One set of predictions: its title and folder, what predicts it, and in which mode."""

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
    understand: Understand | None = None,
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

    The model gets the given frames of each row's real video and an instruction. Row number i is
    predicted with seed `seed` + i in every mode, so that only the words differ. All videos stay in
    `out` (real videos in `real`, predictions in `predictions`, each with a record that holds its
    checksum), and a second call does not make them again. sheet.png and the folder `videos` show
    the first rows.

    Args:
        rows: windows of a data set, in any order.
        folder: folder or URL that the rows' videos are in.
        predict: the model; None scores only the real videos and trivial ones.
        out: the folder of the report; made if it does not exist.
        frames: which frames of the rows, at which size; None takes whole videos with the first
            row's number of frames and size.
        textless: the model's backbone without words, as a further set.
        understand: what the model reads for an instruction, if `predict` puts it into other words;
            only for the record.
        autoencode: encodes and decodes with the backbone's autoencoder, as a further set.
        judge: reads what a video shows, for the rows that it can judge.
        modes: the instructions that the model gets: "true", the row's; "shuffled", that of another
            row, with the same first frame if possible (both are judged by the row's own); "empty".
        mean: the mean of the training videos; None takes for each row the mean of the other rows.
        more: rows that are not evaluated; their instructions are used in the mode "shuffled" if all
            evaluated rows have the same instruction.
        seed: of the first row.
        batch_size: number of rows in one call of `predict`.
        made_with: plain values that identify model and sampler; predictions in `out` that were made
            with others are refused.
        title: heading of the report, such as the model's name and the split.
        protocol: which frames are compared, and how many were given; None compares all but the
            first.
        extractor: computes the features for the distances; None leaves all distances out.
        perceptual: LPIPS, if its weights were given.
        notes: the caller's sentences for the card, such as what it left out.
        with_states: whether `predict` also gets the states recorded with each row (in the mode
            "shuffled" the other row's). They must be written from the first frame or the words.
        ranks: the processes of a launcher, which share the rows.
        on_video: called with (rows done, number of rows); with several processes, with
            (predictions made, number of predictions).
        on_read: called with (task, videos done, number of videos).

    Returns:
        The card; None in the processes that only predict their share.

    Raises:
        ValueError: there are no rows, none can be read, "shuffled" is given and all rows have one
            instruction, `predict` returns something else, or `out` holds other predictions.
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
    cases, notes = make_cases(real, modes, seed, more), list(notes)
    file_notes = NoteCounter()
    for one in real:
        file_notes.add(one.row.id, one.notes)
    notes += file_notes.lines()
    notes += [f"Left out: {row_id}: {reason}" for row_id, reason in unreadable.items()]
    titles = mode_titles(cases)
    sets = [
        _PredictedSet(title=titles[mode], folder=mode, predict=predict, mode=mode)
        for mode in modes
        if predict is not None
    ]
    if textless is not None:
        sets.append(
            _PredictedSet(title=TEXTLESS, folder="textless", predict=textless, mode="empty")
        )
    predictions = None
    if sets:
        given = protocol.num_given_frames
        predictions = Predictions(out / "predictions", made_with or {}, given, with_states)
    backbone = str((made_with or {}).get("backbone"))

    def videos_of(batch: Sequence[Case]) -> dict[str, list[Video]]:
        """All videos of a batch by their sets; missing ones are made."""
        videos = [case.real.read() for case in batch]
        found = {REAL: videos, COPIED: [np.repeat(video[:1], len(video), 0) for video in videos]}
        for one in sets:
            found[one.title] = predictions.of_batch(
                one.folder, one.predict, batch, videos, one.mode
            )
        if autoencode is not None:
            found[ENCODED] = encoded_videos(out / "encoded", autoencode, batch, videos, backbone)
        return found

    names = [REAL, COPIED, *(one.title for one in sets), *([ENCODED] if autoencode else [])]
    if ranks.number > 1 and sets:
        _predict_share(videos_of, cases, sets, predictions, batch_size, ranks, on_video)
    if not ranks.is_first:
        return None
    tally = _Tally(names=names, titles=titles, judge=judge, understand=understand)
    for start in range(0, len(cases), batch_size):
        batch = cases[start : start + batch_size]
        found = videos_of(batch)
        for index, case in enumerate(batch):
            tally.add(case, {name: found[name][index] for name in names})
        if on_video is not None:
            on_video(start + len(batch), len(cases))
    if judge is not None and (unjudged := len(cases) - tally.num_judged):
        notes.append(
            f"{unjudged} of {len(cases)} rows do not state what {judge.name} needs, so they are "
            "scored without it."
        )

    notes += [*_wordings(cases), *tally.understanding_notes()]

    def video_set(title: str, path_of: Callable[[Case], Path]) -> VideoSet:
        return VideoSet(title=title, paths={case.row.id: path_of(case) for case in cases})

    real_set = video_set(REAL, lambda case: case.real.path)
    made = {
        one.folder: video_set(one.title, lambda c, o=one: predictions.path(o.folder, c, o.mode))
        for one in sets
    }
    trivial, not_run = baselines(real_set, protocol, mean=mean, leave_one_out=True)
    if autoencode is not None:
        trivial.append(video_set(ENCODED, lambda case: out / "encoded" / case.real.path.name))
    if extractor is not None and len(cases) < FEWEST_FOR_DISTANCES:
        not_run["distances"] = (
            f"sets of at least {FEWEST_FOR_DISTANCES} videos can be compared, there are "
            f"{len(cases)}"
        )
        extractor = None
    features = out / "features"
    comparison = compare(
        real_set, [*made.values(), *trivial], protocol, extractor, features,
        perceptual=perceptual, not_run=not_run, on_video=on_read,
    )  # fmt: skip
    by_mode = {mode: made[mode] for mode in modes if mode in made}
    words, lift = {}, None
    if "true" in by_mode:
        others = [videos for mode, videos in by_mode.items() if mode != "true"]
        true = by_mode["true"]
        words = effects_of(real_set, trivial[0], true, others, protocol, features, perceptual)
    if extractor is not None and made and not comparison.unreadable:
        first_frames = [case.real.first_frame for case in cases]
        lift = lift_in_features(real_set, made, first_frames, protocol, extractor, features)
    card = ScoreCard(
        title=title, seed=seed, comparison=comparison, words=words, lift=lift,
        scores=tally.scores(), videos=tally.videos, notes=notes,
    )  # fmt: skip
    _write(out, card, tally)
    return card


def _wordings(cases: Sequence[Case]) -> list[str]:
    """A note on the group of wordings, if the rows name one."""
    groups = sorted({str(case.row.world.get("wordings", "")) for case in cases} - {""})
    return [f"Wordings of the instructions: {', '.join(groups)}."] if groups else []


def _whole_videos(row: VideoRow) -> FrameSettings:
    """All frames of videos that have this row's number of frames and size."""
    if not (row.num_frames and row.height and row.width):
        raise ValueError(
            f"row {row.id!r} does not state its number of frames and its size. Give `frames`."
        )
    return FrameSettings(
        frames=FrameConfig(), num_frames=row.num_frames, height=row.height, width=row.width
    )


def _predict_share(
    videos_of: Callable[[Sequence[Case]], Any],
    cases: Sequence[Case],
    sets: Sequence[_PredictedSet],
    predictions: Predictions,
    batch_size: int,
    ranks: Ranks,
    on_video: Callable[[int, int], None] | None,
) -> None:
    """Predicts this process's rows; rank 0 then waits for the others, for a limited time."""
    own, slowest, total = ranks.share(cases), 0.0, len(cases) * len(sets)

    def count() -> int:
        return sum(predictions.has(one.folder, case, one.mode) for one in sets for case in cases)

    for start in range(0, len(own), batch_size):
        before = time.monotonic()
        videos_of(own[start : start + batch_size])
        slowest = max(slowest, time.monotonic() - before)
        if on_video is not None:
            on_video(count(), total)
    if ranks.is_first:
        ranks.wait(count, total, slowest, on_video)


@dataclass(kw_only=True)
class _Tally:
    """Collects the verdicts, a record of each video, and the videos of the first rows."""

    names: list[str]
    titles: dict[str, str]
    judge: Judge | None
    understand: Understand | None = None
    num_judged: int = 0
    verdicts: dict[str, list[Verdict]] = field(default_factory=lambda: defaultdict(list))
    videos: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[Case, list[tuple[str, str, Video]]]] = field(default_factory=list)
    """For each of the first rows its videos with captions and short labels, the real one first."""

    def add(self, case: Case, videos: dict[str, Video]) -> None:
        """Records every video of one row, with a verdict if the judge can judge the row."""
        row, given_frame = case.row, videos[REAL][0]
        is_judged = self.judge is not None and self.judge.can_judge(row)
        self.num_judged += is_judged
        panels = []
        for name, video in videos.items():
            verdict = None
            if is_judged:
                other_row = case.other_row if name == self.titles["shuffled"] else None
                verdict = self.judge.judge(row, given_frame, video, other_row)
                self.verdicts[name].append(verdict)
            self.videos.append(self._record(name, case, given_frame, verdict))
            if name != COPIED:
                label = self._label(name, case, verdict)
                caption = f"real: {row.instruction}" if name == REAL else label
                if verdict is not None and name != REAL:
                    caption += f"; it shows: {verdict.shown or 'none of the tasks'}"
                panels.append((caption, label, video))
        if len(self.pictures) < NUM_PICTURES:
            self.pictures.append((case, panels))

    def scores(self) -> dict[str, Scores]:
        """The judge's figures of each set."""
        if self.judge is None or not self.num_judged:
            return {}
        return {name: self.judge.scores(self.verdicts[name]) for name in self.names}

    def understanding_notes(self) -> list[str]:
        """How many instructions the model read in other words, and how many were not understood."""
        told = [one for one in self.videos if "understood" in one]
        other = [one for one in told if one["understood"] not in (None, one["given_instruction"])]
        lost = [one for one in told if one["understood"] is None]
        notes = []
        if other:
            notes.append(
                f"{len(other)} of {len(told)} instructions were put into other words for the "
                f"model: {other[0]['given_instruction']!r} was understood as "
                f"{other[0]['understood']!r}."
            )
        if lost:
            notes.append(
                f"{len(lost)} of {len(told)} instructions were not understood and handed over as "
                f"they are. The first: {lost[0]['not_understood']}"
            )
        return notes

    def _given_instruction(self, name: str, case: Case) -> str | None:
        """The instruction that the model got for a video of this set; None without a model."""
        given = {self.titles[mode]: words for mode, words in case.instructions.items()}
        return given.get(name)

    def _record(
        self,
        name: str,
        case: Case,
        given_frame: UInt8[np.ndarray, "H W 3"],
        verdict: Verdict | None,
    ) -> dict[str, Any]:
        """The entry of one video in report.json."""
        entry = {
            "set": name,
            "id": case.row.id,
            "instruction": case.row.instruction,
            "given_instruction": self._given_instruction(name, case),
            "seed": case.seed,
            "fps": case.real.fps,
        }
        if self.understand is not None and (said := entry["given_instruction"]):
            try:
                entry["understood"] = self.understand(given_frame, said).instruction
            except ValueError as error:
                entry |= {"understood": None, "not_understood": str(error)}
        if verdict is not None:
            entry |= {"shown": verdict.shown, "is_obeyed": verdict.is_obeyed, **verdict.facts}
        return entry

    def _label(self, name: str, case: Case, verdict: Verdict | None) -> str:
        """A short label of a video; with a judge, whether it follows the row's instruction."""
        given = self._given_instruction(name, case)
        if name == REAL:
            label = "real"
        elif given is None:
            label = name
        elif name == self.titles["true"]:
            label = "predicted"
        else:
            label = f"given {given!r}" if given else "no instruction"
        if verdict is None or name == REAL:
            return label
        return f"{'followed' if verdict.is_obeyed else 'not followed'}, {label}"


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
    for case, panels in tally.pictures:
        path = out / "videos" / f"{case.real.name}.mp4"
        labelled = [(label, video) for _, label, video in panels]
        write_side_by_side(path, case.row.instruction, labelled, case.real.fps)
