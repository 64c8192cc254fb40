"""Writes pixels to files (mp4, GIF, PNG), completely or not at all, and draws contact sheets."""

import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

PANEL_HEIGHT, PANEL_GAP = 192, 4
"""Of videos side by side: the least height of each and the distance between two, in pixels."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    Raises:
        ValueError: the folder does not exist or cannot be written to.
    """
    folder = path.parent
    if not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r} does not exist. Create it: mkdir -p '{folder}'")
    try:
        handle, name = tempfile.mkstemp(
            dir=folder, prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}"
        )
    except OSError as error:
        raise ValueError(
            f"cannot write to folder {str(folder)!r} ({error.strerror}). Choose another --out."
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, pattern: str = "**/*") -> None:
    """Deletes temporary files of `whole_file` in killed processes.

    Args:
        folder: to search; no other process may be writing there.
        pattern: below it; "*" does not search its folders.
    """
    for path in list(folder.glob(pattern)):
        if re.fullmatch(r"\..+-[a-z0-9_]{8}\.tmp(\..*)?", path.name):
            path.unlink(missing_ok=True)


def write_mp4(
    path: Path, pixels: UInt8[np.ndarray, "f H W 3"], fps: float, lossless: bool = False
) -> None:
    """Writes an H.264 mp4.

    Args:
        path: of the file.
        pixels: the frames.
        fps: frames a second.
        lossless: exact RGB, for data sets; otherwise yuv420, which every player supports. Odd
            sizes then lose their last row or column, because yuv420 halves the colour planes.
    """
    height, width = pixels.shape[1:3]
    if not lossless:
        pixels = pixels[:, : height - height % 2, : width - width % 2]
    with whole_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264rgb" if lossless else "libx264", rate=Fraction(fps).limit_denominator(1000)
        )
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        stream.options = {"crf": "0" if lossless else "16", "preset": "veryfast"}
        stream.thread_count = 1
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_gif(path: Path, pixels: UInt8[np.ndarray, "f H W 3"], fps: float, scale: int = 1) -> None:
    """Writes a looping GIF, each pixel `scale` wide.

    Repeated frames are stored once, with a longer duration; `read_clip` repeats them again.
    """
    images = [
        Image.fromarray(frame).resize(
            (frame.shape[1] * scale, frame.shape[0] * scale), Image.NEAREST
        )
        for frame in pixels
    ]
    # Hundredths of a second; ends are rounded, so that the total duration is right.
    ends = [max(2 * i, round(100 * i / fps)) for i in range(len(images) + 1)]
    durations = [10 * (after - before) for before, after in itertools.pairwise(ends)]
    with whole_file(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
        )


def write_png(path: Path, image: Image.Image) -> None:
    """Writes a PNG file, completely or not at all."""
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def contact_sheet(
    rows: Sequence[tuple[str, UInt8[np.ndarray, "_ H W 3"]]], scale: int = 1, num_columns: int = 8
) -> Image.Image:
    """One row of frames per video with its caption above, frames spaced evenly over the video.

    Args:
        rows: captions and frames.
        scale: width of a pixel of the videos on the sheet.
        num_columns: frames of a video.
    """
    height, width = (side * scale for side in rows[0][1].shape[1:3])
    font = ImageFont.load_default(size=max(11, height // 9))
    band = max(16, height // 6)
    sheet = Image.new("RGB", (num_columns * (width + 2), len(rows) * (height + band)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, pixels) in enumerate(rows):
        top = row * (height + band)
        draw.text((3, top + 1), caption, fill="black", font=font)
        for column, index in enumerate(np.linspace(0, len(pixels) - 1, num_columns).round()):
            frame = Image.fromarray(pixels[int(index)]).resize((width, height), Image.NEAREST)
            sheet.paste(frame, (column * (width + 2), top + band))
    return sheet


def side_by_side(
    title: str, panels: Sequence[tuple[str, UInt8[np.ndarray, "_ H W 3"]]]
) -> UInt8[np.ndarray, "f _ _ 3"]:
    """Frames that show several videos beside each other, each below its label, all below a title.

    Args:
        title: above everything; "" leaves it out.
        panels: labels and videos of one size; as many frames are shown as the shortest has.
    """
    number = min(len(video) for _, video in panels)
    scale = max(1, PANEL_HEIGHT // panels[0][1].shape[1])
    width = panels[0][1].shape[2] * scale
    labels = [_lines(label, width) for label, _ in panels]
    most = max(map(len, labels))
    columns = []
    for label, (_, video) in zip(labels, panels, strict=True):
        large = video[:number].repeat(scale, 1).repeat(scale, 2)
        columns.append(np.concatenate([_band(label, most, width, number), large], 1))
        columns.append(np.full((number, *columns[-1].shape[1:2], PANEL_GAP, 3), 255, np.uint8))
    beside = np.concatenate(columns[:-1], 2)
    if not title:
        return beside
    lines = _lines(title, beside.shape[2])
    return np.concatenate([_band(lines, len(lines), beside.shape[2], number), beside], 1)


def _lines(text: str, width: int) -> list[str]:
    """A text as lines of at most `width` pixels, as far as its words allow."""
    font, lines = ImageFont.load_default(size=12), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width - 4:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _band(
    lines: Sequence[str], num_lines: int, width: int, num_frames: int
) -> UInt8[np.ndarray, "f h W 3"]:
    """Lines of text on white, with room for `num_lines`, in each frame."""
    band = Image.new("RGB", (width, 3 + 15 * num_lines), "white")
    font, draw = ImageFont.load_default(size=12), ImageDraw.Draw(band)
    for number, line in enumerate(lines):
        draw.text((2, 2 + 15 * number), line, fill="black", font=font)
    return np.broadcast_to(np.asarray(band), (num_frames, band.height, width, 3))
