"""Converts frames and an instruction, in the forms that users have, to the model's input."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aid.video import Note, fit, image_pixels, is_video, list_frames
from aid.video.colour import Unreadable
from aid.video.reading import read_first

Frame = str | Path | Image.Image | np.ndarray
Given = Frame | Sequence[Frame]


def as_pixels(frame: Frame) -> UInt8[np.ndarray, "_ _ 3"]:
    """The frame as uint8 RGB `H W 3` in [0, 255], upright.

    Raises:
        ValueError: the file is no image, or the array has another type or shape.
    """
    if isinstance(frame, str | Path):
        return _read_file(Path(frame), 1, 1.0)[0]
    if isinstance(frame, Image.Image):
        try:
            pixels, notes = image_pixels(frame)
        except Unreadable as error:
            raise ValueError(f"the frame {error}.") from None
        for note in notes:
            warnings.warn(f"the frame: {note}.", stacklevel=3)
        return pixels
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise ValueError(
            f"a frame must be uint8 of shape (height, width, 3), got {frame.dtype} of shape "
            f"{frame.shape}. Convert it, or give the path of an image."
        )
    return frame


def warn_if_fitted(pixels: UInt8[np.ndarray, "_ _ 3"], height: int, width: int) -> None:
    """Warns if `fit_given` will resize or crop a frame."""
    own_height, own_width = pixels.shape[:2]
    if (own_height, own_width) == (height, width):
        return
    is_cut = own_height * width != own_width * height
    warnings.warn(
        f"the frame is {own_width}x{own_height} (width x height) and was "
        f"{'cut to its centre and ' if is_cut else ''}resized to {width}x{height}, which the model "
        "predicts.",
        stacklevel=3,
    )


def read_given(frame: Given, number: int, fps: float) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The given frames of one video, upright, at any size.

    Args:
        frame: a picture; `number` pictures, as a list or as pixels `k H W 3`; or the path of a
            video or of a folder of frames, whose first `number` are taken.
        number: how many the model is given, K.
        fps: frames a second of the model's videos, at which those of a video file are taken. The
            frames of a folder are taken one by one, because a folder has no rate.

    Raises:
        ValueError: the frames cannot be read, or their number is wrong.
    """
    if isinstance(frame, str | Path):
        path = Path(frame)
        if path.is_dir():
            found = list_frames(path)
            there = len(found.files)
            _require(number, there, f"and {str(path)!r} holds {there}", may_be_more=True)
            _warn(path, found.notes)
            return [one for file in found.files[:number] for one in _read_file(file, 1, fps)]
        pixels = _read_file(path, number, fps)
        _require(number, len(pixels), f"got {len(pixels)}")
        return pixels
    several = _several(frame)
    pixels = [as_pixels(one) for one in ([frame] if several is None else several)]
    _require(number, len(pixels), f"got {len(pixels)}")
    return pixels


def _several(frame: Given) -> list[Frame] | None:
    """The frames of a list or of pixels `k H W 3`; None for a single frame."""
    if isinstance(frame, np.ndarray):
        return list(frame) if frame.ndim == 4 else None
    return list(frame) if isinstance(frame, list | tuple) else None


def is_whole(frame: Given) -> bool:
    """Whether this can contain several given frames: a list, pixels `k H W 3`, a video."""
    if isinstance(frame, str | Path):
        return Path(frame).is_dir() or _is_clip(Path(frame))
    return _several(frame) is not None


def _require(number: int, there: int, words: str, may_be_more: bool = False) -> None:
    if there == number or (may_be_more and there > number):
        return
    wanted = "1 given frame" if number == 1 else f"{number} given frames"
    several = f"{number} pictures in order, " if number > 1 else "one picture, "
    raise ValueError(
        f"this model reads {wanted} of a video, {words}. Give {several}a video that begins with "
        "them, or a folder of frames."
    )


def _read_file(path: Path, number: int, fps: float) -> list[UInt8[np.ndarray, "_ _ 3"]]:
    """The frames of a video file at 0, 1 / fps, 2 / fps, ... seconds, or the one picture.

    A process of its own reads them: the file may be anybody's.
    """
    frames, available, notes = read_first(path, number, fps)
    if available is not None:
        words = f"and {str(path)!r} has {available} at the model's {fps:g} frames a second"
        _require(number, available, words, may_be_more=True)
    _warn(path, notes)
    return frames


def _is_clip(path: Path) -> bool:
    return path.is_file() and is_video(path)


def _warn(path: Path, notes: Iterable[Note | str]) -> None:
    for note in dict.fromkeys(notes):
        warnings.warn(f"{str(path)!r}: {note}.", stacklevel=4)


def fit_given(
    pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]], height: int, width: int
) -> UInt8[np.ndarray, "k H W 3"]:
    """Given frames at the model's size: resized, and cropped to the centre."""
    fitted = [
        one if one.shape[:2] == (height, width) else fit(one, height, width) for one in pixels
    ]
    return np.stack(fitted)


def checked_instruction(instruction: str | None, reads_text: bool) -> str:
    """The instruction; "" for None, which is only allowed for a model that reads none.

    Raises:
        ValueError: it is empty, or it is None and the model reads instructions.
    """
    if instruction is None:
        if reads_text:
            raise ValueError("this model reads an instruction, got None. Give an instruction.")
        return ""
    if not instruction.strip():
        raise ValueError(
            "the instruction is empty. Describe what should happen, for example "
            "'put the red block in the blue bowl'."
        )
    if not reads_text:
        warnings.warn("this model reads no instruction; yours has no effect.", stacklevel=3)
    return instruction
