"""Verb 5: a folder of videos next to a folder of real ones, whoever made them, as a score card.

Called by `aid score`. No model is loaded but the feature extractor.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from aid.metrics.baselines import baselines
from aid.metrics.card import html_page, markdown, to_json
from aid.metrics.extractors import Extractor
from aid.metrics.extractors.choice import WITHOUT
from aid.metrics.likeness import CHECK_VIDEOS, Comparison, compare
from aid.metrics.pairs import Perceptual, require_equal_size
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet, find_videos
from aid.video import NoteCounter, remove_leftovers, whole_file


def score(
    real: Path,
    made: Path,
    *,
    out: Path,
    protocol: Protocol,
    extractor: Extractor | None,
    train: Path | None = None,
    with_baselines: bool = True,
    num_resamples: int = 100,
    check_videos: int = CHECK_VIDEOS,
    seed: int = 0,
    perceptual: Perceptual | None = None,
    on_video: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """The score card of a folder; also written as score.json, score.md and score.html.

    Args:
        real: folder of real videos: files, or folders of pictures.
        made: folder of videos to be scored; those named like real ones are also compared with
            them frame by frame.
        out: where the card goes, and the features, so that a killed run goes on.
        protocol: which frames are compared.
        extractor: what the distances are measured with; None measures none.
        train: folder of the model's training videos; none of them may be among the real ones.
        with_baselines: also score trivial predictions made from the real videos.
        num_resamples: of the bootstrap.
        check_videos: real videos, at most, that the extractor is tested on.
        seed: of bootstrap and halves.
        perceptual: LPIPS, if its weights are at hand.
        on_video: called with (what is done, videos done, all of them).

    Raises:
        ValueError: a folder holds no videos or too few, real and training videos overlap, the two
            videos of a name differ in size, or there is neither a common name nor an extractor.
    """
    truth = find_videos(real, "real videos", protocol.is_sorted)
    others = [find_videos(made, made.resolve().name, protocol.is_sorted)]
    not_run = {}
    _refuse_unlike(truth, others[0], protocol, extractor)
    if train is None:
        not_run["check that the split is disjoint"] = "no training videos were given (--train)"
    else:
        refuse_overlap(truth.content(), find_videos(train, "training videos").content())
    if with_baselines:
        trivial, missing = baselines(truth, protocol)
        others, not_run = others + trivial, not_run | missing
    if others[0].title in {one.title for one in others[1:]} | {truth.title}:
        others[0] = replace(others[0], title=f"{others[0].title} (given)")
    remove_leftovers(out)
    comparison = compare(
        truth, others, protocol, extractor, out / "features", num_resamples=num_resamples,
        check_videos=check_videos, seed=seed, perceptual=perceptual, not_run=not_run,
        on_video=on_video,
    )  # fmt: skip
    comparison = replace(comparison, file_notes=_file_notes([truth, others[0]]))
    title = f"{others[0].title} against {real.resolve().name}"
    written = {
        "score.json": json.dumps({"title": title, **to_json(comparison)}, indent=1) + "\n",
        "score.md": f"# {title}\n\n{markdown(comparison)}",
        "score.html": html_page(title, comparison, []),
    }
    for name, text in written.items():
        with whole_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return comparison


def _file_notes(sets: list[VideoSet]) -> list[str]:
    """What was done to the files of each set beyond plain decoding."""
    lines = []
    for videos in sets:
        tally = NoteCounter()
        for name, notes in videos.notes.items():
            tally.add(name, notes)
        lines += [f"In {videos.title}: {line}" for line in tally.lines()]
    return lines


def _refuse_unlike(
    real: VideoSet, made: VideoSet, protocol: Protocol, extractor: Extractor | None
) -> None:
    """Refuses, before anything is written, two folders that cannot be compared."""
    common = [name for name in real.paths if name in made.paths]
    if not common and extractor is None:
        raise ValueError(
            f"no video of {made.title!r} has the name of a real one, and {WITHOUT}. Give both "
            "folders the same names, or choose an extractor."
        )
    for name in common:
        try:
            frames = [protocol.sampled(videos.read(name)) for videos in (real, made)]
        except ValueError:
            continue  # named on the card
        require_equal_size(name, *frames)
        return


def refuse_overlap(real: dict[str, str], train: dict[str, str]) -> None:
    """Refuses real videos that the model may have learnt by heart.

    Args:
        real: names by content.
        train: likewise.
    """
    if shared := sorted(real[content] for content in real.keys() & train.keys()):
        raise ValueError(
            f"{len(shared)} real videos are among the training videos, the first is "
            f"{shared[0]!r}. Score against videos that were not trained on."
        )
