"""From noise to clean latents, one step at a time, each of one call of the denoiser.

`predict` and `train` call it with a `denoise` made by `models.denoiser.guided_denoise`.
"""

import math
from collections.abc import Callable
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

Denoise = Callable[[Float[Tensor, "b f c h w"], Float[Tensor, " b"]], Float[Tensor, "b f c h w"]]
Callback = Callable[[int, float, Float[Tensor, "b f c h w"]], None]


def sample_euler(
    denoise: Denoise,
    noisy_latents: Float[Tensor, "b f c h w"],
    sigmas: Float[Tensor, " steps_and_end"],
    callback: Callback | None = None,
) -> Float[Tensor, "b f c h w"]:
    """Clean latents that the noise leads to: Euler's method on the probability-flow ODE.

    dx / dsigma = (x - D(x; sigma)) / sigma           (Karras et al. 2022, Algorithm 1, Euler only)

    Nothing is random here. `noisy_latents` is standard normal noise times the first sigma.

    Args:
        denoise: gives the denoised latents D(x; sigma).
        noisy_latents: the start.
        sigmas: falling noise levels with a 0 at the end, from `karras_sigmas`.
        callback: receives the index of the step, its sigma and the denoised latents.
    """
    x = noisy_latents
    for step, (sigma, next_sigma) in enumerate(pairwise(sigmas.tolist())):
        denoised = denoise(x, x.new_full((len(x),), sigma))
        x = x + (next_sigma - sigma) * (x - denoised) / sigma
        if callback is not None:
            callback(step, sigma, denoised)
    return x


def sample_dpmpp_2m(
    denoise: Denoise,
    noisy_latents: Float[Tensor, "b f c h w"],
    sigmas: Float[Tensor, " steps_and_end"],
    callback: Callback | None = None,
) -> Float[Tensor, "b f c h w"]:
    """The same by DPM-Solver++(2M): second order, from the present and the previous estimate.

    x <- (s' / s) x + (1 - s' / s) D~,  D~ = D + (D - D_before) h / (2 h_before),  h = ln(s / s')

                                                                  (Lu et al. 2022, Algorithm 2)

    The first step, and the one to 0, have no two estimates to go by and are Euler's. Arguments as
    for `sample_euler`.
    """
    x, before, h_before = noisy_latents, None, 0.0
    for step, (sigma, next_sigma) in enumerate(pairwise(sigmas.tolist())):
        denoised = denoise(x, x.new_full((len(x),), sigma))
        h = math.log(sigma / next_sigma) if next_sigma > 0 else math.inf
        ahead = denoised
        if before is not None and next_sigma > 0:
            ahead = denoised + (denoised - before) * (h / (2 * h_before))
        share = next_sigma / sigma
        x = share * x + (1 - share) * ahead
        before, h_before = denoised, h
        if callback is not None:
            callback(step, sigma, denoised)
    return x


SOLVERS = {"euler": sample_euler, "dpmpp_2m": sample_dpmpp_2m}
"""By the names of `sampler.solver`."""
