"""Similarity of sets of videos to the real ones: every distance, with its interval and floor."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aid.metrics.distances import (
    Moments,
    centred_kernel_distance,
    draws,
    frechet_distance,
    interval,
    kernel_distance,
    kernel_distances,
)
from aid.metrics.extractors import Extractor
from aid.metrics.extractors.choice import WITHOUT
from aid.metrics.features import Balance, FeatureFile, features_of
from aid.metrics.pairs import PairFigures, Perceptual, compare_pairs, psnr, ssim
from aid.metrics.probes import VERSION
from aid.metrics.protocol import Protocol
from aid.metrics.trust import (
    LEAST,
    ExtractorCheck,
    FigureCheck,
    extractor_check,
    figure_checks,
    probe_features,
)
from aid.metrics.videos import VideoSet
from aid.video import whole_file

NUM_SPLITS = 10
CHECK_VIDEOS = 128
"""Most real videos that an extractor is tested on; more videos would only raise the power."""
FLOOR = "real against real"
QUIET = 0.1
"""Static flicker of real videos, in grey levels, below which nothing is divided by it. Choice: a
tenth of the step that 8 bits can show; simulated videos have 0."""
OnVideo = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Number:
    """A measured value, its 95 % bootstrap interval over videos, and the number of videos."""

    value: float
    low: float
    high: float
    num_videos: int


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """One set of videos compared with the real ones. A figure that was not measured is None."""

    num_videos: int
    frechet: Number | None = None
    frechet_of_halves: Number | None = None
    """The Fréchet distance between disjoint halves, as for the floor: compare these two."""
    kvd: Number | None = None
    """Kernel distance, unbiased, on features that are not centred."""
    kvd_centred: float | None = None
    """The published variant, which cannot see a shift of the mean."""
    psnr: list[float] | None = None
    """Of every frame, the given ones included; SSIM and LPIPS likewise."""
    ssim: list[float] | None = None
    lpips: list[float] | None = None
    psnr_predicted: Number | None = None
    """Mean over the frames that were not given, in dB."""
    ssim_predicted: Number | None = None
    lpips_predicted: Number | None = None
    first_frame: Number | None = None
    """PSNR of the first frame, in dB: high if the given frame was kept."""
    motion_ratio: Number | None = None
    """Motion of the set, divided by that of the real videos."""
    static_flicker: Number | None = None
    """Change from frame to frame where the real videos do not move, in grey levels."""
    real_static_flicker: float | None = None
    """The real videos' own, in grey levels: noise of camera and codec."""
    static_flicker_ratio: Number | None = None
    """The former divided by the latter; None if the real videos have none (`QUIET`)."""
    static_share: float | None = None
    """Share of the picture that does not move in the real videos."""
    sharpness: Number | None = None
    """Root of the gradient energy (`metrics.steadiness`), divided by that of the real videos."""
    sharpness_static: Number | None = None
    """The same where the real videos do not move."""
    sharpness_moving: Number | None = None
    """The same everywhere else."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All sets compared with the real one, and all settings that the figures depend on."""

    protocol: dict[str, Any]
    protocol_hash: str
    extractor: dict[str, Any]
    """Empty if no distance was measured."""
    split_hash: str
    likeness: dict[str, Likeness]
    """By title; with an extractor the first is the floor: disjoint halves of the real videos."""
    not_run: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, dict[str, str]] = field(default_factory=dict)
    file_notes: list[str] = field(default_factory=list)
    """What was done to the videos' files beyond plain decoding."""
    num_pairs: int = 0
    """Number of videos of the paired figures: those that all sets with pairs have."""
    check: ExtractorCheck | None = None
    """Test of the distances on these videos; None if none was measured."""
    figures: dict[str, FigureCheck] = field(default_factory=dict)
    """Test of PSNR, SSIM and LPIPS on these videos; empty without pairs."""

    @property
    def ranked_by(self) -> str | None:
        """The figure that the sets are listed by: the first one that passed its test.

        If no figure passed the whole test, the first that rates illegible videos below still ones.
        """
        if self.check is not None:
            for distance in self.check.distances:
                if self.check.distances[distance].can_rank:
                    return distance
        known = [name for name in RANKING if name in self.figures]
        best = [name for name in known if self.figures[name].can_rank]
        next_best = [name for name in known if self.figures[name].puts_illegible_last]
        return next(iter(best + next_best), None)


RANKING = ("LPIPS", "SSIM", "PSNR")
"""Paired figures, in order of agreement with people (Zhang et al. 2018, Table 5)."""


