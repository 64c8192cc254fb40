"""A comparison as a table for people: Markdown, and one HTML page that needs no other file."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from aid.metrics.likeness import FLOOR, Comparison, Likeness, Number

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.3rem .6rem;"
    "text-align:right}td:first-child,th:first-child{text-align:left}small{color:#666}"
    "svg{margin-right:1rem}"
)


def head(comparison: Comparison) -> list[str]:
    """The columns of the table. A distance is named after its extractor, never plain FVD."""
    distances = []
    if comparison.extractor:
        name = comparison.extractor["extractor"]
        distances = [f"Fréchet ({name})", "Fréchet, halves", f"KVD ({name})", "KVD, centred"]
    return ["set", "videos", *distances, "PSNR", "SSIM", "LPIPS", "first frame", "motion"]


def cells(name: str, one: Likeness, has_distances: bool = True) -> list[str]:
    """A line of the table; a dash is what could not be measured."""
    centred = "-" if one.kvd_centred is None else f"{one.kvd_centred:.4g}"
    distances = [_said(one.frechet), _said(one.frechet_of_halves), _said(one.kvd), centred]
    return [
        name, str(one.num_videos), *(distances if has_distances else []),
        _said(one.psnr_predicted, " dB"), _said(one.ssim_predicted), _said(one.lpips_predicted),
        _said(one.first_frame, " dB"), _said(one.motion_ratio),
    ]  # fmt: skip


def notes(comparison: Comparison) -> list[str]:
    """What must be known to read the table, a sentence or two each."""
    p, e = comparison.protocol, comparison.extractor
    frames = "all frames" if p["counts_given_frames"] else "predicted frames only"
    size = "antialiased" if p["antialias"] else "not antialiased"
    order = "by name" if p["is_sorted"] else "as the file system lists them"
    resized = f", bilinear to {e['side']} pixels ({size})" if e else ""
    lines = [
        f"Protocol {p['name']} {comparison.protocol_hash}: {p['num_frames']} frames by "
        f"{p['sampling']}, {p['num_given_frames']} given, {frames}{resized}, pictures of a folder "
        f"{order}, split {comparison.split_hash}."
    ]
    if e:
        lines += [
            f"Extractor {e['extractor']} {e['weights']}, trained on {e['is_tuned_to']}; kernel of "
            f"KVD (x . y / d + {e['kernel'][1]:g})^{e['kernel'][0]}.",
            "In brackets: 95 % bootstrap intervals over videos; for halves, the spread over 10 "
            f"random splits. The line {FLOOR!r} is the floor of the column 'halves' at the same "
            "number of videos. KVD centred is the legacy number and blind to a shift of the mean.",
        ]
    else:
        lines += ["In brackets: 95 % bootstrap intervals over videos."]
    lines += [f"Not run: {what}: {why}." for what, why in comparison.not_run.items()]
    for title, videos in comparison.unreadable.items():
        lines += [f"Left out of {title}: {name}: {why}" for name, why in videos.items()]
    return lines


def markdown(comparison: Comparison) -> str:
    """The table and its notes."""
    columns = head(comparison)
    rows = [columns, ["---"] * len(columns)]
    rows += [
        cells(name, one, bool(comparison.extractor)) for name, one in comparison.likeness.items()
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return table + "\n\n" + "\n".join(f"- {line}" for line in notes(comparison)) + "\n"


def html_page(title: str, comparison: Comparison | None, tables: Sequence[list[list[str]]]) -> str:
    """One page with the tables, the comparison and its curves per frame.

    Args:
        title: of the page.
        comparison: how like the sets are; None leaves it out.
        tables: others, above it, each with its head as the first row.
    """
    parts = [_table(rows) for rows in tables]
    if comparison is not None:
        rows = [head(comparison)]
        rows += [
            cells(name, one, bool(comparison.extractor))
            for name, one in comparison.likeness.items()
        ]
        parts.append(_table(rows))
        parts += [_curves(comparison, *axis) for axis in (("psnr", "dB"), ("ssim", ""))]
        parts += [f"<p><small>{escape(line)}</small></p>" for line in notes(comparison)]
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>\n{body}\n</html>\n"
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON values."""
    return asdict(comparison)


def _said(number: Number | None, unit: str = "") -> str:
    if number is None:
        return "-"
    return f"{number.value:.4g}{unit} ({number.low:.4g} to {number.high:.4g})"


def _table(rows: list[list[str]]) -> str:
    first, *others = rows
    made = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in first) + "</tr>"
    for row in others:
        made += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    return f"<table>{made}</table>"


def _curves(comparison: Comparison, name: str, unit: str) -> str:
    """A value over the frames, a line for each set."""
    lines = {
        title: values
        for title, one in comparison.likeness.items()
        if (values := getattr(one, name)) is not None and len(values) > 1
    }
    if not lines:
        return ""
    given = 0 if comparison.protocol["counts_given_frames"] else 1
    shown = [v for values in lines.values() for v in values[given:]]
    low, high = min(shown), max(shown) + 1e-9
    width, height = 420, 200
    parts = [f'<text x="8" y="16">{name.upper()} {unit} per frame</text>']
    for value, y in ((high, 34), (low, height - 22)):
        parts.append(f'<text x="8" y="{y}" font-size="11">{value:.3g}</text>')
    for number, (title, values) in enumerate(lines.items()):
        points = []
        for frame, value in enumerate(values):
            x = 50 + (width - 60) * frame / (len(values) - 1)
            y = 30 + (height - 55) * (1 - (min(value, high) - low) / (high - low))
            points.append(f"{x:.1f},{y:.1f}")
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" '
            f'stroke-width="2"><title>{escape(title)}</title></polyline>'
        )
        parts.append(
            f'<text x="{width + 8}" y="{30 + 16 * number}" fill="{colour}" font-size="12">'
            f"{escape(title)}</text>"
        )
    return (
        f'<svg width="{width + 240}" height="{height}" font-family="sans-serif">'
        f"{''.join(parts)}</svg>"
    )
