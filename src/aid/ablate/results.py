"""The figures of one run, taken from its score card, and what the run cost."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aid.evaluate import MODES
from aid.metrics.trust import DISTANCES, DistanceCheck, ProbeResult
from aid.video import whole_file

RESULT, COST, REPORT = "result.json", "cost.json", "report/report.json"
OWN = MODES["true"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one set of videos; a figure that was not measured is None."""

    num_videos: int
    frechet: float | None = None
    halves: float | None = None
    """Fréchet distance between halves: compare it with that of real against real."""
    kvd: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    num_obeyed: int | None = None
    num_judged: int | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run: its sets of videos by their titles on the score card."""

    row: str
    seed: int
    title: str
    is_own_method: bool
    """Whether it is a method of the user's, which no table lists by itself."""
    reads_text: bool
    sets: dict[str, Figures]
    extractor: str | None = None
    untrusted: tuple[str, ...] = ()
    """Distances that were not tested on these videos, or that missed a probe."""
    chance: float | None = None
    """Share of videos in which a guess among a first frame's instructions is right."""
    retrieval: float | None = None
    """Share of videos whose nearest real video is that of their instruction."""
    lift_psnr: float | None = None
    """PSNR with the own words minus that with other words, in dB."""
    code: str | None = None
    """Digest of the file of a method of the user's own."""

    @property
    def own(self) -> Figures:
        """The figures of the run's predictions."""
        return self.sets[OWN]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run takes."""

    steps: dict[str, int]
    """Optimizer steps of each stage."""
    flops: int
    """Floating-point operations of all of them."""
    budget: float | None
    """What was allowed; None: not said."""
    num_trained: int
    num_parameters: int
    shared: str
    """What it uses that was trained before and is shared with others."""
    stages: dict[str, int] = field(default_factory=dict)
    """Operations of one step of each stage."""


def result_of(report: Path, **known: Any) -> Result:
    """The figures in a score card that `aid evaluate` wrote.

    Args:
        report: the card's report.json.
        known: `row`, `seed` and the like.
    """
    card = json.loads(report.read_text(encoding="utf-8"))
    comparison, scores = card["comparison"], card["scores"]
    sets = {}
    for title in {**comparison["likeness"], **scores}:
        like, judged = comparison["likeness"].get(title, {}), scores.get(title, {})
        sets[title] = Figures(
            num_videos=like.get("num_videos", judged.get("num_videos", 0)),
            frechet=_value(like, "frechet"),
            halves=_value(like, "frechet_of_halves"),
            kvd=_value(like, "kvd"),
            psnr=_value(like, "psnr_predicted"),
            ssim=_value(like, "ssim_predicted"),
            num_obeyed=judged.get("num_obeyed"),
            num_judged=judged.get("num_videos"),
        )
    checks = (comparison.get("check") or {}).get("distances", {})
    untrusted = [name for name in DISTANCES if not (name in checks and _is_trusted(checks[name]))]
    lift = card.get("lift") or {}
    other = [one for title, one in (card.get("words") or {}).items() if title != MODES["empty"]]
    return Result(
        sets=sets,
        extractor=comparison["extractor"].get("extractor"),
        untrusted=tuple(untrusted) if comparison["extractor"] else (),
        chance=lift.get("chance"),
        retrieval=_value(lift.get("retrieval", {}), OWN),
        lift_psnr=_value(other[0], "lift_psnr") if other else None,
        **known,
    )


def _value(figures: Mapping[str, Any], name: str) -> float | None:
    number = figures.get(name)
    return None if number is None else float(number["value"])


def _is_trusted(check: Mapping[str, Any]) -> bool:
    probes = {name: ProbeResult(**one) for name, one in check["probes"].items()}
    return DistanceCheck(**{**check, "probes": probes}).is_trusted


def write(path: Path, record: Result | Cost) -> None:
    """Writes a record, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_result(path: Path) -> Result | None:
    """The result of a run; None if it is not finished."""
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    sets = {title: Figures(**one) for title, one in values.pop("sets").items()}
    untrusted = tuple(values.pop("untrusted"))
    return Result(sets=sets, untrusted=untrusted, **values)


def read_cost(path: Path) -> Cost | None:
    """The cost of a run; None if it is not known yet."""
    if not path.is_file():
        return None
    return Cost(**json.loads(path.read_text(encoding="utf-8")))
