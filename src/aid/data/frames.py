"""Reads the frames of a manifest's row that a model sees, at the size it needs.

Called by `prepare`. A row is a file, a span of a file or a folder of images.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from aid.config import FrameConfig
from aid.types import VideoRow
from aid.video import Note
from aid.video.reading import read_sampled
from aid.video.sampling import Sampling


@dataclass(frozen=True)
class Frames:
    """Sampled frames and their rate.

    Attributes:
        pixels: `f 3 H W`, uint8 as decoded, or float32 in [-1, 1] if frames were blended.
        fps: frames a second.
        notes: what was done to the file beyond plain decoding.
    """

    pixels: Tensor
    fps: float
    notes: tuple[Note, ...] = ()


def floats(pixels: Tensor) -> Tensor:
    """Frames of either type as float32 in [-1, 1]."""
    return pixels if pixels.is_floating_point() else pixels.float() / 127.5 - 1


def picture_of(frame: Tensor) -> UInt8[np.ndarray, "H W 3"]:
    """One frame `3 H W` of either type as pixels in [0, 255]."""
    if frame.is_floating_point():
        frame = ((frame + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return frame.permute(1, 2, 0).numpy().copy()


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


def read_frames(
    path: Path, row: VideoRow, config: FrameConfig, num_frames: int, height: int, width: int
) -> Frames:
    """`num_frames` frames of a row at `height` x `width`.

    With a rate (`config.fps` or `config.seconds`) frame i is the one nearest to i / rate seconds
    after the row's first frame, or the last one after the row's end. Without a rate, frames are
    evenly spaced from the row's first to its last. Both use the times at which frames are shown.

    Args:
        path: of the row's video.
        row: of the data set.
        config: which frames are taken.
        num_frames: of them.
        height: to which they are fitted, in pixels.
        width: likewise.

    Raises:
        ValueError: the video is missing, damaged or without a frame, or its rate is unknown.
    """
    is_blended = config.sampling == "seer_trilinear"
    rate = config.rate(num_frames)
    if path.is_dir() and not row.fps:
        if row.start or row.stop is not None:
            raise ValueError(
                f"{row.id!r} is a part of folder {str(path)!r}, whose frame rate is unknown. "
                "Give it: --fps 12"
            )
        if rate is not None:
            raise _unknown_rate(path)
    wanted = Sampling(
        num_frames=None if is_blended else num_frames,
        rate=rate,
        size=(height, width),
        is_seer=is_blended,
        start=row.start,
        stop=row.stop,
        fps=row.fps,
    )
    made = read_sampled(path, wanted)
    seconds = made.seconds
    if is_blended:  # a blend stands for length / num_frames frames
        steps, seconds = num_frames, seconds * made.length / max(1, made.length - 1)
        pixels = seer_trilinear(np.stack(made.frames), num_frames)
    else:
        steps = num_frames - 1
        pixels = torch.from_numpy(np.stack(made.frames)).permute(0, 3, 1, 2).contiguous()
    if rate is not None:
        return Frames(pixels, rate, made.notes)
    fps = steps / seconds if steps and seconds > 0 else row.fps
    if not fps > 0:
        raise _unknown_rate(path)
    return Frames(pixels, fps, made.notes)


def _unknown_rate(path: Path) -> ValueError:
    return ValueError(f"the frame rate of {str(path)!r} is unknown. Give it: --fps 12")
