"""The tables in the paper's form next to the paper's numbers, a chart, costs and a picture."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aid.ablate.results import (
    COST,
    RESULT,
    Cost,
    Figures,
    Result,
    read_cost,
    read_result,
)
from aid.ablate.rows import ROWS, Row, Run, Table
from aid.evaluate.judge import wilson_interval
from aid.evaluate.speed import read_speed
from aid.evaluate.stored import StoredVideos
from aid.video import contact_sheet, read_video, whole_file, write_png

NOT_RUN = "not run"
HEADINGS: dict[Table, str] = {
    "main": "Main table",
    "conditions": "Conditions",
    "adapters": "Adapters",
    "tuning": "Ways to adapt the backbone",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that is known of the runs of a comparison."""

    out: Path
    planned: Mapping[Row, Sequence[Run]]
    failed: Mapping[Run, str]
    results: Mapping[Row, Sequence[Result]]

    def first(self, value: Callable[[Result], Any]) -> Any:
        """The first value that is known of any run."""
        values = (value(one) for found in self.results.values() for one in found)
        return next((one for one in values if one is not None), None)

    def figures(self, row: Row) -> list[tuple[Figures, Figures]]:
        """For each run of a row the figures among the distances and with the judge."""
        if row.kind != "baseline":
            return [(one.own, one.own) for one in self.results.get(row, ())]
        # Every score card has the baselines, which are the same on all of them.
        sets = self.first(lambda one: one.sets)
        if sets is None or row.sets[0] not in sets:
            return []
        return [tuple(sets.get(title, Figures(num_videos=0)) for title in row.sets)]


def write_tables(
    out: Path,
    planned: Mapping[Row, Sequence[Run]],
    tables: Sequence[Table],
    failed: Mapping[Run, str],
    budget: Mapping[str, Any],
    measured_on: str = "this machine",
) -> list[Path]:
    """Writes tables, costs, chart and picture from the results in `out`; returns the files.

    Args:
        out: folder of the comparison, with a folder for each run.
        planned: the runs of each row, of rows that were not chosen, too.
        tables: those that are written; their rows without a run are "not run".
        failed: runs that failed now, with the reason.
        budget: what every row may take, to print.
        measured_on: the device of the seconds per video, in words.
    """
    results = {
        row: [one for run in runs if (one := read_result(out / run.name / RESULT)) is not None]
        for row, runs in planned.items()
    }
    found = Found(out=out, planned=planned, failed=failed, results=results)
    rows = [row for row in (*ROWS, *(r for r in planned if r not in ROWS)) if row.table in tables]
    spent = ", ".join(f"{name} {_plain(value)}" for name, value in budget.items())
    parts = [_table(name, [row for row in rows if row.table == name], found) for name in tables]
    text = "# Comparison\n\n" + "\n".join(parts) + "\n" + "\n".join(_notes(found, spent)) + "\n"
    content = {
        "budget": dict(budget),
        "rows": [
            {**asdict(row), "runs": [asdict(one) for one in results.get(row, ())]} for row in rows
        ],
    }
    written = {
        "tables.json": json.dumps(content, indent=1) + "\n",
        "tables.md": text,
        "costs.md": _costs(rows, found, measured_on),
    }
    for name, said in written.items():
        with whole_file(out / name) as temporary:
            temporary.write_text(said, encoding="utf-8")
    paths = [out / name for name in written]
    if any(results.values()):
        _plot(out / "tables.svg", tables, rows, found)
        paths.append(out / "tables.svg")
    if _draw_picture(out / "picture.png", rows, found):
        paths.append(out / "picture.png")
    return paths


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _notes(found: Found, spent: str) -> list[str]:
    lines = [f"Budget of every row: {spent}."]
    if untrusted := found.first(lambda one: one.untrusted or None):
        extractor = found.first(lambda one: one.extractor)
        lines.append(
            f"Of {extractor} {' and '.join(untrusted)} are not trusted on these videos (the score "
            "cards say why), so do not rank by them."
        )
    if (chance := found.first(lambda one: one.chance)) is not None:
        lines.append(
            f"Chance: {100 * chance:.1f} % of the videos, if one of the instructions of each first "
            "frame is guessed. A row without text can do no better in instruction accuracy."
        )
    lines.append(
        "Accuracy has the 95 % Wilson interval of the videos of all seeds together. The paper's "
        "numbers are FVD and KVD on Something-Something v2 with Stable Video Diffusion; ours have "
        "other data and another extractor, so only the order of the rows can be compared. ± is the "
        "standard deviation over seeds."
    )
    return [line for pair in ((line, "") for line in lines) for line in pair][:-1]


