"""Predicts videos of several instructions for each of some first frames, to demonstrate a model.

Called by `aid tabletop demo`. The frames are the shipped ones, whose scenes are not in the training
data, or those of another folder with a `frames.json` (`aid.worlds.read_frames`).
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from aid.predict import Predictor
from aid.tabletop import ASSETS
from aid.video import contact_sheet, read_image, side_by_side, write_gif, write_mp4, write_png
from aid.worlds import FirstFrame, read_frames

SIDE = 128  # approximate height of a video on a sheet, in pixels
GAP = 14
TITLE_COLOUR, TIME_COLOUR = "black", "dimgrey"


def make_demo(
    predictor: Predictor,
    out: Path,
    frames: Path | None = None,
    *,
    num_steps: int | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes videos and sheets into `out`, prints their paths and times, returns the overall sheet.

    All instructions of a frame are one batch with the same noise, so that only the words cause the
    differences between their videos.

    Args:
        predictor: predicts the videos.
        out: a folder; made if it does not exist.
        frames: a folder with frames.json; None takes the shipped ones.
        num_steps: sampling steps; None takes the model's own.
        seed: of every video.
        on_step: called with (sampling steps done, number of steps).
    """
    first_frames = read_frames(frames or ASSETS / "frames")
    out.mkdir(exist_ok=True)
    sampler = predictor.sampler_with(num_steps)
    sheets = []
    for index, frame in enumerate(first_frames):

        def count(done: int, all_: int, before: int = index) -> None:
            if on_step is not None:
                on_step(before * all_ + done, len(first_frames) * all_)

        start = time.monotonic()
        pixels, number = read_image(frame.path), len(frame.instructions)
        understood = [predictor.understand(pixels, said) for said in frame.instructions]
        videos = predictor.predict_many(
            [pixels] * number,
            [one.instruction for one in understood],
            [seed] * number,
            sampler=sampler,
            batch_size=number,
            on_step=count,
        )
        seconds = (time.monotonic() - start) / number
        words = f"{number} instruction{'s' * (number > 1)}"
        title = f"{frame.title}: one frame, {words}, the same noise"

        sheets.append(titled_sheet(title, frame.instructions, videos, predictor.fps))
        _write(out, frame, videos, sheets[-1], predictor.fps)
        for said, one in zip(frame.instructions, understood, strict=True):
            if one.instruction != said:
                print(f"understood       {said!r} as {one}")
        print(f"{number} videos, {seconds:.1f} s each")
    overall = out / "demo.png"
    write_png(overall, _stacked(sheets))
    print(overall)
    return overall


def _write(
    out: Path,
    frame: FirstFrame,
    videos: Sequence[UInt8[np.ndarray, "f H W 3"]],
    sheet: Image.Image,
    fps: float,
) -> None:
    folder = out / frame.path.stem
    folder.mkdir(exist_ok=True)
    for instruction, video in zip(frame.instructions, videos, strict=True):
        name = re.sub(r"[^a-z0-9]+", "-", instruction.lower()).strip("-")[:80]
        write_mp4(folder / f"{name}.mp4", video, fps)
        write_gif(folder / f"{name}.gif", video, fps, scale=max(1, 2 * SIDE // video.shape[1]))
        print(folder / f"{name}.mp4")
    beside = side_by_side("", list(zip(frame.instructions, videos, strict=True)))
    write_gif(folder / "side_by_side.gif", beside, fps)
    write_png(folder / "sheet.png", sheet)
    print(folder / "side_by_side.gif")
    print(folder / "sheet.png")


def titled_sheet(
    title: str,
    captions: Sequence[str],
    videos: Sequence[UInt8[np.ndarray, "f H W 3"]],
    fps: float,
    num_columns: int = 8,
) -> Image.Image:
    """A contact sheet with a title, the time above each column, and the given frame in the first.

    Args:
        title: of the sheet.
        captions: one for each video.
        videos: all of one size and length.
        fps: frames per second.
        num_columns: most columns; their frames are evenly spread over the video.
    """
    num_frames, height = videos[0].shape[:2]
    num_columns = min(num_columns, num_frames)
    rows = list(zip(captions, videos, strict=True))
    sheet = contact_sheet(rows, scale=max(1, SIDE // height), num_columns=num_columns)
    band = 3 * GAP + 10
    large, small = ImageFont.load_default(size=18), ImageFont.load_default(size=12)
    width = max(sheet.width, int(large.getlength(title))) + 2 * GAP
    page = Image.new("RGB", (width, sheet.height + band + GAP), "white")
    page.paste(sheet, (GAP, band))
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP // 2), title, fill=TITLE_COLOUR, font=large)
    for column, index in enumerate(np.linspace(0, num_frames - 1, num_columns).round()):
        words = f"{index / fps:.1f} s" if column else "given frame"
        left = GAP + column * sheet.width // num_columns
        draw.text((left + 3, band - 18), words, fill=TIME_COLOUR, font=small)
    return page


def _stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """One image with the sheets below each other."""
    width, height = max(s.width for s in sheets), sum(s.height for s in sheets)
    page = Image.new("RGB", (width, height), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    return page
