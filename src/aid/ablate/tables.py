"""The two tables in the paper's form, next to the paper's numbers, and a chart of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aid.ablate.rows import Row, Run
from aid.evaluate import MODES
from aid.video import whole_file


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of one run: Fréchet and kernel distance, instruction accuracy in [0, 1]."""

    frechet: float
    kvd: float
    accuracy: float
    num_videos: int
    extractor: str


def result_of(report: Path) -> Result:
    """The figures in a score card that `aid evaluate` wrote."""
    card = json.loads(report.read_text(encoding="utf-8"))
    like, scores = card["comparison"]["likeness"][MODES["true"]], card["scores"][MODES["true"]]
    return Result(
        frechet=like["frechet"]["value"],
        kvd=like["kvd"]["value"],
        accuracy=scores["accuracy"],
        num_videos=scores["num_videos"],
        extractor=card["comparison"]["extractor"]["extractor"],
    )


def write_tables(
    out: Path,
    rows: Sequence[Row],
    planned: Mapping[Row, Sequence[Run]],
    results: Mapping[Run, Result],
    failed: Mapping[Run, str],
    budget: Mapping[str, Any],
) -> list[Path]:
    """Writes ablation-table.json, .md and .svg; rows that were not selected are "not run"."""
    found = {row: [results[run] for run in planned.get(row, ()) if run in results] for row in rows}
    parts = [_table(name, rows, found, planned, failed) for name in ("conditions", "adapters")]
    spent = ", ".join(f"{name} {value}" for name, value in budget.items())
    text = "# The paper's ablations\n\n" + "\n".join(parts)
    text += (
        f"\nBudget of every row: {spent}. The paper's numbers are FVD and KVD on "
        "Something-Something v2 with Stable Video Diffusion; ours have other data and another "
        "extractor, so only the order of the rows can be compared. ± is the standard deviation "
        "over seeds.\n"
    )
    content = {
        "budget": dict(budget),
        "rows": [{**asdict(row), "runs": [asdict(one) for one in found[row]]} for row in rows],
    }
    paths = [out / f"ablation-table.{ending}" for ending in ("json", "md", "svg")]
    for path, written in zip(paths, (json.dumps(content, indent=1) + "\n", text), strict=False):
        with whole_file(path) as temporary:
            temporary.write_text(written, encoding="utf-8")
    if any(found.values()):
        _plot(paths[2], rows, found)
        return paths
    return paths[:2]


def _table(
    name: str,
    rows: Sequence[Row],
    found: Mapping[Row, Sequence[Result]],
    planned: Mapping[Row, Sequence[Run]],
    failed: Mapping[Run, str],
) -> str:
    ours = [row for row in rows if row.table == name]
    extractor = next((r.extractor for row in ours for r in found[row]), "none yet")
    lines = [
        f"## {name.capitalize()}",
        "",
        f"| {name} | paper: FVD | paper: KVD | ours: Fréchet ({extractor}) | ours: KVD | "
        "ours: instruction accuracy | videos | status |",
        "|" + " --- |" * 8,
    ]
    for row in ours:
        got = found[row]
        cells = ["not run"] * 3 + ["-"]
        if got:
            cells = [
                _spread([one.frechet for one in got]),
                _spread([one.kvd for one in got]),
                _spread([100 * one.accuracy for one in got]) + " %",
                str(got[0].num_videos),
            ]
        status = f"{len(got)} of {len(planned.get(row, ()))} seeds"
        if lost := sum(run in failed for run in planned.get(row, ())):
            status += f", {lost} failed"
        status = status if row in planned else "not run"
        lines.append(f"| {row.title} | {row.fvd} | {row.kvd} | {' | '.join([*cells, status])} |")
    return "\n".join([*lines, "", _order(ours, found), ""])


def _order(rows: Sequence[Row], found: Mapping[Row, Sequence[Result]]) -> str:
    """Compares the order of the rows with the paper's, beyond the spread of the seeds."""
    measured = [row for row in rows if found[row]]
    if len(measured) < 2:
        return "Order of the rows: not run."
    mean = {row: float(np.mean([r.frechet for r in found[row]])) for row in measured}
    spread = {row: float(np.std([r.frechet for r in found[row]])) for row in measured}

    def ordered(values: Mapping[Row, float]) -> str:
        return " < ".join(row.title for row in sorted(values, key=values.__getitem__))

    reversed_, undecided = [], 0
    for index, one in enumerate(measured):
        for other in measured[index + 1 :]:
            apart = mean[one] - mean[other]
            if abs(apart) <= spread[one] + spread[other]:
                undecided += 1
            elif apart * (one.fvd - other.fvd) < 0:
                reversed_.append(f"{one.title} / {other.title}")
    pairs = len(measured) * (len(measured) - 1) // 2
    return (
        f"Paper: {ordered({row: row.fvd for row in measured})}.\nOurs: {ordered(mean)}.\n"
        f"Of {pairs} pairs {len(reversed_)} have the reverse order"
        f"{' (' + '; '.join(reversed_) + ')' if reversed_ else ''}, and {undecided} differ by less "
        "than the spread of their seeds."
    )


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}"


def _plot(path: Path, rows: Sequence[Row], found: Mapping[Row, Sequence[Result]]) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, name in zip(axes, ("conditions", "adapters"), strict=True):
        ours = [row for row in rows if row.table == name and found[row]]
        for place, row in enumerate(ours):
            values = [one.frechet for one in found[row]]
            axis.barh(place, float(np.mean(values)), color="#9bbcd6")
            axis.plot(values, [place] * len(values), "o", color="#1b3a57", markersize=4)
        axis.set_yticks(range(len(ours)), [row.title for row in ours])
        axis.invert_yaxis()
        axis.set_title(name)
    figure.supxlabel("Fréchet distance, one dot for each seed; lower is better")
    # The same figures give the same file.
    with rc_context({"svg.hashsalt": "ablation"}), whole_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
