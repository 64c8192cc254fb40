"""Tests which figures can be trusted on given data, by means of degraded real videos.

An extractor that was trained on other data may place illegible videos nearer to the real ones than
other real videos. Therefore its distance between one half of the real videos and probes
(`metrics.probes`) made from the other half is compared with the floor, the distance between two
halves of the real videos. Paired figures must rate an illegible video worse than a still one.
docs/evaluation.md derives the rules.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aid.metrics.distances import frechet_of_samples, kernel_distance
from aid.metrics.extractors import Extractor
from aid.metrics.features import features_of
from aid.metrics.probes import (
    ILLEGIBLE,
    PROBES,
    STILL,
    VERSION,
    blurred,
    halved,
    probed,
    seed_of,
    smeared,
    still,
)
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

LEVEL = 0.05
NUM_SPLITS = 200
"""Number of random halves for the floor."""
NUM_PROBED = 10
"""Number of halves in which the second half is replaced by probes."""
LEAST = 10
"""Fewest videos for the test. Halves of 4 can be chosen in 35 ways, so p would be at least 2/35,
which is above the level."""
NUM_OTHERS = 8
NUM_PAIRS = 32
"""Most pairs on which the paired figures are tested."""
FEWEST_FOR_SIGN_TEST = 5
"""Fewest pairs with which the sign test can reach the level: 1/2^5 < 0.05 < 1/2^4."""
DISTANCES = ("Fréchet", "KVD")
Pairwise = Callable[[Float[Tensor, "f 3 H W"], Float[Tensor, "f 3 H W"]], Float[Tensor, " f"]]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The distance of one probe from the real videos, and its significance."""

    value: float
    """Mean over the halves."""
    p: float
    """P-value: twice the median over the halves of the share of floors that are as large."""

    @property
    def is_detected(self) -> bool:
        """Whether the probe is significantly farther away than other real videos."""
        return self.p <= LEVEL


@dataclass(frozen=True, kw_only=True)
class DistanceCheck:
    """The test of one distance of an extractor."""

    floor: float
    """Mean distance between halves of the real videos."""
    floor_high: float
    """97.5 % quantile of these distances."""
    probes: dict[str, ProbeResult]

    @property
    def missed(self) -> list[str]:
        """The required probes that the distance does not detect, though a person does."""
        return [p.name for p in PROBES if not p.is_light and not self.probes[p.name].is_detected]

    @property
    def is_trusted(self) -> bool:
        """Whether it detects all required probes."""
        return not self.missed

    @property
    def can_rank(self) -> bool:
        """Whether it is trusted and rates illegible videos worse than still ones."""
        return self.is_trusted and self.probes[ILLEGIBLE].value > self.probes[STILL].value


@dataclass(frozen=True, kw_only=True)
class ExtractorCheck:
    """The test of an extractor's distances on given real videos."""

    extractor: str
    num_videos: int
    """Number of real videos in the test."""
    distances: dict[str, DistanceCheck] = field(default_factory=dict)
    """By the name of the distance; empty if there were too few videos."""

    def is_trusted(self, distance: str) -> bool:
        """Whether a distance stands in the card's main table."""
        return distance in self.distances and self.distances[distance].is_trusted

    @property
    def sentence(self) -> str:
        """The result in a sentence, for the first line of the card."""
        if not self.distances:
            return (
                f"{self.extractor} was not tested on this data: the test needs at least {LEAST} "
                f"real videos, there are {self.num_videos}. Its distances are left out of the main "
                "table."
            )
        failed = {name: tuple(one.missed) for name, one in self.distances.items() if one.missed}
        if not failed:
            return f"{self.extractor} distinguishes all probes of this data from real videos."
        parts = []
        for missed in dict.fromkeys(failed.values()):
            names = [name for name, own in failed.items() if own == missed]
            distance = "" if len(names) == len(self.distances) else f"The {names[0]} distance of "
            it = "its distances are" if not distance else "it is"
            parts.append(
                f"{distance}{self.extractor} cannot distinguish {listed(missed)} of this data from "
                f"real ones (tested on {self.num_videos} videos): {it} left out of the main table."
            )
        return " ".join(parts)


def extractor_check(
    extractor: str,
    real: Float[np.ndarray, "n d"],
    probes: Mapping[str, Float[np.ndarray, "n d"]],
    kernel: tuple[int, float],
    seed: int = 0,
) -> ExtractorCheck:
    """Tests an extractor by its features of real videos and of every probe of the same videos.

    For each random half A and its complement B, d(A, B) is a floor. If the extractor could not see
    a probe P, d(A, P(B)) would be distributed as d(A, B), so the share of the floors that are at
    least as large is a p-value (a randomization test: the halves are random, so it holds for
    dependent videos, too). The p-values of several halves are combined as twice their median
    (Meinshausen, Meier and Bühlmann 2009). An extractor must detect every probe to pass, which
    needs no correction for their number (Berger 1982).

    Args:
        extractor: its name.
        real: features of the real videos.
        probes: features of the probes, by `Probe.name`; rows as in `real`.
        kernel: degree and constant of the kernel distance.
        seed: of the halves.
    """
    half = len(real) // 2
    if len(real) < LEAST:
        return ExtractorCheck(extractor=extractor, num_videos=len(real))
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(2 * half) for _ in range(NUM_SPLITS)]
    real = np.asarray(real, np.float64)
    made = {name: np.asarray(features, np.float64) for name, features in probes.items()}
    measures = {
        "Fréchet": frechet_of_samples,
        "KVD": lambda a, b: kernel_distance(a, b, kernel),
    }
    distances = {}
    for name, distance in measures.items():
        floors = np.array([distance(real[o[:half]], real[o[half:]]) for o in orders])
        results = {}
        for probe, features in made.items():
            values = [distance(real[o[:half]], features[o[half:]]) for o in orders[:NUM_PROBED]]
            each_p = [(1 + (floors >= value).sum()) / (NUM_SPLITS + 1) for value in values]
            p = min(1.0, 2 * float(np.median(each_p)))
            results[probe] = ProbeResult(value=float(np.mean(values)), p=p)
        high = float(np.quantile(floors, 0.975))
        distances[name] = DistanceCheck(floor=float(floors.mean()), floor_high=high, probes=results)
    return ExtractorCheck(extractor=extractor, num_videos=len(real), distances=distances)


