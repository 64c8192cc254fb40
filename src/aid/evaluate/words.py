"""What the words do to the videos: the same frames and seeds, with other words or with none.

No simulator is needed. Two questions are asked of every row: how much does the video change when
only the words change, and is the video of the row's own instruction nearer to the real video than
the video of the other words?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aid.metrics.distances import draws, interval
from aid.metrics.extractors import Extractor
from aid.metrics.features import Balance, features_of
from aid.metrics.lift import Lift, lift_of
from aid.metrics.likeness import Number, feature_path, pairs_path
from aid.metrics.paired import Perceptual, paired
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class WordEffect:
    """One way to change the words, against the row's own instruction. Predicted frames only."""

    change: Number
    """Root mean square difference of the two videos, in grey levels (0 to 255)."""
    change_of_real: float
    """The change of the real videos against their first frame, likewise: what `change` is next
    to."""
    nearer: Number
    """Share of rows whose own instruction's video has the higher PSNR to the real one; equal ones
    count half, so 0.5 is what a model gets that ignores the words."""
    lift_psnr: Number
    """PSNR to the real video with the own words minus with the other ones, in dB."""
    lift_lpips: Number | None
    """LPIPS with the other words minus with the own ones; above 0 the own words help."""


def effects_of(
    real: VideoSet,
    copied: VideoSet,
    true: VideoSet,
    others: Sequence[VideoSet],
    protocol: Protocol,
    folder: Path,
    perceptual: Perceptual | None = None,
) -> dict[str, WordEffect]:
    """The effect of each other way to tell the model something, by its title.

    Args:
        real: the real videos.
        copied: their first frames, repeated.
        true: videos of the rows' own instructions.
        others: videos of other words.
        protocol: which frames.
        folder: where pairs are kept.
        perceptual: LPIPS, if its weights are at hand.
    """
    names, given = list(real.paths), protocol.num_given_frames

    def numbers(a: VideoSet, b: VideoSet, path: Path) -> Mapping[str, Float[np.ndarray, " n"]]:
        """PSNR, LPIPS and root mean square difference (grey levels) of each pair."""
        pairs = paired(a, b, protocol, path, names=names, perceptual=perceptual)
        made = {"psnr": pairs.psnr[:, given:].mean(1)}
        made["grey"] = (255 * 10 ** (-pairs.psnr[:, given:] / 20)).mean(1)
        if pairs.lpips is not None:
            made["lpips"] = pairs.lpips[:, given:].mean(1)
        return made

    still = numbers(real, copied, pairs_path(folder, copied, protocol))
    own = numbers(real, true, pairs_path(folder, true, protocol))
    effects = {}
    for other in others:
        theirs = numbers(real, other, pairs_path(folder, other, protocol))
        path = pairs_path(folder, other, protocol).with_suffix(".words.jsonl")
        lift = own["psnr"] - theirs["psnr"]
        effects[other.title] = WordEffect(
            change=_mean(numbers(true, other, path)["grey"]),
            change_of_real=float(still["grey"].mean()),
            nearer=_mean((np.sign(lift) + 1) / 2),
            lift_psnr=_mean(lift),
            lift_lpips=_mean(theirs["lpips"] - own["lpips"]) if "lpips" in own else None,
        )
    return effects


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


def _mean(values: Float[np.ndarray, " n"]) -> Number:
    """A mean with its 95 % bootstrap interval over rows."""
    weights = draws(len(values), NUM_RESAMPLES, np.random.default_rng(0)) / len(values)
    low, high = interval(float(values.mean()), values @ weights)
    return Number(value=float(values.mean()), low=low, high=high, num_videos=len(values))
