"""A frame and an instruction as users have them -> as the model reads them."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from aid.video import fit, image_pixels, read_image, to_float
from aid.video.colour import Unreadable


def as_pixels(
    frame: str | Path | Image.Image | np.ndarray,
) -> UInt8[np.ndarray, "_ _ 3"]:
    """The frame as uint8 RGB `H W 3` in [0, 255], upright.

    Raises:
        ValueError: a file that is no image, or an array of another kind.
    """
    if isinstance(frame, str | Path):
        return read_image(Path(frame))
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
            f"{frame.shape}. Give a path if in doubt."
        )
    return frame


def warn_if_fitted(pixels: UInt8[np.ndarray, "_ _ 3"], height: int, width: int) -> None:
    """Warns if `given_frames` will resize a frame or cut its sides off."""
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


def given_frames(
    frame: UInt8[np.ndarray, "..."], number: int, height: int, width: int
) -> Float[torch.Tensor, "k 3 H W"]:
    """The given frames of one video in [-1, 1]: short side resized, centre cut out.

    Args:
        frame: uint8 `H W 3`, or `k H W 3`.
        number: how many the model reads, k.
        height: asked for, in pixels.
        width: asked for, in pixels.

    Raises:
        ValueError: another number of frames than the model reads.
    """
    pixels = frame[None] if frame.ndim == 3 else frame
    if len(pixels) != number:
        raise ValueError(
            f"this model reads {number} given frames of a video, got {len(pixels)}. Give an array "
            f"of shape ({number}, height, width, 3) to predict_many."
        )
    return to_float(np.stack([fit(one, height, width) for one in pixels]))


def checked_instruction(instruction: str | None, reads_text: bool) -> str:
    """The instruction; "" for None, which only a model that reads none allows.

    Raises:
        ValueError: there is nothing in it, or nothing was said to a model that reads.
    """
    if instruction is None:
        if reads_text:
            raise ValueError("this model reads an instruction, got None. Say what to do.")
        return ""
    if not instruction.strip():
        raise ValueError(
            "the instruction is empty. Say what should happen, for example "
            "'put the red block in the blue bowl'."
        )
    if not reads_text:
        warnings.warn("this model reads no instruction; yours has no effect.", stacklevel=3)
    return instruction
