"""TimeNoise: the given frame is noisier where the video is, so that it cannot simply be copied.

At high noise the clean given frame is the easiest thing to predict from, and a fine-tuned model
learns to repeat it: the video stops moving (conditional image leakage). Noise on the given frame
that grows with the video's noise takes the short cut away.

Reference: Zhao et al. 2024, "Identifying and Solving Conditional Image Leakage in Image-to-Video
Diffusion Model" (arXiv 2406.15735).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from aid.config import NoiseConfig, TimeNoiseConfig


def time_noise_strength(
    sigma: Float[Tensor, " b"],
    normal: Float[Tensor, " b"],
    noise: NoiseConfig,
    config: TimeNoiseConfig,
) -> Float[Tensor, " b"]:
    """The noise on the given frame of each sample, between 0 and `config.max_strength`.

    strength = max_strength / (1 + exp(-(mu(t) + std n))),  mu(t) = 2 t^a - 1   (Zhao et al. 2024)

    t is where the video's noise stands among those that training draws: 0 the least, 1 the most.

    Args:
        sigma: the video's noise level.
        normal: n, standard normal.
        noise: how training draws `sigma`.
        config: `max_strength`, a (`exponent`) and `std`.
    """
    # Choice: the paper's t is a step of 1,000; here noise is continuous, so t is its quantile.
    t = 0.5 * (1 + torch.erf((sigma.log() - noise.mean) / (noise.std * math.sqrt(2))))
    return config.max_strength * torch.sigmoid(2 * t**config.exponent - 1 + config.std * normal)