def _table(name: Table, rows: Sequence[Row], found: Found) -> str:
    extractor = found.first(lambda one: one.extractor) or "no extractor"
    is_judged = any(f.num_judged for row in rows for _, f in found.figures(row))
    has_lift = any(one.lift_psnr is not None for row in rows for one in found.results.get(row, ()))
    columns = [name, "paper: FVD", "paper: KVD", f"Fréchet ({extractor})", "Fréchet, halves"]
    columns += ["KVD", "PSNR", "SSIM"]
    columns += ["instruction accuracy"] * is_judged + ["retrieval"]
    columns += ["lift, PSNR"] * has_lift + ["videos", "status"]
    lines = [f"## {HEADINGS[name]}", "", _line(columns), _line(["---"] * len(columns))]
    for row in rows:
        paper = ["-" if value is None else str(value) for value in (row.fvd, row.kvd)]
        cells = _cells(row, found, is_judged, has_lift)
        lines.append(_line([row.title, *paper, *cells, _status(row, found)]))
    lines.append("")
    if all(row.has_equal_steps for row in rows):
        lines += [_order(rows, found), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Row, found: Found, is_judged: bool, has_lift: bool) -> list[str]:
    """The figures of a row, and the number of videos; "not run" without a run."""
    figures, results = found.figures(row), found.results.get(row, ())
    number = 7 + is_judged + has_lift
    if not figures:
        return [NOT_RUN] * (number - 1) + ["-"]
    distances = [pair[0] for pair in figures]
    names = ("frechet", "halves", "kvd", "psnr", "ssim")
    cells = [_spread([getattr(one, name) for one in distances]) for name in names]
    if is_judged:
        cells.append(_accuracy(row, [pair[1] for pair in figures], results))
    cells.append(_spread([one.retrieval for one in results], 100.0, " %"))
    if has_lift:
        cells.append(_spread([one.lift_psnr for one in results], 1.0, " dB"))
    return [*cells, str(distances[0].num_videos)]


def _accuracy(row: Row, judged: Sequence[Figures], results: Sequence[Result]) -> str:
    """The accuracy of all seeds' videos together, with its interval and each seed's."""
    counted = [(one.num_obeyed, one.num_judged) for one in judged if one.num_judged]
    if not counted:
        return "-"
    obeyed, number = (sum(values) for values in zip(*counted, strict=True))
    low, high = wilson_interval(obeyed, number)
    text = f"{100 * obeyed / number:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    if results and not results[0].reads_text:
        text += ", reads no text"
    return text


def _status(row: Row, found: Found) -> str:
    if row.kind == "baseline":
        return "no training"
    runs, got = found.planned.get(row, ()), found.results.get(row, ())
    lost = sum(run in found.failed for run in runs)
    if not got and not lost:
        return NOT_RUN
    return f"{len(got)} of {len(runs)} seeds" + f", {lost} failed" * bool(lost)


def _order(rows: Sequence[Row], found: Found) -> str:
    """Compares the order of the rows with the paper's, beyond the spread of the seeds."""
    measured = {
        row: values
        for row in rows
        if row.fvd is not None
        and (values := [r.own.frechet for r in found.results.get(row, ())])
        and None not in values
    }
    if len(measured) < 2:
        return "Order of the rows: not run."
    mean = {row: float(np.mean(values)) for row, values in measured.items()}
    spread = {
        row: float(np.std(values, ddof=1)) if len(values) > 1 else float("inf")  # of one seed: any
        for row, values in measured.items()
    }

    def ordered(values: Mapping[Row, float]) -> str:
        return " < ".join(row.title for row in sorted(values, key=values.__getitem__))

    reversed_, undecided, listed = [], 0, list(measured)
    for index, one in enumerate(listed):
        for other in listed[index + 1 :]:
            apart = mean[one] - mean[other]
            if abs(apart) <= spread[one] + spread[other]:
                undecided += 1
            elif apart * (one.fvd - other.fvd) < 0:
                reversed_.append(f"{one.title} / {other.title}")
    pairs = len(measured) * (len(measured) - 1) // 2
    said = (
        f"Paper: {ordered({row: row.fvd for row in measured})}.\nOurs: {ordered(mean)}.\n"
        f"Of {pairs} pairs {len(reversed_)} have the reverse order"
        f"{' (' + '; '.join(reversed_) + ')' if reversed_ else ''}, and {undecided} differ by less "
        "than the spread of their seeds, which one seed does not show."
    )
    return f"{said}\n{_order_by_accuracy(listed, found)}".strip()


def _order_by_accuracy(rows: Sequence[Row], found: Found) -> str:
    """The same by instruction accuracy, for the pairs whose intervals do not overlap."""
    intervals = {}
    for row in rows:
        counted = [r.own for r in found.results[row] if r.own.num_judged]
        if counted:
            obeyed = sum(one.num_obeyed for one in counted)
            intervals[row] = wilson_interval(obeyed, sum(one.num_judged for one in counted))
    listed, same, reverse = list(intervals), 0, 0
    for index, one in enumerate(listed):
        for other in listed[index + 1 :]:
            if one.fvd == other.fvd:
                continue
            better, worse = (one, other) if one.fvd < other.fvd else (other, one)
            same += intervals[better][0] > intervals[worse][1]
            reverse += intervals[worse][0] > intervals[better][1]
    if not listed:
        return ""
    return (
        f"By instruction accuracy {same} pairs have the paper's order and {reverse} the reverse, "
        "with intervals that do not overlap."
    )


