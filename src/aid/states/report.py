"""Reports on the quality of written states: counts of typical faults, and a sheet to look at."""

import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from aid.conditioning.states import StateWriter
from aid.states.writing import FirstFrames, RowStates
from aid.video import write_png

MAX_EXAMPLES = 20
REPEATS_ABOVE = 0.75  # share of common words
FRAME, WIDTH, MARGIN, LINE = 160, 900, 8, 16  # pixels of the sheet


@dataclass(frozen=True, kw_only=True)
class Report:
    """Counts of typical faults in the states of a data set.

    `failures` has the number of videos for each kind of failure, `failed` the first of them with
    the reason. `with_duplicates` counts videos with two equal states, `ignoring_instruction` videos
    with the states of another instruction on the same scene, `repeating` videos with a state that
    merely repeats the instruction. Words are compared without case, articles and punctuation.
    """

    state_writer: str
    sees: str
    num_videos: int
    with_states: int
    failures: dict[str, int]
    failed: list[dict[str, str]]
    with_duplicates: int
    ignoring_instruction: int
    repeating: int
    mean_words: float

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)

    def to_text(self) -> str:
        """A line for each figure, for a terminal."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.failures.items())
        rows = [
            ("state writer", f"{self.state_writer} (sees: {self.sees})"),
            ("videos", f"{self.num_videos}, {self.with_states} with states"),
            ("failures", f"{sum(self.failures.values())}{f' ({kinds})' if kinds else ''}"),
            ("equal states", f"in {self.with_duplicates} videos"),
            (
                "ignoring",
                f"in {self.ignoring_instruction} videos the states are those of another "
                "instruction of the same scene",
            ),
            ("repeating", f"in {self.repeating} videos a state repeats the instruction"),
            ("words", f"{self.mean_words:.1f} in a state on average"),
        ]
        return "\n".join(f"{name:<17}{value}" for name, value in rows)


def make_report(results: Sequence[RowStates], writer: StateWriter) -> Report:
    """Counts the faults."""
    failed = [one for one in results if one.result.failure]
    written = [one for one in results if one.result.states]
    plain = [tuple(map(_plain, one.result.states)) for one in written]
    instructions_of: dict[tuple, set[str]] = defaultdict(set)
    for one, states in zip(written, plain, strict=True):
        instructions_of[_scene(one), states].add(_plain(one.row.instruction))
    lengths = [len(state.split()) for one in written for state in one.result.states]
    return Report(
        state_writer=writer.name,
        sees=writer.sees,
        num_videos=len(results),
        with_states=len(written),
        failures=dict(Counter(one.result.failure for one in failed).most_common()),
        failed=[
            {"id": one.row.id, "reason": one.result.detail, "answer": one.result.answer[:500]}
            for one in failed[:MAX_EXAMPLES]
        ],
        with_duplicates=sum(len(set(states)) < len(states) for states in plain),
        ignoring_instruction=sum(
            len(instructions_of[_scene(one), states]) > 1
            for one, states in zip(written, plain, strict=True)
        ),
        repeating=sum(
            any(repeats(state, one.row.instruction) for state in one.result.states)
            for one in written
        ),
        mean_words=float(np.mean(lengths)) if lengths else 0.0,
    )


def repeats(state: str, instruction: str) -> bool:
    """Whether a state repeats the instruction: most of their words are the same."""
    one, other = set(_plain(state).split()), set(_plain(instruction).split())
    return bool(one | other) and len(one & other) / len(one | other) > REPEATS_ABOVE


def _plain(words: str) -> str:
    kept = [word for word in re.findall(r"\w+", words.lower()) if word not in ("a", "an", "the")]
    return " ".join(kept)


def _scene(one: RowStates) -> Any:
    return one.row.world.get("scene", one.row.video)


def write_sheet(
    path: Path, data: Path, results: Sequence[RowStates], number: int, first_frames: FirstFrames
) -> None:
    """Writes a PNG of first frames with instruction and states, for a person to judge.

    Args:
        path: the file.
        data: folder of the manifest.
        results: the videos; `number` of them are shown, evenly from first to last.
        number: at least 1.
        first_frames: how to read the first frame of a video.
    """
    indices = np.linspace(0, len(results) - 1, min(number, len(results))).round().astype(int)
    chosen = [results[index] for index in indices]
    strips = [_strip(one, first_frames.read(data, one.row)) for one in chosen]
    sheet = Image.new("RGB", (WIDTH, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    write_png(path, sheet)


def _strip(one: RowStates, pixels: UInt8[np.ndarray, "H W 3"]) -> Image.Image:
    """One video: its first frame on the left, the text on the right, failures in red."""
    frame = Image.fromarray(pixels)
    scale = FRAME / max(frame.size)
    enlarged = tuple(max(1, round(side * scale)) for side in frame.size)
    frame = frame.resize(enlarged, Image.Resampling.NEAREST if scale > 1 else None)
    lines = [(f"{one.row.id}: {one.row.instruction}", "black")]
    lines += [(f"{n}. {state}", "#204080") for n, state in enumerate(one.result.states, start=1)]
    if one.result.failure:
        lines.append((f"no states: {one.result.detail or one.result.failure}", "#b00020"))
    wrapped = [
        (part, colour) for line, colour in lines for part in textwrap.wrap(line[:600], 96) or [""]
    ]
    height = max(frame.height, LINE * len(wrapped)) + 2 * MARGIN
    strip = Image.new("RGB", (WIDTH, height), "white")
    strip.paste(frame, (MARGIN, MARGIN))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=13)
    for number, (words, colour) in enumerate(wrapped):
        position = (FRAME + 2 * MARGIN, MARGIN + LINE * number)
        draw.text(position, words.encode("utf-8", "replace").decode(), fill=colour, font=font)
    draw.line([(0, height - 1), (WIDTH, height - 1)], fill="#cccccc")
    return strip
