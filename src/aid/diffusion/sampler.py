"""From noise to clean latents, one Euler step at a time.

`predict.py` calls it with a `denoise` made by `models.denoiser.guided_denoise`.
"""

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
