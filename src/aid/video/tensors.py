"""Pixels as float tensors, and back. Apart from the rest of the package, which needs no torch."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_float(pixels: UInt8[np.ndarray, "f H W 3"]) -> Float[Tensor, "f 3 H W"]:
    """uint8 in [0, 255] -> float in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(frames: Float[Tensor, "f 3 H W"]) -> UInt8[np.ndarray, "f H W 3"]:
    """Float in [-1, 1] (clamped) -> uint8 in [0, 255], rounded."""
    pixels = ((frames.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()
