"""Compares a folder of videos of any origin with a folder of real ones, and writes a score card.

Called by `aid score`. The only network that is loaded is the feature extractor.
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
        real: folder of real videos: files, or folders of images.
        made: folder of videos to score; videos with the name of a real one are also compared frame
            by frame.
        out: folder of the card, and of the features, so that a killed run can continue.
        protocol: which frames are compared.
        extractor: computes the features for the distances; None measures no distance.
        train: folder of the model's training videos; none of them may be among the real ones.
        with_baselines: whether to score trivial predictions made from the real videos, too.
        num_resamples: of the bootstrap.
        check_videos: most real videos that the extractor is tested on.
        seed: of bootstrap and halves.
        perceptual: LPIPS, if its weights were given.
        on_video: called with (task, videos done, number of videos).

    Raises:
        ValueError: a folder holds no videos or too few, real and training videos overlap, the two
            videos of a name differ in size, or there is neither a common name nor an extractor.
    """
    truth = find_videos(real, "real videos", protocol.is_sorted)
    others = [find_videos(made, made.resolve().name, protocol.is_sorted)]
    not_run = {}
    _require_comparable(truth, others[0], protocol, extractor)
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


def _require_comparable(
    real: VideoSet, made: VideoSet, protocol: Protocol, extractor: Extractor | None
) -> None:
    """Refuses two folders that cannot be compared, before anything is written."""
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
            continue  # the card names it
        require_equal_size(name, *frames)
        return


def refuse_overlap(real: dict[str, str], train: dict[str, str]) -> None:
    """Refuses real videos that the model was trained on.

    Args:
        real: names by content.
        train: names by content.
    """
    if shared := sorted(real[content] for content in real.keys() & train.keys()):
        raise ValueError(
            f"{len(shared)} real videos are among the training videos, the first is "
            f"{shared[0]!r}. Give real videos that the model was not trained on."
        )