class _ProbeExtractor:
    """An extractor whose features are the concatenated features of all probes of a video."""

    def __init__(self, extractor: Extractor, others: Sequence[Tensor]) -> None:
        self.extractor, self.others = extractor, others
        self.name, self.side = f"{extractor.name}, probes", extractor.side
        self.kernel, self.is_tuned_to = extractor.kernel, extractor.is_tuned_to
        self.dim = len(PROBES) * extractor.dim
        self.device = getattr(extractor, "device", "cpu")
        of_others = [seed_of(other) for other in others]
        identity = f"{extractor.hash} {VERSION} {[p.name for p in PROBES]} {of_others}"
        self.hash = hashlib.sha256(identity.encode()).hexdigest()[:12]

    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        made = probed(frames.to(self.device), self.others).values()
        return torch.cat([self.extractor.features(clips).float().cpu() for clips in made], 1)


def probe_features(
    real: VideoSet,
    protocol: Protocol,
    extractor: Extractor,
    path: Callable[[Extractor], Path],
    on_video: Callable[[int, int], None] | None = None,
) -> dict[str, Float[np.ndarray, "n d"]]:
    """Features of every probe of some real videos, in their order.

    Args:
        real: at least two readable videos.
        protocol: which frames are compared.
        extractor: computes the features.
        path: gives the path of an extractor's features, without suffix.
        on_video: called with (videos done, number of videos).
    """
    others = []
    for name in list(real.paths)[:NUM_OTHERS]:
        frames = protocol.compared(protocol.sampled(real.read(name)))
        others.append(protocol.resized(frames, extractor.side))
    if all(torch.equal(other, others[0]) for other in others):
        others.append(-others[0])  # all videos are equal: the negative serves as another video
    probing = _ProbeExtractor(extractor, others)
    found = features_of(real, protocol, probing, path(probing), on_video=on_video)
    features = found.only(list(real.paths))
    parts = np.split(features, len(PROBES), axis=1)
    return {probe.name: part for probe, part in zip(PROBES, parts, strict=True)}


@dataclass(frozen=True, kw_only=True)
class FigureCheck:
    """The test of a paired figure: does it order degraded videos as a person would?"""

    num_videos: int
    blurred_below_still: float
    """Share of videos whose heavily blurred version scores worse than the first frame repeated."""
    illegible_below_still: float
    """Share of videos whose illegible version scores worse than the first frame repeated."""
    halved_above_still: float
    """Share of videos whose half-size version scores better than the first frame repeated."""

    @property
    def puts_illegible_last(self) -> bool:
        """Whether the first two shares are significantly above one half (sign test)."""
        shares = (self.blurred_below_still, self.illegible_below_still)
        return all(_sign_test(share, self.num_videos) <= LEVEL for share in shares)

    @property
    def can_rank(self) -> bool:
        """Whether all three shares are significantly above one half."""
        accepts_half_size = _sign_test(self.halved_above_still, self.num_videos) <= LEVEL
        return self.puts_illegible_last and accepts_half_size


def figure_checks(
    real: VideoSet,
    names: Sequence[str],
    protocol: Protocol,
    figures: Mapping[str, tuple[Pairwise, bool]],
    on_video: Callable[[int, int], None] | None = None,
) -> dict[str, FigureCheck]:
    """Tests paired figures on at most `NUM_PAIRS` real videos, evenly spread over all of them.

    Args:
        real: the real videos.
        names: the names of the readable ones.
        protocol: which frames are compared.
        figures: by name, a function of (real frames, other frames) and whether more is better.
        on_video: called with (videos done, number of videos).
    """
    at = np.linspace(0, len(names) - 1, min(len(names), NUM_PAIRS)).round().astype(int)
    hits: dict[str, list[list[float]]] = {figure: [] for figure in figures}
    for count, index in enumerate(at, 1):
        frames = protocol.sampled(real.read(names[index]))
        generator = torch.Generator().manual_seed(seed_of(frames))
        versions = [still(frames), blurred(frames, 1 / 8), smeared(frames, generator),
                    halved(frames)]  # fmt: skip
        given = protocol.num_given_frames
        for figure, (measure, is_more_better) in figures.items():
            sign = 1 if is_more_better else -1
            copied, *others = (
                sign * float(measure(frames[given:], version[given:]).mean())
                for version in versions
            )
            blur, smear, half = others
            hits[figure].append([blur < copied, smear < copied, half > copied])
        if on_video is not None:
            on_video(count, len(at))
    found = {}
    for figure, rows in hits.items():
        blur, smear, half = np.mean(np.array(rows, float), axis=0)
        found[figure] = FigureCheck(
            num_videos=len(rows), blurred_below_still=float(blur),
            illegible_below_still=float(smear), halved_above_still=float(half),
        )  # fmt: skip
    return found


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sign_test(share: float, num: int) -> float:
    """P-value of a share: the probability of this share or a larger one if both are as likely."""
    hits = round(share * num)
    return sum(math.comb(num, k) for k in range(hits, num + 1)) / 2**num
