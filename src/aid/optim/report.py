"""A training run as one HTML page that needs nothing else: curves, sheets, settings.

`fit` writes it into the run's folder, `report.html`, with every saved state. It reads the files of
the run (log.jsonl, run.json, the state's facts, sheets) and knows no model. The curves are SVG
inside the page, so it can be mailed and opened years later.
"""

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.files import write_whole
from aid.optim.log import read_log
from aid.optim.state import FACTS, flat

Pixel = float | int
Points = tuple[list[int], list[float]]
STILL = 0.5
COLOURS = ("#1f77b4", "#d9730d", "#2a9d3a", "#c1272d", "#7e57c2", "#795548", "#d6599f", "#607d8b")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 250, 62, 12, 10, 26
"""Of a chart and its margins, in pixels."""
NUM_SHEETS = 12
"""The newest ones are in the page; all are files of the run."""


@dataclass(frozen=True)
class Run:
    """The contents of a run's folder."""

    folder: Path
    lines: list[dict[str, Any]]
    record: dict[str, Any]
    position: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Reads a run that is running, has ended or was killed.

        Raises:
            ValueError: the folder holds no log.
        """
        path = folder / "log.jsonl"
        if not path.is_file():
            raise ValueError(
                f"{str(folder)!r} is not a training run: it has no log.jsonl. Give the folder that "
                "was --out of aid train."
            )
        position = _json(folder / "state" / FACTS).get("position", {})
        return cls(folder, read_log(path), _json(folder / "run.json"), position)

    def points(self, name: str) -> Points:
        """Steps and values of one quantity."""
        found = [(line["step"], line[name]) for line in self.lines if name in line]
        return [step for step, _ in found], [value for _, value in found]

    def named(self, prefix: str) -> dict[str, Points]:
        """All quantities whose name begins so, by the rest of their names."""
        names = dict.fromkeys(name for line in self.lines for name in line)
        return {
            name.removeprefix(prefix): self.points(name)
            for name in names
            if name.startswith(prefix)
        }


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def smoothed(values: Sequence[float], share: float = 0.05) -> list[float]:
    """The mean of each value and those before it, over a `share` of all."""
    width = max(1, round(share * len(values)))
    return [
        sum(values[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(values))
    ]


def ticks(low: float, high: float) -> list[float]:
    """About four round numbers from `low` to `high`, which differ."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(number * step) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: int
    end: int
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Values to mark."""
        if not self.is_log:
            return ticks(self.low, self.high)
        powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
        return [10.0**power for power in powers]


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest value, made to differ."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def chart(
    title: str,
    curves: Mapping[str, Points],
    *,
    says: str = "",
    is_log: bool = False,
    level: float | None = None,
    starts: Sequence[int] = (),
) -> str:
    """One figure as SVG, with its explanation below; empty if there are no points.

    Args:
        title: above the figure.
        curves: points by the name in the legend; a name "" is drawn pale, behind the others.
        says: how to read it.
        is_log: whether the axis of values is logarithmic, if they span a factor of 10.
        level: a value to mark.
        starts: steps at which the run was resumed.
    """
    curves = {
        name: [(float(x), float(y)) for x, y in zip(*points, strict=True) if math.isfinite(y)]
        for name, points in curves.items()
    }
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return ""
    values = [y for points in curves.values() for _, y in points]
    is_log = is_log and min(values) > 0 and max(values) > 10 * min(values)
    steps = [x for points in curves.values() for x, _ in points]
    x = Axis(*_spread(steps), LEFT, WIDTH - RIGHT)
    marked = values if level is None else [*values, level]
    y = Axis(*_spread(marked), HEIGHT - BOTTOM, TOP, is_log)
    parts = []
    for tick in y.ticks():
        at = y(tick)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "#eee"))
        parts.append(_text(LEFT - 6, at + 4, f"{tick:.4g}", "end"))
    for tick in x.ticks():
        parts.append(_text(x(tick), HEIGHT - 8, f"{tick:,.6g}", "middle"))
    parts += [
        _line(x(float(step)), TOP, x(float(step)), HEIGHT - BOTTOM, "#888", "2 3")
        for step in starts
    ]
    if level is not None:
        parts.append(_line(LEFT, y(level), WIDTH - RIGHT, y(level), "#444", "6 4"))
    named = [name for name in curves if name]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(named)}
    for name, points in curves.items():
        colour = colours.get(name, "#ccc")
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        if len(points) < 3:
            parts += [
                f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5" fill="{colour}"/>'
                for step, value in points
            ]
    legend = "".join(
        f'<span style="color:{colours[name]}">{html.escape(name)}</span>' for name in named
    )
    return (
        f"<figure><h3>{html.escape(title)}</h3>"
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"{''.join(parts)}</svg>"
        + (f'<p class="legend">{legend}</p>' if len(named) > 1 else "")
        + (f"<p>{html.escape(says)}</p>" if says else "")
        + "</figure>"
    )


def _line(x1: Pixel, y1: Pixel, x2: Pixel, y2: Pixel, colour: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'
    )


def _text(x: Pixel, y: Pixel, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def charts(run: Run) -> str:
    """All figures of a run."""
    starts = run.position.get("pieces", [])[1:]
    steps, losses = run.points("loss")
    seconds = run.points("seconds")
    pace = [
        (after - before) / (b - a)
        for a, b, before, after in zip(
            seconds[0], seconds[0][1:], seconds[1], seconds[1][1:], strict=False
        )
    ]
    held_out = {name: p for name, p in run.named("true_").items()}
    others = {n: run.points(n) for n in ("held_out_loss", "psnr", "top1_first", "top1_last")}
    made = [
        chart(
            "Loss",
            {"": (steps, losses), "smoothed": (steps, smoothed(losses))},
            starts=starts,
            is_log=True,
            says="Mean since the log's last line; dotted: the run was resumed.",
        ),
        chart(
            "Held-out loss by noise level",
            _sigmas(held_out),
            is_log=True,
            says="Unseen videos, with the same noise at every check.",
        ),
        *(chart(name, {name: points}) for name, points in others.items()),
        chart(
            "Swap gap: another instruction",
            _sigmas(run.named("swap_gap_")),
            level=0.0,
            says="Loss with another instruction of the same frame, minus loss with the true one. "
            "Above 0 the text is used.",
        ),
        chart(
            "Gap without an instruction",
            _sigmas(run.named("empty_gap_")),
            level=0.0,
            says="Loss without an instruction, minus loss with the true one.",
        ),
        chart(
            "Motion ratio",
            {"motion ratio": run.points("motion_ratio")},
            level=1.0,
            says=f"1: as much motion as in real videos. Below {STILL} the given frame is copied.",
        ),
        chart(
            "Norm of the adapters' output matrix",
            run.named("up_norm_"),
            says="W_up, which starts at 0.",
        ),
        chart("Gradient norm by part", run.named("grad_norm_"), is_log=True),
        chart("Weight norm by part", run.named("weight_norm_"), is_log=True),
        chart("Learning rate", {"rate": run.points("learning_rate")}),
        chart(
            "Seconds per step",
            {"seconds": (seconds[0][1:], pace)},
            starts=starts,
            says="Including checks.",
        ),
    ]
    return "".join(made)


def _sigmas(curves: Mapping[str, Points]) -> dict[str, Points]:
    return {f"noise {name}": points for name, points in curves.items()}


def _summary(run: Run) -> dict[str, str]:
    """The facts at the top of the page."""
    last = next((line for line in reversed(run.lines) if "loss" in line), {})
    steps = run.record.get("train", {}).get("steps")
    done = run.position.get("step", last.get("step", 0))
    seconds = run.position.get("seconds", last.get("seconds", 0.0))
    made = {
        "steps": f"{done:,} of {steps:,}" if steps else f"{done:,}",
        "time": f"{seconds / 3600:.1f} hours in {len(run.position.get('pieces', [0]))} pieces",
        "last loss": f"{last['loss']:.4f}" if last else "none yet",
    }
    if trained := run.record.get("trained"):
        made["trained parameters"] = f"{sum(trained.values()) / 1e6:.2f} M"
    for name, value in run.record.get("facts", {}).items():
        made[name.replace("_", " ")] = str(value)
    for name in ("device", "processes"):
        if name in run.record:
            made[name] = str(run.record[name])
    for change in run.position.get("changes", []):
        was, now = change["was"], change["now"]
        made[f"changed at step {change['step']}"] = f"{change['name']}: {was!r} to {now!r}"
    return made


def _rows(values: Mapping[str, Any]) -> str:
    cells = (
        f"<tr><th>{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(cells)}</table>"


def _sheets(folder: Path) -> str:
    """The newest sheets, the last one open."""
    paths = sorted([*folder.glob("sheet-*.png"), *folder.glob("decoded-*.png")], reverse=True)
    made = []
    for path in paths[:NUM_SHEETS]:
        data = base64.b64encode(path.read_bytes()).decode()
        step = int(path.stem.rsplit("-", 1)[1])
        picture = f'<img alt="videos at step {step}" src="data:image/png;base64,{data}">'
        is_open = " open" if path == paths[0] else ""
        made.append(f"<details{is_open}><summary>step {step:,}</summary>{picture}</details>")
    return "".join(made)


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem;
  color: #222; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
h3 { font-size: 1rem; margin: 0 } svg text { font-size: 11px; fill: #555 }
table { border-collapse: collapse } th { text-align: left; font-weight: 500; padding-right: 2rem }
td { font-variant-numeric: tabular-nums } .charts { display: flex; flex-wrap: wrap; gap: 1.5rem }
figure { margin: 0; width: 36rem; max-width: 100% } figure svg { width: 100%; height: auto }
.legend span { margin-right: 1rem }
figure p { margin: 0; color: #555; font-size: .9rem } img { max-width: 100% }
.alarm { background: #fff1e0; border-left: 4px solid #d80; padding: .6rem 1rem }
summary { cursor: pointer } details { margin: .4rem 0 }
"""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a run and returns its path, `report.html` in the run's folder by default.

    Raises:
        ValueError: the folder is no run.
        OSError: the page cannot be written.
    """
    run = Run.read(folder)
    out = out or folder / "report.html"
    checks = [line for line in run.lines if "motion_ratio" in line]
    alarm = ""
    if checks and "alarm" in checks[-1]:
        said = f"{checks[-1]['alarm']} (motion ratio {checks[-1]['motion_ratio']})"
        alarm = f'<p class="alarm">At the last check {html.escape(said)}.</p>'
    title = f"Training run {html.escape(folder.resolve().name)}"
    sheets = _sheets(folder)
    settings = {
        name: run.record[name] for name in ("model", "train", "sampler") if name in run.record
    }
    parts = [
        f"<h1>{title}</h1>{alarm}{_rows(_summary(run))}",
        f'<h2>Curves</h2><div class="charts">{charts(run)}</div>',
        f"<h2>Videos</h2>{sheets}" if sheets else "",
        f"<h2>Settings</h2>{_rows(flat(settings))}" if settings else "",
        f"<h2>Versions</h2>{_rows(run.record['versions'])}" if "versions" in run.record else "",
    ]
    write_whole(
        out,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>\n",
    )
    return out