def compare(
    real: VideoSet,
    sets: Sequence[VideoSet],
    protocol: Protocol,
    extractor: Extractor | None,
    folder: Path,
    *,
    num_resamples: int = 100,
    seed: int = 0,
    check_videos: int = CHECK_VIDEOS,
    perceptual: Perceptual | None = None,
    not_run: dict[str, str] | None = None,
    on_video: OnVideo | None = None,
) -> Comparison:
    """Compares every set with the real videos. A second call reads the features in `folder`.

    Args:
        real: the real videos.
        sets: the other sets; videos with the name of a real one are also compared frame by frame.
        protocol: which frames are compared.
        extractor: computes the features; None measures no distance, only paired figures.
        folder: of features and paired figures.
        num_resamples: of the bootstrap.
        seed: of bootstrap and halves.
        check_videos: most real videos that the extractor is tested on (`metrics.trust`).
        perceptual: LPIPS, if its weights were given.
        not_run: what the caller left out, with the reasons.
        on_video: called with (task, videos done, number of videos).

    Raises:
        ValueError: fewer than 4 real videos, or 2 of a set, can be read; or a pair differs in size.
    """
    if check_videos < 0:
        raise ValueError(f"check_videos must be at least 0, got {check_videos}.")
    _require_videos(len(real.paths), real, 4 if extractor else 1)
    for videos in sets:
        _require_videos(len(videos.paths), videos, 2 if extractor else 1)
    not_run = dict(not_run or {})
    if perceptual is None:
        not_run.setdefault("LPIPS", "its weights were not given (--lpips)")
    if extractor is None:
        not_run.setdefault("distances", WITHOUT)
    unreadable: dict[str, dict[str, str]] = {}
    balance: Balance | None = None

    def collect(videos: VideoSet, least: int) -> FeatureFile:
        path = feature_path(folder, videos, protocol, extractor)
        report = None if on_video is None else lambda n, m: on_video(f"read {videos.title}", n, m)
        features = features_of(videos, protocol, extractor, path, on_video=report)
        fewest = least if extractor else 1
        _require_videos(len(features.names), videos, fewest, features.unreadable)
        if features.unreadable:
            unreadable[videos.title] = features.unreadable
        return (
            features if balance is None else replace(features, features=balance(features.features))
        )

    of_real = collect(real, 4)
    if (num_blocks := getattr(extractor, "num_blocks", 1)) > 1:
        balance = Balance.of(of_real.features, num_blocks)
        of_real = replace(of_real, features=balance(of_real.features))
    likeness = {FLOOR: floor(of_real, extractor.kernel, seed)} if extractor else {}
    of_sets = [collect(videos, 2) for videos in sets]
    with_pairs = [set(one.names) for one in of_sets if set(one.names) & set(of_real.names)]
    common = set.intersection(*with_pairs) if with_pairs else set()
    names = [name for name in of_real.names if name in common]
    for videos, of_set in zip(sets, of_sets, strict=True):
        of_pairs: dict[str, Any] = {}
        if names and common <= set(of_set.names):
            path = pairs_path(folder, videos, protocol)
            report = None if on_video is None else lambda n, m, t=videos.title: on_video(t, n, m)
            pairs = compare_pairs(
                real, videos, protocol, path, names=names, perceptual=perceptual, on_video=report
            )
            of_pairs = _of_pairs(pairs, protocol.num_given_frames, num_resamples, seed)
        else:
            not_run[f"pairs of {videos.title}"] = (
                "no video is in all sets" if with_pairs else "no video has the name of a real one"
            )
        if extractor is None:
            likeness[videos.title] = Likeness(num_videos=len(of_set.names), **of_pairs)
        else:
            likeness[videos.title] = likeness_of(
                of_real, of_set, of_pairs, extractor.kernel, num_resamples, seed
            )
    split, identity, check = real.hash(), {}, None
    if extractor is not None:
        identity = {"extractor": extractor.name, "weights": extractor.hash, "side": extractor.side}
        check = _check(
            real, of_real, protocol, extractor, folder, check_videos, balance, seed, on_video
        )
    more = {"kernel": extractor.kernel, "is_tuned_to": extractor.is_tuned_to} if extractor else {}
    return Comparison(
        protocol=vars(protocol),
        protocol_hash=protocol.hash(**identity, split=split, num_videos=len(of_real.names)),
        extractor={**identity, **more},
        split_hash=split,
        likeness=likeness,
        not_run=not_run,
        unreadable=unreadable,
        check=check,
        figures=_check_figures(real, of_real.names, protocol, folder, split, perceptual, on_video)
        if names
        else {},
        num_pairs=len(names),
    )


