"""How like the real videos the predicted ones are, and what the words do to them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aid.metrics.extractors import Extractor
from aid.metrics.features import Balance, features_of
from aid.metrics.lift import Lift, lift_of
from aid.metrics.likeness import feature_path
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

OnVideo = Callable[[str, int, int], None]


def lift_in_features(
    real: VideoSet,
    made: Mapping[str, VideoSet],
    siblings: Sequence[str],
    protocol: Protocol,
    extractor: Extractor,
    folder: Path,
) -> Lift | None:
    """What the words do, in the space of an extractor's features.

    Args:
        real: the rows' videos, by the rows' names.
        made: predicted sets by their modes, likewise.
        siblings: of each row a text that is equal for rows with the same first frame.
        protocol: which frames.
        extractor: made the features.
        folder: where they are kept.
    """

    def features(videos: VideoSet):
        path = feature_path(folder, videos, protocol, extractor)
        return features_of(videos, protocol, extractor, path).only(list(real.paths))

    of_real = features(real)
    arrays = {mode: features(videos) for mode, videos in made.items()}
    if (num_blocks := getattr(extractor, "num_blocks", 1)) > 1:  # as distances are measured
        balance = Balance.of(of_real, num_blocks)
        of_real = balance(of_real)
        arrays = {mode: balance(array) for mode, array in arrays.items()}
    title = {mode: videos.title for mode, videos in made.items()}
    changed = {
        f"{title['true']} -> {title[mode]}": (arrays["true"], arrays[mode])
        for mode in ("shuffled", "empty")
        if {"true", mode} <= arrays.keys()
    }
    told = {title[mode]: array for mode, array in arrays.items() if mode != "shuffled"}
    return lift_of(of_real, told, changed, siblings)
