"""The first frames in a file that a user names; `confined` calls this where files are read."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from aid.video.decoding import ANIMATED_SUFFIXES, decode, is_video, nearest
from aid.video.pictures import FIRST_OF_SEVERAL, is_animated, read_picture


def read_given(
    path: str, number: int, fps: float
) -> tuple[dict[str, Any], list[UInt8[np.ndarray, "_ _ 3"]]]:
    """Facts of a file and its first frames: those of a video at a rate, or the one picture.

    The facts are `notes`, and `there`: how many frames a video has at that rate. None are given if
    they are too few. A picture has no `there`.

    Args:
        path: of the file.
        number: of frames.
        fps: frames a second.

    Raises:
        ValueError: the file is missing or cannot be read.
    """
    file = Path(path)
    if not (file.is_file() and is_video(file)):
        pixels, notes = read_picture(file)
        return {"notes": [str(note) for note in notes]}, [pixels]
    there = 0

    def choose(times: Float[np.ndarray, " n"]) -> list[int]:
        nonlocal there
        own = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
        there = 1 + int((times[-1] + own / 2) * fps)
        return nearest(times, np.arange(number) / fps) if there >= number else []

    made = decode(file, 0.0, None, choose)
    is_picture = number == 1 and file.suffix.lower() in ANIMATED_SUFFIXES and is_animated(file)
    notes = [*made.notes, *([FIRST_OF_SEVERAL] if is_picture else [])]
    return {"notes": [str(note) for note in notes], "there": there}, made.frames