def _check(
    real: VideoSet,
    of_real: FeatureFile,
    protocol: Protocol,
    extractor: Extractor,
    folder: Path,
    check_videos: int,
    balance: Balance | None,
    seed: int,
    on_video: OnVideo | None,
) -> ExtractorCheck:
    """Tests the extractor on some of the real videos."""
    chosen = np.random.default_rng(seed).permutation(len(of_real.names))[:check_videos]
    names = [of_real.names[index] for index in sorted(chosen)]
    probes = {}
    if len(names) >= LEAST:
        some = replace(real, paths={name: real.paths[name] for name in names})
        probes = probe_features(
            some, protocol, extractor, lambda one: feature_path(folder, some, protocol, one),
            None if on_video is None else lambda n, m: on_video("test the extractor", n, m),
        )  # fmt: skip
        if balance is not None:
            probes = {probe: balance(features) for probe, features in probes.items()}
    return extractor_check(extractor.name, of_real.only(names), probes, extractor.kernel, seed)


def _check_figures(
    real: VideoSet,
    names: list[str],
    protocol: Protocol,
    folder: Path,
    split: str,
    perceptual: Perceptual | None,
    on_video: OnVideo | None,
) -> dict[str, FigureCheck]:
    """Tests the paired figures; the result is stored, because SSIM of large frames is slow."""
    figures: dict[str, Any] = {"PSNR": (psnr, True), "SSIM": (ssim, True)}
    if perceptual is not None:
        figures["LPIPS"] = (perceptual, False)
    key = protocol.hash(split=split, names=names, figures=sorted(figures), version=VERSION)
    path = folder / f"figures-{key}.json"
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: FigureCheck(**facts) for name, facts in stored.items()}
    report = None if on_video is None else lambda n, m: on_video("test the figures", n, m)
    found = figure_checks(real, names, protocol, figures, report)
    with whole_file(path) as temporary:
        facts = {name: asdict(one) for name, one in found.items()}
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return found


def pairs_path(folder: Path, videos: VideoSet, protocol: Protocol) -> Path:
    """The file of a set's paired figures."""
    key = protocol.hash(set=[videos.title, videos.derived_from])
    return folder / f"{_as_name(videos.title)}-{key}.pairs.jsonl"


def feature_path(
    folder: Path, videos: VideoSet, protocol: Protocol, extractor: Extractor | None
) -> Path:
    """The path of a set's features, without suffix; without an extractor it holds names only."""
    identity = {"extractor": extractor.name, "weights": extractor.hash} if extractor else {}
    key = protocol.hash(set=[videos.title, videos.derived_from], **identity)
    return folder / f"{_as_name(videos.title)}-{key}"


