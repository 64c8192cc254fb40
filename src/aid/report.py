"""A training run as one HTML page that needs nothing else: curves, sheets, settings.

`aid report RUN` calls it. It reads what `aid train` and `aid pretrain` write (log.jsonl, run.json,
the saved state's facts, sheets) and knows no model. Curves are SVG inside the page, drawn by
matplotlib, so the page can be mailed and opened years later.
"""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aid.files import write_whole

Points = tuple[list[int], list[float]]
STILL = 0.5


@dataclass(frozen=True)
class Run:
    """What a run's folder tells."""

    folder: Path
    lines: list[dict[str, Any]]
    record: dict[str, Any]
    position: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Reads a run that is going on, has ended or was killed.

        Raises:
            ValueError: the folder holds no log.
        """
        path = folder / "log.jsonl"
        if not path.is_file():
            raise ValueError(
                f"{str(folder)!r} is not a training run: it has no log.jsonl. Give the folder that "
                "was --out of aid train, or a stage's folder of aid pretrain."
            )
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:  # being written at this moment
                break
        facts = _json(folder / "state/trainer.json")
        return cls(folder, lines, _json(folder / "run.json"), facts.get("position", {}))

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


def chart(
    title: str,
    curves: Mapping[str, Points],
    *,
    says: str = "",
    is_log: bool = False,
    level: float | None = None,
    starts: Sequence[int] = (),
) -> str:
    """One figure as SVG, with what it says below; empty if there is nothing to draw.

    Args:
        curves: points by the name in the legend; a name "" is drawn pale, as what lies behind.
        says: how to read it.
        is_log: whether the values' axis is logarithmic, if they span a factor of 10.
        level: a value to mark.
        starts: steps at which the run was begun again.
    """
    curves = {name: points for name, points in curves.items() if points[0]}
    if not curves:
        return ""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # The hash salt makes the same run the same file.
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5.6, 2.7), layout="constrained")
        axes = figure.subplots()
        for name, (steps, values) in curves.items():
            mark = "o" if len(steps) < 3 else None
            if name:
                axes.plot(steps, values, label=name, linewidth=1.4, marker=mark, markersize=3)
            else:
                axes.plot(steps, values, color="0.8", linewidth=0.8)
        for step in starts:
            axes.axvline(step, color="0.6", linewidth=0.6, linestyle=":")
        if level is not None:
            axes.axhline(level, color="0.3", linewidth=0.8, linestyle="--")
        drawn = [value for _, values in curves.values() for value in values]
        if is_log and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.92", linewidth=0.6)
        if len([name for name in curves if name]) > 1:
            axes.legend(frameon=False, fontsize=8, ncols=2)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    words = f"<p>{html.escape(says)}</p>" if says else ""
    return f"<figure><h3>{html.escape(title)}</h3>{svg}{words}</figure>"


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
            "Loss", {"": (steps, losses), "smoothed": (steps, smoothed(losses))}, starts=starts,
            is_log=True, says="Mean since the log's last line; dotted: the run was begun again.",
        ),
        chart(
            "Held-out loss by noise level", _sigmas(held_out), is_log=True,
            says="Unseen videos, the same noise at every check.",
        ),
        *(chart(name, {name: points}) for name, points in others.items()),
        chart(
            "Does the text matter? Other words", _sigmas(run.named("swap_gap_")), level=0.0,
            says="Loss with another instruction of the same frame, minus loss with the true one. "
            "Above 0 the words are used.",
        ),
        chart(
            "Does the text matter? No words", _sigmas(run.named("empty_gap_")), level=0.0,
            says="Loss without an instruction, minus loss with the true one.",
        ),
        chart(
            "Motion against real videos", {"motion ratio": run.points("motion_ratio")}, level=1.0,
            says=f"1: as much as the real videos. Below {STILL} the given frame is being copied.",
        ),
        chart(
            "Is the adapter doing anything?", run.named("up_norm_"),
            says="Norm of each adapter's last matrix, which starts at 0.",
        ),
        chart("Gradient norm by part", run.named("grad_norm_"), is_log=True),
        chart("Weight norm by part", run.named("weight_norm_"), is_log=True),
        chart("Learning rate", {"rate": run.points("learning_rate")}),
        chart(
            "Seconds a step", {"seconds": (seconds[0][1:], pace)}, starts=starts,
            says="Checks are counted too.",
        ),
    ]  # fmt: skip
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


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            made |= _flat(value, f"{prefix}{name}.")
        else:
            made[prefix + name] = value
    return made


def _sheets(folder: Path) -> str:
    """The last picture open, those before it closed."""
    paths = sorted([*folder.glob("sheet-*.png"), *folder.glob("decoded-*.png")], reverse=True)
    made = []
    for path in paths:
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
h3 { font-size: 1rem; margin: 0 }
table { border-collapse: collapse } th { text-align: left; font-weight: 500; padding-right: 2rem }
td { font-variant-numeric: tabular-nums } .charts { display: flex; flex-wrap: wrap; gap: 1.5rem }
figure { margin: 0; width: 36rem; max-width: 100% } figure svg { width: 100%; height: auto }
figure p { margin: 0; color: #555; font-size: .9rem } img { max-width: 100% }
.alarm { background: #fff1e0; border-left: 4px solid #d80; padding: .6rem 1rem }
summary { cursor: pointer } details { margin: .4rem 0 }
"""


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a run and returns its path, `report.html` in the run's folder by default.

    Raises:
        ValueError: the folder is no run, or matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "aid report draws with matplotlib, which is not installed. Install it: "
            "pip install 'aid-video[report]'"
        ) from None
    run = Run.read(folder)
    out = out or folder / "report.html"
    checks = [line for line in run.lines if "motion_ratio" in line]
    alarm = ""
    if checks and "alarm" in checks[-1]:
        said = f"{checks[-1]['alarm']} (motion ratio {checks[-1]['motion_ratio']})"
        alarm = f'<p class="alarm">At the last check {html.escape(said)}.</p>'
    title = f"Training run {html.escape(folder.resolve().name)}"
    sheets = _sheets(folder)
    settings = {name: run.record[name] for name in ("model", "train", "sampler")
                if name in run.record}  # fmt: skip
    parts = [
        f"<h1>{title}</h1>{alarm}{_rows(_summary(run))}",
        f'<h2>Curves</h2><div class="charts">{charts(run)}</div>',
        f"<h2>Videos</h2>{sheets}" if sheets else "",
        f"<h2>Settings</h2>{_rows(_flat(settings))}" if settings else "",
        f"<h2>Versions</h2>{_rows(run.record['versions'])}" if "versions" in run.record else "",
    ]
    write_whole(
        out,
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>\n",
    )
    return out
