"""How like the real videos the predicted ones are, and what the words do to them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from aid.evaluate.questions import MODES, Question
from aid.metrics.baselines import baselines
from aid.metrics.extractors import Extractor
from aid.metrics.features import features_of
from aid.metrics.lift import Lift, lift_of
from aid.metrics.likeness import Comparison, compare, feature_path
from aid.metrics.paired import Perceptual
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

OnVideo = Callable[[str, int, int], None]


def likeness_to_real(
    real: VideoSet,
    made: Sequence[VideoSet],
    questions: Sequence[Question],
    protocol: Protocol,
    extractor: Extractor,
    folder: Path,
    *,
    perceptual: Perceptual | None = None,
    on_video: OnVideo | None = None,
) -> tuple[Comparison, Lift | None]:
    """The comparison of predicted and trivial videos with the real ones, and the lift.

    Args:
        real: the rows' videos, by the rows' ids.
        made: predicted sets, likewise.
        questions: of the rows, in order.
        protocol: which frames.
        extractor: makes the features.
        folder: where they are kept.
        perceptual: LPIPS, if its weights are at hand.
        on_video: called with (what is done, videos done, all of them).
    """
    trivial, missing = baselines(real, protocol)
    comparison = compare(
        real, [*made, *trivial], protocol, extractor, folder, perceptual=perceptual,
        not_run=missing, on_video=on_video,
    )  # fmt: skip

    def features(videos: VideoSet):
        path = feature_path(folder, videos, protocol, extractor)
        return features_of(videos, protocol, extractor, path).only(list(real.paths))

    if comparison.unreadable:
        return comparison, None
    if not made:
        return comparison, None
    sets = {videos.title: features(videos) for videos in made}
    true = MODES["true"]
    changed = {
        f"{true} -> {MODES[mode]}": (sets[true], sets[MODES[mode]])
        for mode in ("shuffled", "empty")
        if {true, MODES[mode]} <= sets.keys()
    }
    told = {name: array for name, array in sets.items() if name != MODES["shuffled"]}
    scenes = [question.row.world["scene"] for question in questions]
    return comparison, lift_of(features(real), told, changed, scenes)