def _as_name(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")[:32]


def floor(real: FeatureFile, kernel: tuple[int, float], seed: int) -> Likeness:
    """The score of a perfect model: halves of the real videos against each other."""
    values, kernels, centred = [], [], []
    for one, other in _halves(len(real.names), seed):
        a, b = real.features[one], real.features[other]
        values.append(frechet_distance(Moments.of(a), Moments.of(b)))
        kernels.append(kernel_distance(a, b, kernel))
        centred.append(centred_kernel_distance(a, b))
    half = len(real.names) // 2
    return Likeness(
        num_videos=half,
        frechet_of_halves=_over_splits(values, half),
        kvd=_over_splits(kernels, half),
        kvd_centred=float(np.mean(centred)),
        motion_ratio=Number(value=1.0, low=1.0, high=1.0, num_videos=len(real.names)),
    )


def likeness_of(
    real: FeatureFile,
    made: FeatureFile,
    of_pairs: dict[str, Any],
    kernel: tuple[int, float],
    num_resamples: int,
    seed: int,
) -> Likeness:
    """All figures of one set; `of_pairs` are its paired figures."""
    generator = np.random.default_rng(seed)
    x, y = real.features, made.features
    of_x, of_y = (draws(len(z), num_resamples, generator) for z in (x, y))
    num = min(len(x), len(y))

    def number(value: float, resampled: np.ndarray) -> Number:
        low, high = interval(value, resampled)
        return Number(value=float(value), low=low, high=high, num_videos=num)

    frechet = frechet_distance(Moments.of(x), Moments.of(y))
    resampled = [
        frechet_distance(Moments.of(x, w), Moments.of(y, v))
        for w, v in zip(of_x.T, of_y.T, strict=True)
    ]
    at = {name: index for index, name in enumerate(made.names)}
    halves = []
    for one, other in _halves(len(x), seed):
        half = [at[n] for i in other if (n := real.names[i]) in at] or list(range(len(y) // 2))
        if len(half) > 1:
            halves.append(frechet_distance(Moments.of(x[one]), Moments.of(y[half])))
    return Likeness(
        num_videos=len(y),
        frechet=number(frechet, np.array(resampled)),
        frechet_of_halves=_over_splits(halves, num // 2) if halves else None,
        kvd=number(kernel_distance(x, y, kernel), kernel_distances(x, y, of_x, of_y, kernel)),
        kvd_centred=centred_kernel_distance(x, y),
        **of_pairs,
    )


def _of_pairs(pairs: PairFigures, given: int, num_resamples: int, seed: int) -> dict[str, Any]:
    num = len(pairs.psnr)
    weights = draws(num, num_resamples, np.random.default_rng(seed + 1)) / num

    def mean(values: np.ndarray) -> Number:
        low, high = interval(values.mean(), values @ weights)
        return Number(value=float(values.mean()), low=low, high=high, num_videos=num)

    made: dict[str, Any] = {"first_frame": mean(pairs.psnr[:, 0])}
    for name in ("psnr", "ssim", "lpips"):
        if (values := getattr(pairs, name)) is not None:
            made[name] = [float(v) for v in values.mean(0)]
            made[f"{name}_predicted"] = mean(values[:, given:].mean(1))
    made["motion_ratio"] = _over_real(pairs.motion, pairs.real_motion, weights)
    return made | _steadiness(pairs, weights)


def _steadiness(pairs: PairFigures, weights: Float[np.ndarray, "n r"]) -> dict[str, Any]:
    """Static flicker and sharpness."""
    energies = {
        "sharpness": (pairs.energy.sum(1), pairs.real_energy.sum(1)),
        "sharpness_static": (pairs.energy[:, 0], pairs.real_energy[:, 0]),
        "sharpness_moving": (pairs.energy[:, 1], pairs.real_energy[:, 1]),
    }
    made: dict[str, Any] = {
        name: _over_real(*both, weights, is_squared=True) for name, both in energies.items()
    }
    made["static_share"] = float(pairs.static_share.mean())
    is_measured = ~np.isnan(pairs.flicker)
    if not (num := int(is_measured.sum())):
        return made
    flicker, real = np.nan_to_num(pairs.flicker), np.nan_to_num(pairs.real_flicker)
    mean = _over_real(flicker, is_measured.astype(float), weights)  # over those that have any
    made["static_flicker"] = replace(mean, num_videos=num)
    made["real_static_flicker"] = float(real.sum() / num)
    if made["real_static_flicker"] >= QUIET:
        ratio = _over_real(flicker, real, weights)
        made["static_flicker_ratio"] = replace(ratio, num_videos=num)
    return made


def _over_real(
    made: Float[np.ndarray, " n"],
    real: Float[np.ndarray, " n"],
    weights: Float[np.ndarray, "n r"],
    *,
    is_squared: bool = False,
) -> Number | None:
    """The sum of a set's values over the sum of the real ones; None if that is 0.

    Args:
        made: of each video.
        real: of the same videos.
        weights: of the videos in r bootstrap resamples.
        is_squared: whether the values are squares, so that the root of the ratio is wanted.
    """
    if real.sum() <= 0:
        return None
    usable = weights[:, real @ weights > 0]  # a resample may hold none that has the figure
    ratio, resampled = made.sum() / real.sum(), (made @ usable) / (real @ usable)
    if is_squared:
        ratio, resampled = np.sqrt(ratio), np.sqrt(resampled)
    low, high = interval(float(ratio), resampled)
    return Number(value=float(ratio), low=low, high=high, num_videos=len(real))


def _halves(num: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    generator, half = np.random.default_rng(seed), num // 2
    orders = [generator.permutation(num) for _ in range(NUM_SPLITS)]
    return [(order[:half], order[half : 2 * half]) for order in orders]


def _over_splits(values: list[float], num: int) -> Number:
    low, high = np.quantile(values, (0.025, 0.975))
    return Number(value=float(np.mean(values)), low=float(low), high=float(high), num_videos=num)


def _require_videos(
    num: int, videos: VideoSet, least: int, unreadable: Mapping[str, str] | None = None
) -> None:
    if num < least:
        first = next(iter((unreadable or {}).items()), None)
        reason = f" The first unusable one is {first[0]} ({first[1]})." if first else ""
        raise ValueError(
            f"{videos.title!r}: {num} of {len(videos.paths)} videos can be used, at least {least} "
            f"are needed.{reason}"
        )
