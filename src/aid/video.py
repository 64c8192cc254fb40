"""Pixels in and out of files: mp4, GIF, PNG. The one room that knows uint8 and codecs.

Everything outside this file holds frames as float tensors `f 3 H W` in [-1, 1]; here they are also
uint8 arrays `f H W 3` in [0, 255]. Every file is written whole or not at all.
"""

import functools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from torch import Tensor

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".webm", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg"})


def to_float(pixels: UInt8[np.ndarray, "f H W 3"]) -> Float[Tensor, "f 3 H W"]:
    """uint8 in [0, 255] -> float in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(frames: Float[Tensor, "f 3 H W"]) -> UInt8[np.ndarray, "f H W 3"]:
    """Float in [-1, 1] (clamped) -> uint8 in [0, 255], rounded."""
    pixels = ((frames.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


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


def write_mp4(
    path: Path, pixels: UInt8[np.ndarray, "f H W 3"], fps: float, lossless: bool = False
) -> None:
    """Writes an H.264 mp4.

    Args:
        lossless: exact RGB, for data sets; otherwise yuv420, which every player shows. Odd sizes
            lose their last row or column there, because yuv420 halves the colour planes.
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
    """Writes a looping GIF, each pixel `scale` wide."""
    images = [
        Image.fromarray(frame).resize(
            (frame.shape[1] * scale, frame.shape[0] * scale), Image.NEAREST
        )
        for frame in pixels
    ]
    with whole_file(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=max(20, round(1000 / fps)),
            loop=0,
        )


def read_video(path: Path) -> UInt8[np.ndarray, "f H W 3"]:
    """All frames of a video file, in order.

    Raises:
        ValueError: the file is missing, is no video or breaks off.
    """
    if not path.is_file():
        raise ValueError(f"video {str(path)!r} does not exist.")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{str(path)!r} holds no video stream.")
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except av.FFmpegError as error:
        raise ValueError(f"video {str(path)!r} cannot be decoded ({error.strerror}).") from None
    if not frames:
        raise ValueError(f"video {str(path)!r} holds no frame.")
    return np.stack(frames)


def read_first_frame(path: Path, start: float = 0.0) -> UInt8[np.ndarray, "H W 3"]:
    """The first frame at or after `start` seconds of a video; of a folder of frames the first.

    Raises:
        ValueError: the file is missing, is no video, or ends before.
    """
    if path.is_dir() and (files := frame_files(path)):
        return read_image(files[0])
    if not path.is_file():
        raise ValueError(f"video {str(path)!r} does not exist.")
    try:
        with av.open(str(path)) as container:
            # The margin is for rounding: 0.1 s may be frame 3's own time, a hair below.
            for frame in container.decode(video=0) if container.streams.video else ():
                if frame.time is None or frame.time >= start - 1e-3:
                    return frame.to_ndarray(format="rgb24")
    except av.FFmpegError as error:
        raise ValueError(f"video {str(path)!r} cannot be decoded ({error.strerror}).") from None
    raise ValueError(f"video {str(path)!r} has no frame at {start:g} s.")


def frame_files(folder: Path) -> list[Path]:
    """The frame images of a folder in the order of their numbers (`frame_10` after `frame_9`)."""
    return list(_sorted_frames(folder, folder.stat().st_mtime_ns))


@functools.lru_cache(maxsize=8)  # one folder of an hour's frames holds hundreds of segments
def _sorted_frames(folder: Path, changed: int) -> tuple[Path, ...]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(
        sorted(files, key=lambda path: ([int(n) for n in re.findall(r"\d+", path.stem)], path))
    )


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as RGB, upright (the EXIF rotation is applied).

    Raises:
        ValueError: the file is missing or is no image.
    """
    if not path.is_file():
        raise ValueError(f"frame {str(path)!r} does not exist. Give the path of an image file.")
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"frame {str(path)!r} is not a readable image ({error}). Give a PNG or JPEG file."
        ) from None


def fit(pixels: UInt8[np.ndarray, "H W 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Resizes the short side and cuts the centre, so that the result is `height` x `width`."""
    image = ImageOps.fit(Image.fromarray(pixels), (width, height), method=Image.Resampling.BICUBIC)
    return np.array(image)


def contact_sheet(
    rows: Sequence[tuple[str, UInt8[np.ndarray, "_ H W 3"]]], scale: int = 1, num_columns: int = 8
) -> Image.Image:
    """One row of frames per video with its caption above, frames spread evenly over the video.

    Args:
        scale: how many screen pixels wide a video pixel becomes.
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


def write_png(path: Path, image: Image.Image) -> None:
    """Writes a PNG file, whole or not at all."""
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")
