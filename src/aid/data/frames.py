"""The frames of a manifest's row that a model sees: which ones, at which size.

Called by `prepare`. A row is a file, a span of a file or a folder of images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from aid.config import FrameConfig
from aid.types import VideoRow
from aid.video import Note, fit, list_frames, read_picture
from aid.video.colour import Unreadable
from aid.video.decoding import decode, is_constant, nearest, same_size


@dataclass(frozen=True)
class Frames:
    """Sampled frames, and how many of them pass in a second.

    `pixels` are `f 3 H W`: uint8 as they came out of the file, or, where frames are blended,
    float32 in [-1, 1]. `notes` say what was done to the file beyond plain decoding.
    """

    pixels: Tensor
    fps: float
    notes: tuple[Note, ...] = ()


def floats(pixels: Tensor) -> Tensor:
    """Frames as float32 in [-1, 1], whichever way they are kept."""
    return pixels if pixels.is_floating_point() else pixels.float() / 127.5 - 1


def picture_of(frame: Tensor) -> UInt8[np.ndarray, "H W 3"]:
    """One frame `3 H W`, kept either way, as pixels in [0, 255]."""
    if frame.is_floating_point():
        frame = ((frame + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return frame.permute(1, 2, 0).numpy().copy()


def uniform_index(length: int, num_frames: int) -> list[int]:
    """`num_frames` of `length` frames, evenly from the first to the last; of few, some twice."""
    return np.linspace(0, length - 1, num_frames).round().astype(int).tolist()


def evenly(times: Float[np.ndarray, " n"], num_frames: int) -> list[int]:
    """The numbers of `num_frames` frames, evenly in time from the first to the last.

    Where the rate is constant they are chosen by number (`uniform_index`).

    Args:
        times: when each frame is shown, seconds after the first.
    """
    length = len(times)
    if is_constant(times):
        return uniform_index(length, num_frames)
    return nearest(times, np.linspace(0, times[-1], num_frames))


def seer_trilinear(pixels: UInt8[np.ndarray, "t H W 3"], num_frames: int) -> Tensor:
    """`num_frames` blends of all frames, float `f 3 H W` in [-1, 1], as Seer's loaders make them.

    Linear interpolation over time; too short videos end in grey. The first frame, too, is a blend.
    """
    video = torch.from_numpy(pixels).permute(3, 0, 1, 2).float().div(255) * 2 - 1
    t, h, w = video.shape[1:]
    if t > num_frames:
        size = (num_frames, h, w)
        video = nn.functional.interpolate(video[None], size=size, mode="trilinear")[0]
    video = nn.functional.pad(video, (0, 0, 0, 0, 0, max(0, num_frames - t)))
    return video.transpose(0, 1).contiguous()


def seer_fit(pixels: UInt8[np.ndarray, "H W 3"], height: int, width: int) -> np.ndarray:
    """Short side resized bilinearly, centre cut, rounded as torchvision rounds."""
    h, w = pixels.shape[:2]
    is_wide = height * w > width * h
    size = (int(height * w / h), height) if is_wide else (width, int(width * h / w))
    image = Image.fromarray(pixels)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - width) / 2.0), round((size[1] - height) / 2.0)
    return np.array(image.crop((left, top, left + width, top + height)))


def read_frames(
    path: Path, row: VideoRow, config: FrameConfig, num_frames: int, height: int, width: int
) -> Frames:
    """`num_frames` frames of a row at `height` x `width`.

    With a rate (`config.fps` or `config.seconds`) frame i is the one nearest to i / rate seconds
    after the row's first frame; after the row's end it is the last one. Without, frames lie evenly
    from the row's first to its last. Either goes by the times at which frames are shown.

    Args:
        path: where the row's video is.

    Raises:
        ValueError: the video is missing, damaged or without a frame, or nobody knows its rate.
    """
    is_blended = config.sampling == "seer_trilinear"
    rate = config.rate(num_frames)

    def choose(times: np.ndarray) -> list[int]:
        if is_blended:
            return list(range(len(times)))
        if rate is None:
            return evenly(times, num_frames)
        return nearest(times, np.arange(num_frames) / rate)

    def finish(pixels: np.ndarray) -> np.ndarray:
        if is_blended:
            return seer_fit(pixels, height, width)
        return pixels if pixels.shape[:2] == (height, width) else fit(pixels, height, width)

    if path.is_dir():
        found = list_frames(path)
        files = _span(path, list(found.files), row)
        if rate is not None and not row.fps:
            raise _unknown_rate(path)
        times = np.arange(len(files)) / (row.fps or np.inf)
        chosen = choose(times)
        made, said = {}, [*found.notes]
        size = None
        for index in sorted(set(chosen)):
            pixels, more = read_picture(files[index])
            size = size or pixels.shape[:2]
            try:
                pixels, more = same_size(pixels, size, more)
            except Unreadable as error:
                raise ValueError(f"folder {str(path)!r} {error}.") from None
            made[index] = finish(pixels)
            said += more
        kept, length, seconds = [made[index] for index in chosen], len(files), float(times[-1])
    else:
        decoded = decode(path, row.start, row.stop, choose, finish)
        kept, said = decoded.frames, decoded.notes
        length, seconds = len(decoded.seconds), float(decoded.seconds[-1])
    notes = tuple(dict.fromkeys(said))
    if is_blended:  # a blend stands for length / num_frames frames
        steps, seconds = num_frames, seconds * length / max(1, length - 1)
        pixels = seer_trilinear(np.stack(kept), num_frames)
    else:
        steps = num_frames - 1
        pixels = torch.from_numpy(np.stack(kept)).permute(0, 3, 1, 2).contiguous()
    if rate is not None:
        return Frames(pixels, rate, notes)
    fps = steps / seconds if steps and seconds > 0 else row.fps
    if not fps > 0:
        raise _unknown_rate(path)
    return Frames(pixels, fps, notes)


def _unknown_rate(path: Path) -> ValueError:
    return ValueError(f"nobody knows how many frames a second {str(path)!r} has. Say it: --fps 12")


def _span(folder: Path, files: list[Path], row: VideoRow) -> list[Path]:
    """Those of a folder's images that lie between the row's start and stop."""
    if row.start or row.stop is not None:
        if not row.fps:
            raise ValueError(
                f"{row.id!r} is a part of folder {str(folder)!r}, and nobody knows how many frames "
                "a second it has. Say it: --fps 12"
            )
        end = None if row.stop is None else round(row.stop * row.fps)
        files = files[round(row.start * row.fps) : end]
    if not files:
        raise ValueError(f"folder {str(folder)!r} holds no image from {row.start:g} s on.")
    return files
