import math

import pytest
import torch

from aid.config import NoiseConfig, TimeNoiseConfig, TrainConfig
from aid.diffusion.leakage import time_noise_strength

NOISE = NoiseConfig(mean=0.7, std=1.6)


def strength(quantile_in_std, normal=0.0, **settings):
    sigma = torch.tensor([math.exp(NOISE.mean + quantile_in_std * NOISE.std)])
    config = TimeNoiseConfig(**settings)
    return float(time_noise_strength(sigma, torch.tensor([normal]), NOISE, config))


def test_strength_follows_its_formula():
    """mu(t) = 2 t^a - 1 at t = 0, 1/2 and 1, through the logistic function, times the limit."""
    for where, t in ((-9.0, 0.0), (0.0, 0.5), (9.0, 1.0)):
        mu = 2 * t**5 - 1
        expected = 3.0 / (1 + math.exp(-(mu + 0.5 * 1.2)))
        assert strength(where, 1.2, max_strength=3.0, std=0.5) == pytest.approx(expected, rel=1e-5)


def test_strength_grows_with_the_videos_noise_and_stays_below_its_limit():
    found = [strength(where, max_strength=2.0) for where in (-2.0, 0.0, 1.0, 2.0)]
    assert found == sorted(found)
    assert found[0] < found[-1]
    assert 0 < strength(3.0, 50.0, max_strength=2.0) <= 2


def test_a_negative_limit_is_refused():
    with pytest.raises(ValueError, match=r"max_strength must be 0 \(off\) or more, got -1"):
        TrainConfig(time_noise=TimeNoiseConfig(max_strength=-1.0))
