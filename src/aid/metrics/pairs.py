"""A predicted video against the real one it should have been, frame by frame."""

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_PSNR = 100.0
"""What equal frames are worth, in dB; without a bound one of them makes every mean infinite."""


def psnr(a: Float[Tensor, "f 3 H W"], b: Float[Tensor, "f 3 H W"]) -> Float[Tensor, " f"]:
    """Peak signal-to-noise ratio of every frame, in dB, for frames in [-1, 1]."""
    error = ((a - b) / 2).square().mean((1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-12))).clamp(max=LARGEST_PSNR)


def ssim(a: Float[Tensor, "f 3 H W"], b: Float[Tensor, "f 3 H W"]) -> Float[Tensor, " f"]:
    """Structural similarity of every frame (Wang et al. 2004), a mean over colours and places.

    A Gaussian window of 11 pixels with sigma 1.5; places whose window leaves the picture are left
    out. Variances are the window's, without the n - 1 correction.

    Raises:
        ValueError: the frames are smaller than the window.
    """
    if min(a.shape[-2:]) < 11:
        raise ValueError(
            f"SSIM needs frames of at least 11 pixels, got {a.shape[-1]}x{a.shape[-2]}."
        )
    down, across = _window(a.shape[-2]), _window(a.shape[-1])

    def mean(x: Tensor) -> Tensor:
        return down @ x @ across.T

    x, y = (a.double() + 1) / 2, (b.double() + 1) / 2
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    both = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    value = value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return value.mean((1, 2, 3)).float()


def _window(size: int) -> Float[Tensor, "m n"]:
    """The matrix that takes Gaussian means of 11 neighbours along an axis of this size."""
    steps = torch.arange(11, dtype=torch.float64) - 5
    weights = torch.exp(-(steps**2) / (2 * 1.5**2))
    rows = torch.zeros(size - 10, size, dtype=torch.float64)
    for row in range(size - 10):
        rows[row, row : row + 11] = weights / weights.sum()
    return rows


def motion(frames: Float[Tensor, "f 3 H W"]) -> float:
    """Mean absolute change from a frame to the next, in [0, 1] of the grey range."""
    return float((frames[1:] - frames[:-1]).abs().mean() / 2)
