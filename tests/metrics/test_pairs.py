import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from aid.metrics.pairs import motion, motion_ratio, psnr, ssim


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 3, 24, 20, generator=generator) * 2 - 1


def test_psnr_matches_its_closed_form_and_has_a_bound(frames):
    assert psnr(frames, frames).tolist() == [100, 100, 100]
    zeros = torch.zeros_like(frames)
    assert psnr(zeros, zeros + 0.2) == pytest.approx(20, abs=1e-4)  # 0.1 of the range


def test_ssim_is_the_sum_over_windows_of_the_paper(frames):
    """Against the formula written out for one place of one colour, in numpy."""
    other = (frames + 0.3 * torch.randn(frames.shape, generator=torch.Generator())).clamp(-1, 1)
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = ((z.double().numpy() + 1) / 2 for z in (frames, other))
    values = []
    for colour in range(3):
        for row in range(14):
            for column in range(10):
                a = x[1, colour, row : row + 11, column : column + 11]
                b = y[1, colour, row : row + 11, column : column + 11]
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
                ab = (window * a * b).sum() - ma * mb
                values.append(
                    (2 * ma * mb + 1e-4) * (2 * ab + 9e-4)
                    / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
                )  # fmt: skip
    assert ssim(frames, other)[1].item() == pytest.approx(np.mean(values), rel=1e-6)
    assert ssim(frames, frames) == pytest.approx(1)


@pytest.mark.parametrize("side", [11, 24, 64])
def test_psnr_and_ssim_are_those_of_torchmetrics_inside_the_picture(side):
    """torchmetrics also averages over places whose window is filled up with mirrored pixels."""
    generator = torch.Generator().manual_seed(side)
    a = torch.rand(4, 3, side, side + 3, generator=generator) * 2 - 1
    b = (a + 0.3 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)
    x, y = (a + 1) / 2, (b + 1) / 2
    theirs = peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))
    assert psnr(a, b) == pytest.approx(theirs, abs=1e-4)
    _, places = structural_similarity_index_measure(
        x, y, sigma=1.5, data_range=1.0, return_full_image=True
    )
    inside = places[..., 5:-5, 5:-5].mean((1, 2, 3))
    assert ssim(a, b) == pytest.approx(inside, abs=1e-5)
    assert (inside - places.mean((1, 2, 3))).abs().max() > 1e-4  # the border matters


def test_motion_is_the_mean_change_from_frame_to_frame():
    frames = torch.zeros(2, 3, 3, 4, 4)
    frames[1, 1] = 0.5  # up by a half, then down again
    assert motion(frames).tolist() == [0, 0.5]


def test_the_motion_ratio_of_a_still_is_0_of_a_copy_1_and_at_half_the_contrast_a_half():
    real = torch.rand(2, 5, 3, 4, 4)
    still = real[:, :1].expand(-1, 5, -1, -1, -1)
    assert motion_ratio(still, real) == 0
    assert motion_ratio(real, real) == 1
    assert motion_ratio(real / 2, real) == pytest.approx(0.5)
