"""How the instruction changes the videos: same frames and seeds, with other words or with none.

No simulator is needed. In pixels: how much does the video change when only the words change, and
is the video of the row's own instruction nearer to the real video than the video of other words?
In an extractor's features (instruction lift): how far do the features move when only the words
change, and which of the k instructions of a first frame does a video show, if the nearest real
video decides?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aid.metrics.distances import draws, interval
from aid.metrics.extractors import Extractor
from aid.metrics.features import Balance, features_of
from aid.metrics.likeness import Number, feature_path, pairs_path
from aid.metrics.pairs import Perceptual, compare_pairs
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

NUM_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class WordEffect:
    """The effect of other words than the row's own instruction, on the predicted frames."""

    change: Number
    """Root mean square difference of the two videos, in grey levels (0 to 255)."""
    change_of_real: float
    """Root mean square difference of the real videos from their first frame, for comparison."""
    nearer: Number
    """Share of rows in which the video of the own instruction has the higher PSNR to the real
    video. Ties count one half, so a model that ignores the words gets 0.5."""
    lift_psnr: Number
    """PSNR to the real video with the own words minus that with the other words, in dB."""
    lift_lpips: Number | None
    """LPIPS with the other words minus that with the own words; above 0 the own words help."""


def effects_of(
    real: VideoSet,
    copied: VideoSet,
    true: VideoSet,
    others: Sequence[VideoSet],
    protocol: Protocol,
    folder: Path,
    perceptual: Perceptual | None = None,
) -> dict[str, WordEffect]:
    """The effect of the words in each other set, by the set's title.

    Args:
        real: the real videos.
        copied: their first frames, repeated.
        true: videos of the rows' own instructions.
        others: videos of other words.
        protocol: which frames are compared.
        folder: where the figures of pairs are stored.
        perceptual: LPIPS, if its weights were given.
    """
    names, given = list(real.paths), protocol.num_given_frames

    def figures(a: VideoSet, b: VideoSet, path: Path) -> Mapping[str, Float[np.ndarray, " n"]]:
        """PSNR, LPIPS and root mean square difference (grey levels) of each pair."""
        pairs = compare_pairs(a, b, protocol, path, names=names, perceptual=perceptual)
        found = {"psnr": pairs.psnr[:, given:].mean(1)}
        found["grey"] = (255 * 10 ** (-pairs.psnr[:, given:] / 20)).mean(1)
        if pairs.lpips is not None:
            found["lpips"] = pairs.lpips[:, given:].mean(1)
        return found

    still = figures(real, copied, pairs_path(folder, copied, protocol))
    own = figures(real, true, pairs_path(folder, true, protocol))
    effects = {}
    for other in others:
        of_other = figures(real, other, pairs_path(folder, other, protocol))
        path = pairs_path(folder, other, protocol).with_suffix(".words.jsonl")
        lift = own["psnr"] - of_other["psnr"]
        effects[other.title] = WordEffect(
            change=_mean(figures(true, other, path)["grey"]),
            change_of_real=float(still["grey"].mean()),
            nearer=_mean((np.sign(lift) + 1) / 2),
            lift_psnr=_mean(lift),
            lift_lpips=_mean(of_other["lpips"] - own["lpips"]) if "lpips" in own else None,
        )
    return effects


@dataclass(frozen=True, kw_only=True)
class Lift:
    """The effect of the words on the videos' features."""

    retrieval: dict[str, Number]
    """For each set the share of videos whose nearest real video is that of their instruction."""
    chance: float
    """The expected share if one of the k instructions of each first frame is guessed."""
    moves: dict[str, Number]
    """For each change of the words the mean change of the features, divided by the mean distance
    of two real videos of the same first frame."""


def lift_in_features(
    real: VideoSet,
    made: Mapping[str, VideoSet],
    first_frames: Sequence[str],
    protocol: Protocol,
    extractor: Extractor,
    folder: Path,
) -> Lift | None:
    """The instruction lift in the features of an extractor.

    Args:
        real: the rows' videos, by the rows' names.
        made: predicted sets by their modes, also by the rows' names.
        first_frames: for each row a text that is equal for rows with the same first frame.
        protocol: which frames are compared.
        extractor: computes the features.
        folder: where the features are stored.
    """

    def features(videos: VideoSet):
        path = feature_path(folder, videos, protocol, extractor)
        return features_of(videos, protocol, extractor, path).only(list(real.paths))

    of_real = features(real)
    arrays = {mode: features(videos) for mode, videos in made.items()}
    if (num_blocks := getattr(extractor, "num_blocks", 1)) > 1:  # as for the distances
        balance = Balance.of(of_real, num_blocks)
        of_real = balance(of_real)
        arrays = {mode: balance(array) for mode, array in arrays.items()}
    title = {mode: videos.title for mode, videos in made.items()}
    changed = {
        f"{title['true']} -> {title[mode]}": (arrays["true"], arrays[mode])
        for mode in ("shuffled", "empty")
        if {"true", mode} <= arrays.keys()
    }
    own = {title[mode]: array for mode, array in arrays.items() if mode != "shuffled"}
    return lift_of(of_real, own, changed, first_frames)


def lift_of(
    real: Float[np.ndarray, "n d"],
    sets: Mapping[str, Float[np.ndarray, "n d"]],
    changed: Mapping[str, tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]],
    first_frames: Sequence[object],
) -> Lift | None:
    """The instruction lift of a model; None if no first frame has several instructions.

    Args:
        real: features of the real videos, a row for each first frame and instruction.
        sets: features of predicted videos; each row has the instruction of that row of `real`.
        changed: by title, features of two sets with different words and equal seeds.
        first_frames: the first frame of each row, as any value that can be compared.
    """
    groups: dict[object, list[int]] = {}
    for index, frame in enumerate(first_frames):
        groups.setdefault(frame, []).append(index)
    forks = [rows for rows in groups.values() if len(rows) > 1]
    if not forks:
        return None
    rows = [index for fork in forks for index in fork]
    apart = np.mean([_distances(real[fork], real[fork])[~np.eye(len(fork), dtype=bool)].mean()
                     for fork in forks])  # fmt: skip

    def retrieval(made: Float[np.ndarray, "n d"]) -> Number:
        hits = np.concatenate([_hits(_distances(made[fork], real[fork])) for fork in forks])
        return _mean(hits)

    return Lift(
        retrieval={name: retrieval(made) for name, made in sets.items()},
        chance=float(np.mean([1 / len(fork) for fork in forks for _ in fork])),
        moves={
            title: _mean(np.linalg.norm(a[rows] - b[rows], axis=1) / apart)
            for title, (a, b) in changed.items()
        },
    )


def _distances(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n m"]:
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=-1)


def _hits(distances: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """1 where the own real video is nearest; m equally near videos get 1/m each."""
    nearest = distances <= distances.min(1, keepdims=True) * (1 + 1e-9)
    return np.diag(nearest) / nearest.sum(1)


def _mean(values: Float[np.ndarray, " n"]) -> Number:
    """The mean with its 95 % bootstrap interval over rows."""
    weights = draws(len(values), NUM_RESAMPLES, np.random.default_rng(0)) / len(values)
    low, high = interval(float(values.mean()), values @ weights)
    return Number(value=float(values.mean()), low=low, high=high, num_videos=len(values))
