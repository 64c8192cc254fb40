"""Selects the frames of a video and fits them to a size.

Called by `reading` in the processes that read files, which do not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from aid.video.colour import Pixels, Unreadable
from aid.video.decoding import decode, is_constant, nearest, same_size
from aid.video.folders import list_frames
from aid.video.notes import Note
from aid.video.pictures import fit, read_picture


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames of a video are wanted, at which size.

    Args:
        num_frames: evenly from the first to the last, or at `rate`. None takes every frame.
        rate: frames a second: frame i is the one nearest to i / rate seconds after the first.
        size: height and width that frames are fitted to; None leaves them as they are.
        is_seer: fits them as Seer's loaders do (`seer_fit`).
        start: seconds after the video's first frame.
        stop: seconds, not included; None is the end.
        fps: of a folder of pictures, frames a second; 0 if unknown.
    """

    num_frames: int | None = None
    rate: float | None = None
    size: tuple[int, int] | None = None
    is_seer: bool = False
    start: float = 0.0
    stop: float | None = None
    fps: float = 0.0

    def choose(self, times: Float[np.ndarray, " n"]) -> Sequence[int]:
        """The numbers of the wanted frames; `times` are seconds after the first."""
        if self.num_frames is None:
            return range(len(times))
        if self.rate is None:
            return evenly(times, self.num_frames)
        return nearest(times, np.arange(self.num_frames) / self.rate)

    def fitted(self, pixels: Pixels) -> Pixels:
        """A frame at the wanted size."""
        if self.size is None:
            return pixels
        if self.is_seer:
            return seer_fit(pixels, *self.size)
        return pixels if pixels.shape[:2] == self.size else fit(pixels, *self.size)


@dataclass(frozen=True)
class Sampled:
    """Frames of a video: pixels uint8 `H W 3`, each.

    `length` is the number of frames of the span, `seconds` the time of the last of them after the
    first (0 if the rate of a folder is unknown).
    """

    frames: list[Pixels]
    length: int
    seconds: float
    notes: tuple[Note, ...]


def sample(path: Path, wanted: Sampling) -> Sampled:
    """Frames of a video file or of a folder of pictures.

    Raises:
        ValueError: it is missing, damaged, or without a frame.
    """
    if path.is_dir():
        return _of_folder(path, wanted)
    found = decode(path, wanted.start, wanted.stop, wanted.choose, wanted.fitted)
    return Sampled(found.frames, len(found.seconds), float(found.seconds[-1]), found.notes)


def _of_folder(folder: Path, wanted: Sampling) -> Sampled:
    found = list_frames(folder)
    files = _span(folder, list(found.files), wanted)
    times = np.arange(len(files)) / (wanted.fps or np.inf)
    chosen = wanted.choose(times)
    made, notes, size = {}, [*found.notes], None
    for index in sorted(set(chosen)):
        pixels, more = read_picture(files[index])
        size = size or pixels.shape[:2]
        try:
            pixels, more = same_size(pixels, size, more)
        except Unreadable as error:
            raise ValueError(f"folder {str(folder)!r} {error}.") from None
        made[index] = wanted.fitted(pixels)
        notes += more
    frames = [made[index] for index in chosen]
    return Sampled(frames, len(files), float(times[-1]), tuple(dict.fromkeys(notes)))


def _span(folder: Path, files: list[Path], wanted: Sampling) -> list[Path]:
    """The images of a folder between start and stop."""
    if wanted.start or wanted.stop is not None:
        end = None if wanted.stop is None else round(wanted.stop * wanted.fps)
        files = files[round(wanted.start * wanted.fps) : end]
    if not files:
        raise ValueError(f"folder {str(folder)!r} holds no image from {wanted.start:g} s on.")
    return files


def uniform_index(length: int, num_frames: int) -> list[int]:
    """`num_frames` of `length` frames, evenly from first to last; of few, some are repeated."""
    return np.linspace(0, length - 1, num_frames).round().astype(int).tolist()


def evenly(times: Float[np.ndarray, " n"], num_frames: int) -> list[int]:
    """The numbers of `num_frames` frames, evenly spaced in time from first to last.

    If the rate is constant they are chosen by number (`uniform_index`).

    Args:
        times: of the frames, in seconds after the first.
        num_frames: to choose.
    """
    length = len(times)
    if is_constant(times):
        return uniform_index(length, num_frames)
    return nearest(times, np.linspace(0, times[-1], num_frames))


def seer_fit(pixels: UInt8[np.ndarray, "H W 3"], height: int, width: int) -> np.ndarray:
    """Resizes the short side bilinearly and crops the centre, rounded as in torchvision."""
    h, w = pixels.shape[:2]
    is_wide = height * w > width * h
    size = (int(height * w / h), height) if is_wide else (width, int(width * h / w))
    image = Image.fromarray(pixels)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - width) / 2.0), round((size[1] - height) / 2.0)
    return np.array(image.crop((left, top, left + width, top + height)))
