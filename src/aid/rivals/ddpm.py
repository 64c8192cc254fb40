"""Noise with discrete time steps, as the diffusion rivals have it: diffusers' DDIM scheduler.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps,    abar_t = prod_(s <= t) (1 - beta_s)
                                                                        (Ho et al. 2020, Eq. 4)
    x_s = sqrt(abar_s) x^_0 + sqrt(1 - abar_s) eps^,  x^_0 = (x_t - sqrt(1 - abar_t) eps^)
                                                             / sqrt(abar_t)
                                                      (Song et al. 2021, DDIM, Eq. 12, sigma = 0)

Every network here predicts eps. AID itself has another coordinate for noise (`aid.diffusion.edm`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import DDIMScheduler
from jaxtyping import Float, Int
from torch import Tensor

PredictNoise = Callable[[Float[Tensor, "b ..."], Int[Tensor, " b"]], Float[Tensor, "b ..."]]
"""eps^ of noisy samples x_t at time steps t."""


@dataclass(frozen=True, kw_only=True)
class NoiseSchedule:
    """The variances beta_t that noise adds at each time step."""

    beta_start: float
    """The first, > 0."""
    beta_end: float
    """The last, < 1."""
    spacing: Literal["linear", "scaled_linear"] = "linear"
    """Whether beta or sqrt(beta) rises evenly; latent diffusion calls the second `linear`."""
    num_timesteps: int = 1000
    """Time steps; 0 is almost clean, the last almost noise."""
    limit: float | None = None
    """Sampling limits x^_0 to [-limit, limit] in every step; None does not."""

    def scheduler(self) -> DDIMScheduler:
        """The scheduler of these variances.

        Sampling starts at the last time step ("trailing") and ends at clean samples, as it does in
        Lin et al. 2023; diffusers' default starts earlier, where x_t is not noise yet.
        """
        return DDIMScheduler(
            num_train_timesteps=self.num_timesteps,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            beta_schedule=self.spacing,
            clip_sample=self.limit is not None,
            clip_sample_range=self.limit or 1.0,
            set_alpha_to_one=True,
            timestep_spacing="trailing",
        )

    def alphas_cumprod(self) -> Float[Tensor, " t"]:
        """abar_t of every time step, on the CPU."""
        return self.scheduler().alphas_cumprod

    def draw_timesteps(self, batch_size: int, generator: torch.Generator) -> Int[Tensor, " b"]:
        """Time steps for training, all equally likely, on the generator's device."""
        return torch.randint(
            self.num_timesteps, (batch_size,), generator=generator, device=generator.device
        )

    def add_noise(
        self,
        clean: Float[Tensor, "b ..."],
        noise: Float[Tensor, "b ..."],
        timesteps: Int[Tensor, " b"],
    ) -> Float[Tensor, "b ..."]:
        """Noisy samples x_t, one time step for each sample."""
        return self.scheduler().add_noise(clean, noise, timesteps)


def with_guidance(
    conditional: PredictNoise, unconditional: PredictNoise, scale: float
) -> PredictNoise:
    """Classifier-free guidance.

    eps^ = eps(0) + s (eps(c) - eps(0))                                   (Ho and Salimans 2022)

    At scale 1 this is `conditional`, which is then called alone; at 0 it is `unconditional`.
    """
    if scale == 1:
        return conditional

    def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
        without = unconditional(noisy, timesteps)
        return without + scale * (conditional(noisy, timesteps) - without)

    return predict


def sample_ddim(
    predict_noise: PredictNoise,
    noise: Float[Tensor, "b ..."],
    schedule: NoiseSchedule,
    num_steps: int,
) -> Float[Tensor, "b ..."]:
    """Clean samples that the noise leads to, by deterministic DDIM.

    Args:
        predict_noise: called once for each sampling step; `with_guidance` makes a guided one.
        noise: the start, standard normal.
        schedule: the one of the training.
        num_steps: sampling steps, a divisor of the schedule's time steps.

    Raises:
        ValueError: `num_steps` does not divide the number of time steps. diffusers would then
            step to other noise levels than those that it tells the network.
    """
    if num_steps < 1 or schedule.num_timesteps % num_steps:
        raise ValueError(
            f"{num_steps} sampling steps do not divide {schedule.num_timesteps} time steps evenly. "
            "Choose a divisor, such as 10, 20, 25, 50 or 100."
        )
    scheduler = schedule.scheduler()
    scheduler.set_timesteps(num_steps)
    noisy = noise
    for timestep in scheduler.timesteps.tolist():
        timesteps = torch.full((len(noisy),), timestep, device=noisy.device)
        noisy = scheduler.step(predict_noise(noisy, timesteps), timestep, noisy).prev_sample
    return noisy
