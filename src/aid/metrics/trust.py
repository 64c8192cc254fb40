"""Which figures can be trusted on the data at hand: each is tested on real videos made worse.

An extractor that never saw such data may find illegible videos nearer to the real ones than other
real videos are. So the card tests it: half of the real videos against probes (`metrics.probes`)
made from the other half, next to the floor, which is half of the real videos against the other
half. The same is asked of the figures of pairs: is an illegible video worse than a still one?
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
"""Random halves that the floor is taken from."""
NUM_PROBED = 10
"""Those of them in which the second half is replaced by probes."""
LEAST = 10
"""Fewer videos cannot be tested: halves of 4 can be chosen in 35 ways, so no chance is below 1/35,
and twice that is above the level."""
NUM_OTHERS = 8
NUM_PAIRS = 32
"""Pairs on which the figures of pairs are tested."""
DISTANCES = ("Fréchet", "KVD")
Pairwise = Callable[[Float[Tensor, "f 3 H W"], Float[Tensor, "f 3 H W"]], Float[Tensor, " f"]]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a distance makes of one probe: its mean over halves, and how often chance does that."""

    value: float
    chance: float
    """Twice the median over the halves of the share of floors that are as large."""

    @property
    def is_told(self) -> bool:
        """Whether the probe is farther away than real videos are, beyond chance."""
        return self.chance <= LEVEL


@dataclass(frozen=True, kw_only=True)
class DistanceCheck:
    """One distance of an extractor, tested."""

    floor: float
    """Mean distance between halves of the real videos."""
    floor_high: float
    """97.5 % of these distances are below."""
    probes: dict[str, ProbeResult]

    @property
    def untold(self) -> list[str]:
        """The probes that it cannot tell from real videos though a person can."""
        return [p.name for p in PROBES if not p.is_light and not self.probes[p.name].is_told]

    @property
    def is_trusted(self) -> bool:
        """Whether it tells all of them."""
        return not self.untold

    @property
    def can_rank(self) -> bool:
        """Whether it is trusted and finds illegible videos worse than still ones."""
        return self.is_trusted and self.probes[ILLEGIBLE].value > self.probes[STILL].value