def _spread(values: Sequence[float | None], factor: float = 1.0, unit: str = "") -> str:
    known = [factor * value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.4g}{unit}"
    return f"{np.mean(known):.4g} ± {np.std(known, ddof=1):.2g}{unit}"


def _costs(rows: Sequence[Row], found: Found, measured_on: str) -> str:
    """What each row takes, as a table."""
    columns = ["row", "trained parameters", "all parameters", "steps", "training FLOPs"]
    columns += ["of budget", "trained before, shared", "evaluations per video", "seconds per video"]
    lines = ["# Costs", "", _line(columns), _line(["---"] * len(columns))]
    listed: set[str] = set()
    for row in rows:
        runs = found.planned.get(row, ())
        name = runs[0].name if runs else row.title
        if row.kind == "baseline" or name in listed:
            continue
        listed.add(name)
        cost = next((c for run in runs if (c := read_cost(found.out / run.name / COST))), None)
        if cost is None:
            lines.append(_line([row.title, *[NOT_RUN] * (len(columns) - 1)]))
            continue
        speeds = [read_speed(found.out / run.name / "report") for run in runs]
        lines.append(_line([row.title, *_cost_cells(cost), *_speed_cells(speeds)]))
    lines += [
        "",
        "FLOPs: matrix products, convolutions and attention of all training steps, forward and "
        "backward, as torch.utils.flop_counter counts them on one step of each stage; encoding "
        "the cache is left out. What was trained before is not in them. Evaluations: calls of the "
        "network that is called most often; guidance may put several conditions into one call. "
        f"Seconds: on {measured_on}.",
    ]
    return "\n".join(lines) + "\n"


def _cost_cells(cost: Cost) -> list[str]:
    steps = ", ".join(f"{number} {stage}".strip() for stage, number in cost.steps.items())
    share = "-" if not cost.budget else f"{100 * cost.flops / cost.budget:.2f} %"
    return [
        f"{cost.num_trained / 1e6:.2f} M", f"{cost.num_parameters / 1e6:.2f} M", steps,
        f"{cost.flops:.3g}", share, cost.shared,
    ]  # fmt: skip


def _speed_cells(speeds: Sequence[Any]) -> list[str]:
    evaluations = [one.evaluations for one in speeds if one.evaluations is not None]
    seconds = [one.seconds_per_video for one in speeds if one.seconds_per_video is not None]
    return [
        f"{evaluations[0]:.4g}" if evaluations else "-",
        f"{np.mean(seconds):.3g}" if seconds else "-",
    ]


def _plot(path: Path, tables: Sequence[Table], rows: Sequence[Row], found: Found) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    most = max(sum(row.table == name for row in rows) for name in tables)
    figure = Figure(figsize=(4.5 * len(tables), 1.2 + 0.4 * most), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables, strict=True):
        measured = [
            (row, values)
            for row in rows
            if row.table == name
            and (values := [f.frechet for f, _ in found.figures(row) if f.frechet is not None])
        ]
        for place, (_, values) in enumerate(measured):
            axis.barh(place, float(np.mean(values)), color="#9bbcd6")
            axis.plot(values, [place] * len(values), "o", color="#1b3a57", markersize=4)
        axis.set_yticks(range(len(measured)), [row.title for row, _ in measured])
        axis.invert_yaxis()
        axis.set_title(HEADINGS[name])
    figure.supxlabel("Fréchet distance, one dot for each seed; lower is better")
    # The same figures give the same file.
    with rc_context({"svg.hashsalt": "ablation"}), whole_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def _draw_picture(path: Path, rows: Sequence[Row], found: Found) -> bool:
    """One first frame and one instruction: the real video, and one of every method, a row each."""
    shown, wanted = [], None
    titles: dict[Run, str] = {}
    for row in rows:
        for run in found.planned.get(row, ()):
            if run.seed == 0 and (found.out / run.name / RESULT).is_file():
                titles.setdefault(run, row.title)
    for run, title in titles.items():
        report = found.out / run.name / "report"
        if wanted is None:
            lines = json.loads((report / "report.json").read_text(encoding="utf-8"))["videos"]
            if not lines:
                return False
            wanted = lines[0]
            if (real := _video_of(report / "real", wanted["id"])) is not None:
                shown.append((f"real: {wanted['instruction']}", real))
        video = _video_of(report / "predictions/true", wanted["id"])
        if video is not None:
            shown.append((title, video))
    if len(shown) < 2:
        return False
    scale, columns = max(1, 128 // shown[0][1].shape[1]), min(8, len(shown[0][1]))
    write_png(path, contact_sheet(shown, scale=scale, num_columns=columns))
    return True


def _video_of(folder: Path, row_id: str) -> Any:
    """The stored video of a row; None if there is none."""
    for record in sorted(folder.glob("*.json")):
        if json.loads(record.read_text(encoding="utf-8")).get("id") == row_id:
            return read_video(StoredVideos(folder).path(record.stem))
    return None
