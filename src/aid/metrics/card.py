"""A comparison as tables: Markdown, and one HTML page that needs no other file."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from aid.metrics.likeness import FLOOR, Comparison, Number
from aid.metrics.probes import PROBES
from aid.metrics.trust import DISTANCES, FEWEST_FOR_SIGN_TEST, ExtractorCheck

COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#7b2d8b", "#b08900", "#444444")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.3rem .6rem;"
    "text-align:right}td:first-child,th:first-child{text-align:left}small{color:#666}"
    "svg{margin-right:1rem}"
)


FIGURES = {
    "PSNR": ("psnr_predicted", " dB", True),
    "SSIM": ("ssim_predicted", "", True),
    "LPIPS": ("lpips_predicted", "", False),
}
"""Paired figures: the attribute, its unit, and whether more is better."""


def first_lines(comparison: Comparison) -> list[str]:
    """Which figures can be trusted on these videos; the reader needs this before the numbers.

    The first line names the distances that are left out of the main table, with the reason.
    """
    check, lines = comparison.check, []
    if check is not None and not all(check.is_trusted(name) for name in DISTANCES):
        lines.append(check.sentence)
    if (ranked := comparison.ranked_by) is not None:
        line = f"The sets are listed by {RANKED[ranked]}, best first."
        if ranked in comparison.figures and not comparison.figures[ranked].can_rank:
            line += (
                " On these videos it rates a slight loss of detail worse than a still video, so "
                "the first frame repeated may rank too high."
            )
        lines.append(line)
    elif comparison.figures:
        lines.append(
            "No figure passed its test on these videos (below). Do not rank by any figure; look at "
            "the videos."
        )
    if check is not None and all(check.is_trusted(name) for name in DISTANCES):
        lines.append(check.sentence)
    return lines


RANKED = {
    "Fréchet": "Fréchet, halves",
    "KVD": "KVD",
    **{figure: f"{figure} of the predicted frames" for figure in FIGURES},
}


LEFT_OUT = "left out"
"""Cell of the main table for a distance that is not trusted."""


def head(comparison: Comparison, has_all: bool = False) -> list[str]:
    """The columns of the table. A distance is named after its extractor, never plain FVD.

    Args:
        comparison: the comparison.
        has_all: whether it is the table of all distances, with those that are not trusted.
    """
    name = comparison.extractor.get("extractor") or "no extractor"
    distances = [f"Fréchet ({name})", "Fréchet, halves", f"KVD ({name})", "KVD, centred"]
    figures = [] if has_all else [*FIGURES, "first frame", "motion"]
    return ["set", "videos", *distances, *figures]


def cells(comparison: Comparison, name: str, has_all: bool = False) -> list[str]:
    """A row of the table; a dash stands for a figure that could not be measured."""
    one = comparison.likeness[name]
    centred = "-" if one.kvd_centred is None else f"{one.kvd_centred:z.4g}"
    distances = {
        "Fréchet": [_number(one.frechet), _number(one.frechet_of_halves)],
        "KVD": [_number(one.kvd), centred],
    }
    row = [name, str(one.num_videos)]
    for distance, values in distances.items():
        is_left_out = comparison.extractor and not _shows(comparison, distance, has_all)
        row += [LEFT_OUT] * 2 if is_left_out else values
    if not has_all:
        row += [_number(getattr(one, key), unit) for key, unit, _ in FIGURES.values()]
        row += [_number(one.first_frame, " dB"), _number(one.motion_ratio)]
    return row


def ranked(comparison: Comparison) -> list[str]:
    """The floor, then the sets in the order of the figure that ranks them, best first."""
    names = list(comparison.likeness)
    if (by := comparison.ranked_by) is None:
        return names

    def worth(name: str) -> float:
        one = comparison.likeness[name]
        if by in FIGURES:
            key, _, is_more_better = FIGURES[by]
            number, sign = getattr(one, key), 1 if is_more_better else -1
        else:
            number, sign = one.frechet_of_halves if by == "Fréchet" else one.kvd, -1
        return float("-inf") if number is None else sign * number.value

    others = sorted((name for name in names if name != FLOOR), key=worth, reverse=True)
    return [*(name for name in names if name == FLOOR), *others]


def tables(comparison: Comparison) -> dict[str, list[list[str]]]:
    """All tables of the card by their headings, the main one first; row 0 holds the columns."""
    order = ranked(comparison)
    has_floor = any(_shows(comparison, distance, False) for distance in DISTANCES)
    shown = [name for name in order if has_floor or name != FLOOR]  # it has no other figures
    made = {"": [head(comparison), *(cells(comparison, name) for name in shown)]}
    if any(one.static_share is not None for one in comparison.likeness.values()):
        made["Static flicker and sharpness"] = _steadiness_table(comparison, order)
    check = comparison.check
    if check is None or not all(check.is_trusted(name) for name in DISTANCES):
        details = [head(comparison, True), *(cells(comparison, name, True) for name in order)]
        if comparison.extractor:
            made["All distances, also those that are not trusted"] = details
    if check is not None and check.distances:
        made["Test of the extractor"] = _probe_table(check)
    if comparison.figures:
        made["Test of the paired figures"] = _figure_table(comparison)
    return made


def _shows(comparison: Comparison, distance: str, has_all: bool) -> bool:
    check = comparison.check
    is_trusted = check is not None and check.is_trusted(distance)
    return bool(comparison.extractor) and (has_all or is_trusted)


def _steadiness_table(comparison: Comparison, order: Sequence[str]) -> list[list[str]]:
    """Flicker in grey levels and as a ratio, and sharpness as ratios to the real videos."""
    rows = [["set", "static flicker, grey levels", "real", "static flicker / real",
             "sharpness / real", "static places", "moving places", "static share"]]  # fmt: skip
    for name in order:
        one = comparison.likeness[name]
        if one.static_share is None:
            continue
        real = "-" if one.real_static_flicker is None else f"{one.real_static_flicker:.2f}"
        figures = [one.static_flicker_ratio, one.sharpness, one.sharpness_static,
                   one.sharpness_moving]  # fmt: skip
        row = [name, _number(one.static_flicker), real, *map(_number, figures)]
        rows.append([*row, f"{100 * one.static_share:.0f} %"])
    return rows


def _probe_table(check: ExtractorCheck) -> list[list[str]]:
    columns, floor = ["videos"], ["other real videos (the floor)"]
    for name, tested in check.distances.items():
        columns += [f"{name}, halves", "p", "detected"]
        floor += [f"{tested.floor:z.4g} (97.5 % below {tested.floor_high:z.4g})", "", ""]
    rows = [columns, floor]
    for probe in PROBES:
        row = [f"{probe.name} (not required)" if probe.is_light else probe.name]
        for tested in check.distances.values():
            result = tested.probes[probe.name]
            is_detected = "yes" if result.is_detected else "no"
            row += [f"{result.value:z.4g}", f"{result.p:.3f}", is_detected]
        rows.append(row)
    return rows


def _figure_table(comparison: Comparison) -> list[list[str]]:
    rows = [["figure", "videos", "rates heavy blur below still", "rates illegible below still",
             "rates half size above still", "passes"]]  # fmt: skip
    for name, one in comparison.figures.items():
        shares = (one.blurred_below_still, one.illegible_below_still, one.halved_above_still)
        passes = "yes" if one.can_rank else "no"
        if one.num_videos < FEWEST_FOR_SIGN_TEST:
            passes = f"no: {FEWEST_FOR_SIGN_TEST} videos are the fewest for this test"
        rows.append([name, str(one.num_videos), *(f"{100 * s:.0f} %" for s in shares), passes])
    return rows


def notes(comparison: Comparison) -> list[str]:
    """Notes on the main table: protocol, extractor, intervals, what was left out."""
    p, e = comparison.protocol, comparison.extractor
    frames = "all frames" if p["counts_given_frames"] else "predicted frames only"
    size = "antialiased" if p["antialias"] else "not antialiased"
    order = "by name" if p["is_sorted"] else "as the file system lists them"
    resized = f", bilinear to {e['side']} pixels ({size})" if e else ""
    lines = [
        f"Protocol {p['name']} {comparison.protocol_hash}: {p['num_frames']} frames by "
        f"{p['sampling']}, {p['num_given_frames']} given, {frames}{resized}, images of a folder "
        f"{order}, split {comparison.split_hash}."
    ]
    if e:
        lines += [
            f"Extractor {e['extractor']} {e['weights']}, trained on {e['is_tuned_to']}; kernel of "
            f"KVD (x . y / d + {e['kernel'][1]:g})^{e['kernel'][0]}.",
            "In brackets: 95 % bootstrap intervals over videos; for halves, the spread over 10 "
            f"random splits. The row {FLOOR!r} is the floor of the column 'halves' at the same "
            "number of videos. KVD centred is the published variant, which cannot see a shift of "
            "the mean.",
        ]
    else:
        lines += ["In brackets: 95 % bootstrap intervals over videos."]
    if any(comparison.num_pairs < one.num_videos for one in comparison.likeness.values()):
        lines.append(
            f"PSNR, SSIM, LPIPS, first frame and motion use the {comparison.num_pairs} videos that "
            "all sets have."
        )
    lines += [f"Not run: {what}: {why}." for what, why in comparison.not_run.items()]
    for title, videos in comparison.unreadable.items():
        lines += [f"Left out of {title}: {name}: {why}" for name, why in videos.items()]
    return lines + comparison.file_notes


def markdown(comparison: Comparison) -> str:
    """The first lines, the main table with its notes, and the tables of the tests."""
    return "\n\n".join([*first_lines(comparison), markdown_tables(comparison)])


def markdown_tables(comparison: Comparison) -> str:
    """The tables and notes without the first lines."""
    parts = []
    for title, rows in tables(comparison).items():
        first, *others = rows
        lines = [f"| {' | '.join(row)} |" for row in (first, ["---"] * len(first), *others)]
        parts += [f"### {title}"] if title else []
        parts.append("\n".join(lines))
        if not title:
            parts.append("\n".join(f"- {line}" for line in notes(comparison)))
    return "\n\n".join(parts) + "\n"


def html_page(
    title: str, comparison: Comparison | None, above: Sequence[list[list[str]]] = ()
) -> str:
    """One page with the tables, the comparison and its curves per frame.

    Args:
        title: of the page.
        comparison: None leaves it out.
        above: other tables to put above it; row 0 of each holds the columns.
    """
    parts = []
    if comparison is not None:
        parts += [f"<p><b>{escape(line)}</b></p>" for line in first_lines(comparison)]
    parts += [_table(rows) for rows in above]
    if comparison is not None:
        for heading, rows in tables(comparison).items():
            parts += [f"<h2>{escape(heading)}</h2>"] if heading else []
            parts.append(_table(rows))
            if not heading:
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


def _number(number: Number | None, unit: str = "") -> str:
    """The value with its interval; a single video has no interval."""
    if number is None:
        return "-"
    interval = f" ({number.low:z.4g} to {number.high:z.4g})" if number.num_videos > 1 else ""
    return f"{number.value:z.4g}{unit}{interval}"


def _table(rows: list[list[str]]) -> str:
    first, *others = rows
    made = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in first) + "</tr>"
    for row in others:
        made += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    return f"<table>{made}</table>"


def _curves(comparison: Comparison, name: str, unit: str) -> str:
    """A chart of a figure over the frames, with a line for each set."""
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