@dataclass(frozen=True, kw_only=True)
class ExtractorCheck:
    """Whether an extractor's distances mean something on the real videos at hand."""

    extractor: str
    num_videos: int
    """Real videos that it was tested on."""
    distances: dict[str, DistanceCheck] = field(default_factory=dict)
    """By the name of the distance; empty if there were too few videos."""

    def is_trusted(self, distance: str) -> bool:
        """Whether a distance belongs on the card's main table."""
        return distance in self.distances and self.distances[distance].is_trusted

    @property
    def sentence(self) -> str:
        """What the first line of the card says."""
        if not self.distances:
            return (
                f"{self.extractor} was not tested on this data: that takes at least {LEAST} real "
                f"videos, here are {self.num_videos}. Its distances are left out of the main table."
            )
        failed = {name: tuple(one.untold) for name, one in self.distances.items() if one.untold}
        if not failed:
            return f"{self.extractor} tells all probes of this data from real videos."
        parts = []
        for untold in dict.fromkeys(failed.values()):
            names = [name for name, theirs in failed.items() if theirs == untold]
            whose = "" if len(names) == len(self.distances) else f"The {names[0]} distance of "
            it = "its distances are" if not whose else "it is"
            parts.append(
                f"{whose}{self.extractor} cannot tell {listed(untold)} of this data from real "
                f"ones (tested on {self.num_videos} videos): {it} left out of the main table."
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

    For each random half A and its complement B, d(A, B) is a floor. If the extractor did not see
    a probe P at all, d(A, P(B)) would be d(A, B), so the share of the floors that are at least as
    large is the chance of a value like this (a randomization test: the halves are drawn by us, so
    it asks nothing of how the videos depend on each other). Over several halves it is twice the
    median of the chances (Meinshausen, Meier and Bühlmann 2009). An extractor that passes must
    tell every probe, which needs no correction for their number (Berger 1982).

    Args:
        extractor: its name.
        real: features of the real videos.
        probes: features of the probes, by `Probe.name`; row by row of the same videos.
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
        seen = {}
        for probe, features in made.items():
            values = [distance(real[o[:half]], features[o[half:]]) for o in orders[:NUM_PROBED]]
            chances = [(1 + (floors >= value).sum()) / (NUM_SPLITS + 1) for value in values]
            chance = min(1.0, 2 * float(np.median(chances)))
            seen[probe] = ProbeResult(value=float(np.mean(values)), chance=chance)
        high = float(np.quantile(floors, 0.975))
        distances[name] = DistanceCheck(floor=float(floors.mean()), floor_high=high, probes=seen)
    return ExtractorCheck(extractor=extractor, num_videos=len(real), distances=distances)


class _Probing:
    """An extractor whose features are those of every probe of a video, one after another."""

    def __init__(self, extractor: Extractor, others: Sequence[Tensor]) -> None:
        self.extractor, self.others = extractor, others
        self.name, self.side = f"{extractor.name}, probes", extractor.side
        self.kernel, self.is_tuned_to = extractor.kernel, extractor.is_tuned_to
        self.dim = len(PROBES) * extractor.dim
        self.device = getattr(extractor, "device", "cpu")
        of_others = [seed_of(other) for other in others]
        told = f"{extractor.hash} {VERSION} {[p.name for p in PROBES]} {of_others}"
        self.hash = hashlib.sha256(told.encode()).hexdigest()[:12]

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
        protocol: which frames.
        extractor: makes the features.
        path: where the features of an extractor are kept, without an ending.
        on_video: called with (videos done, all of them).
    """
    others = []
    for name in list(real.paths)[:NUM_OTHERS]:
        frames = protocol.compared(protocol.sampled(real.read(name)))
        others.append(protocol.resized(frames, extractor.side))
    if all(torch.equal(other, others[0]) for other in others):
        others.append(-others[0])  # equal videos have no other one; the negative is another one
    probing = _Probing(extractor, others)
    found = features_of(real, protocol, probing, path(probing), on_video=on_video)
    features = found.only(list(real.paths))
    parts = np.split(features, len(PROBES), axis=1)
    return {probe.name: part for probe, part in zip(PROBES, parts, strict=True)}


@dataclass(frozen=True, kw_only=True)
class FigureCheck:
    """Whether a figure of pairs ranks as a person would: shares of the videos it was tested on."""

    num_videos: int
    blurred_below_still: float
    """Share in which a video blurred beyond recognition is worse than its first frame repeated."""
    illegible_below_still: float
    """The same for a smeared one."""
    halved_above_still: float
    """Share in which a video at half its size is better than its first frame repeated."""

    @property
    def puts_illegible_last(self) -> bool:
        """Whether the first two hold for most videos, beyond chance (sign test)."""
        shares = (self.blurred_below_still, self.illegible_below_still)
        return all(_sign_test(share, self.num_videos) <= LEVEL for share in shares)

    @property
    def can_rank(self) -> bool:
        """Whether the third one does, too."""
        forgives = _sign_test(self.halved_above_still, self.num_videos) <= LEVEL
        return self.puts_illegible_last and forgives


def figure_checks(
    real: VideoSet,
    names: Sequence[str],
    protocol: Protocol,
    figures: Mapping[str, tuple[Pairwise, bool]],
    on_video: Callable[[int, int], None] | None = None,
) -> dict[str, FigureCheck]:
    """Tests figures of pairs on at most `NUM_PAIRS` real videos, evenly over all of them.

    Args:
        real: the real videos.
        names: of those that can be read.
        protocol: which frames.
        figures: by name, a function of (real frames, others) and whether more of it is better.
        on_video: called with (videos done, all of them).
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
    """The chance of a share like this or larger, if both answers are as likely."""
    hits = round(share * num)
    return sum(math.comb(num, k) for k in range(hits, num + 1)) / 2**num
