import pytest
import torch

from aid.metrics.motion import motion, motion_ratio


def test_motion_is_the_mean_change_from_frame_to_frame():
    frames = torch.zeros(2, 3, 3, 4, 4)
    frames[1, 1] = 0.5  # up by a half, then down again
    assert motion(frames).tolist() == [0, 0.5]


def test_a_still_has_ratio_0_a_copy_1_and_one_at_half_the_contrast_a_half():
    real = torch.rand(2, 5, 3, 4, 4)
    still = real[:, :1].expand(-1, 5, -1, -1, -1)
    assert motion_ratio(still, real) == 0
    assert motion_ratio(real, real) == 1
    assert motion_ratio(real / 2, real) == pytest.approx(0.5)
