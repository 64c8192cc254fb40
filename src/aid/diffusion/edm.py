"""How clean latents, noise and the network's output relate, in the coordinates of Karras et al.

`models/denoiser.py` wraps the UNet in `Scalings`; the training loop draws `sample_sigmas` and calls
`edm_loss`; the sampler walks along `karras_sigmas`. `sigma` is the only noise coordinate.

Reference: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models"
(EDM); Stable Video Diffusion uses it with sigma_data = 1 and v-prediction.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from aid.config import NoiseConfig


@dataclass(frozen=True)
class Scalings:
    """The four factors that turn the raw network F into the denoiser D at one noise level.

    D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)                    (Karras et al. 2022, Eq. 7)

    c_skip = 1 / (sigma^2 + 1)        c_out = -sigma / sqrt(sigma^2 + 1)
    c_in = 1 / sqrt(sigma^2 + 1)      c_noise = ln(sigma) / 4            (SVD, v-prediction)
    """

    c_skip: Float[Tensor, "*b"]
    c_out: Float[Tensor, "*b"]
    c_in: Float[Tensor, "*b"]
    c_noise: Float[Tensor, "*b"]

    @classmethod
    def at(cls, sigma: Float[Tensor, "*b"]) -> "Scalings":
        """The factors at `sigma` > 0."""
        total = sigma**2 + 1
        return cls(1 / total, -sigma / total.sqrt(), 1 / total.sqrt(), 0.25 * sigma.log())


def over_latents(per_sample: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1 1"]:
    """One number per sample, ready to multiply latents `b f c h w`."""
    return rearrange(per_sample, "b -> b 1 1 1 1")


def sample_sigmas(
    batch_size: int, config: NoiseConfig, generator: torch.Generator
) -> Float[Tensor, " b"]:
    """Noise levels for training, one per sample and shared by its frames.

    ln(sigma) ~ N(mean, std^2)                                    (Karras et al. 2022, Table 1)
    """
    normal = torch.randn(batch_size, generator=generator, device=generator.device)
    return (config.mean + config.std * normal).exp()


def add_noise(
    latents: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b f c h w"]:
    """Noisy latents x = x_0 + sigma n."""
    return latents + over_latents(sigma) * noise


def v_target(
    latents: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, " b"],
) -> Float[Tensor, "b f c h w"]:
    """What the raw network should answer: v = (n - sigma x_0) / sqrt(1 + sigma^2).

    It follows from D(x; sigma) = x_0 in Karras et al. 2022, Eq. 8, with SVD's scalings.
    """
    sigma = over_latents(sigma)
    return (noise - sigma * latents) / (1 + sigma**2).sqrt()


def edm_loss(
    model_output: Float[Tensor, "b f c h w"],
    latents: Float[Tensor, "b f c h w"],
    noise: Float[Tensor, "b f c h w"],
    sigma: Float[Tensor, " b"],
    frame_weights: Float[Tensor, " f"] | None = None,
    place_weights: Float[Tensor, "b f 1 h w"] | None = None,
    huber_scale: float = 0.0,
) -> Float[Tensor, " b"]:
    """The training loss of every sample: lambda(sigma) |D - x_0|^2, averaged over each sample.

    With a `huber_scale` large errors count in proportion instead (`pseudo_huber`).

    SVD's weight is lambda = (1 + sigma^2) / sigma^2 = 1 / c_out^2, which turns the sum into the
    plain squared error |F - v|^2 of the raw output (Karras et al. 2022, Eq. 8): no division by a
    small number happens here.

    Args:
        model_output: F, before any scaling.
        latents: the clean x_0, already times the VAE's scaling factor.
        noise: the standard normal n in x = x_0 + sigma n.
        sigma: noise level of each sample.
        frame_weights: share of each frame, for example 0 for given frames; None counts all alike.
        place_weights: share of each latent cell, of mean 1; None counts all alike.
        huber_scale: the error of a latent cell, root mean square of F - v over its channels, from
            which on it counts in proportion rather than squared; 0 squares all.
    """
    error = (model_output.float() - v_target(latents, noise, sigma).float()) ** 2
    if huber_scale:
        error = pseudo_huber(error.mean(dim=2, keepdim=True), huber_scale)
    if place_weights is not None:
        error = error * place_weights
    per_frame = error.mean(dim=(2, 3, 4))  # b f
    if frame_weights is None:
        return per_frame.mean(dim=1)
    return (per_frame * frame_weights).sum(dim=1) / frame_weights.sum()


def pseudo_huber(squared: Float[Tensor, "*shape"], scale: float) -> Float[Tensor, "*shape"]:
    """Squared errors e^2, the large ones softened: e^2 well below the scale s, 2 s e far above.

    2 s (sqrt(e^2 + s^2) - s)                            (Song and Dhariwal 2024, times 2 s)

    Args:
        squared: e^2.
        scale: s > 0.
    """
    return 2 * scale * ((squared + scale**2).sqrt() - scale)


def motion_weights(
    latents: Float[Tensor, "b f c h w"], strength: float
) -> Float[Tensor, "b f 1 h w"]:
    """How much the loss counts each place: more where a video differs from its first frame.

    w = (1 + strength m) / mean(1 + strength m),   m = d / (d + 0.1),   d = mean_c (x_f - x_1)^2

    A small thing that is carried away covers a few of 256 cells and hardly counts otherwise.
    Latents have unit variance; the mean is taken per video, so the loss keeps its scale.
    """
    change = (latents - latents[:, :1]).square().mean(dim=2, keepdim=True)  # b f 1 h w
    weights = 1 + strength * change / (change + 0.1)
    return weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)


def karras_sigmas(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float
) -> Float[Tensor, " steps_and_end"]:
    """Noise levels of a sampling run from `sigma_max` down to `sigma_min`, then 0.

    sigma_i = (max^(1/rho) + i / (n - 1) (min^(1/rho) - max^(1/rho)))^rho
                                                                     (Karras et al. 2022, Eq. 5)
    """
    ramp = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = (high + ramp * (low - high)) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()
