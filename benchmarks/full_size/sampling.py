"""A guided sampling step and whole runs: AID's, and the stock UNet called three times."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler

from aid.config import DQFormerConfig, ModelConfig, SamplerConfig
from aid.diffusion.edm import Scalings, karras_sigmas, over_latents
from aid.diffusion.sampler import sample_euler
from aid.models.denoiser import Denoiser, guided_denoise
from full_size.training import conditions, load_unet, make_denoiser, timed
from full_size.weights import DTYPES, shape_of, sizes

ENDLESS = float("inf")
S_V, S_T = 1.5, 7.5
DUAL = SamplerConfig(image_guidance=S_V, text_guidance=S_T, guidance_interval=(2.0, 20.0))
INTERVALS = {"": (0.0, ENDLESS), ", from 15": (15.0, ENDLESS), ", from 40": (40.0, ENDLESS)}
"""Where the shipped model is guided. Its scores: docs/experiments/guidance_interval.md."""


@torch.no_grad()
def parity(folder: Path, size: str, frames: int) -> dict:
    """Whether a fresh AID without text tokens is the stock UNet, bit for bit, in its own dtype."""
    unet, dtype = load_unet(folder, size), DTYPES[size]
    torch.manual_seed(0)
    latents = torch.randn(shape_of(size, frames))
    given = conditions(latents, size)
    sigma = torch.tensor([1.0])
    # The same input to the bit: one value of 65,536 that rounds the other way is seen everywhere.
    scaled = over_latents(Scalings.at(sigma).c_in) * latents
    both = torch.cat([scaled, given.condition_latents], dim=2)
    stock = unet(
        both.to(dtype), 0.25 * sigma.log(), encoder_hidden_states=given.image_embedding.to(dtype),
        added_time_ids=given.added_time_ids, return_dict=False,
    )[0].float()  # fmt: skip
    config = ModelConfig(num_frames=frames, dqformer=DQFormerConfig(branches="none"))
    denoiser = Denoiser(unet, sizes(size).text_dim, sizes(size).image_dim, config)
    ours = denoiser.model_output(latents, sigma, given)
    return {
        "equal": torch.equal(ours, stock),
        "largest_difference": float((ours - stock).abs().max()),
        "standard_deviation": float(stock.std()),
    }


def samplers(size: str, steps: int) -> dict[str, SamplerConfig]:
    """What is run as a whole: three predictions in an interval.

    For the shipped model also at every step, and with its own s_V = 1, which needs two predictions.
    """
    if size != "tabletop":
        return {"dual, interval": replace(DUAL, num_steps=steps)}
    own = SamplerConfig(
        num_steps=steps, image_guidance=1.0, text_guidance=2.5, sigma_min=0.02, sigma_max=80.0
    )
    dual = replace(own, image_guidance=S_V)
    return {
        f"{name}{where}": replace(sampler, guidance_interval=interval)
        for name, sampler in (("dual", dual), ("s_V 1", own))
        for where, interval in INTERVALS.items()
    }


def whole_run(run: Callable[[], object]) -> dict[str, float]:
    """Seconds of one whole run by the clock, and of the processor alone."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return {
        "seconds": round(time.perf_counter() - wall, 3),
        "processor_seconds": round(time.process_time() - processor, 3),
    }


@torch.no_grad()
def aid_sampling(folder: Path, size: str, frames: int, number: int, whole: int) -> dict:
    """Guided steps (three predictions as one batch), unguided ones, and perhaps whole runs."""
    torch.manual_seed(0)
    denoiser = make_denoiser(load_unet(folder, size), size, frames).eval()
    denoiser.insertion.lora.merge()  # as for every prediction in float32; most have none
    latents = torch.randn(shape_of(size, frames))
    given = conditions(latents, size)
    settings = samplers(size, whole or 25)

    def start(sampler: SamplerConfig) -> Callable:
        return guided_denoise(denoiser, given, given.text.zeros(), sampler)

    denoise = start(DUAL)
    inside, outside = torch.tensor([10.0]), torch.tensor([0.5])
    found = {
        "guided_seconds": timed(lambda: denoise(latents, inside), number),
        "plain_seconds": timed(lambda: denoise(latents, outside), number),
    }
    for name, sampler in settings.items():
        sigmas = karras_sigmas(sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho)
        low, high = sampler.guidance_interval
        known = {"guided_steps": sum(low <= s <= high for s in sigmas.tolist()[:-1])}
        if whole:
            first = latents * sigmas[0]
            known["runs"] = [
                whole_run(lambda s=sampler, g=sigmas, x=first: sample_euler(start(s), x, g))
                for _ in range(number)
            ]
        found[name] = known
    return found


@torch.no_grad()
def stock_sampling(folder: Path, size: str, frames: int, number: int, whole: int) -> dict:
    """Steps of the stock pipeline's loop with its UNet called three times for dual guidance.

    The stock UNet reads one image token instead of text, so its third prediction costs less than
    any that reads words. Encoding and decoding, equal for both, are left out.
    """
    unet, dtype = load_unet(folder, size), DTYPES[size]
    scheduler = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    torch.manual_seed(0)
    latents = torch.randn(shape_of(size, frames), dtype=dtype)
    given = conditions(latents, size).to(dtype)
    null = given.without_image()

    def step(index: int, x: torch.Tensor) -> torch.Tensor:
        level = scheduler.timesteps[index]
        scaled = scheduler.scale_model_input(x, level)
        nothing, image, text = (
            unet(
                torch.cat([scaled, c.condition_latents], dim=2), level,
                encoder_hidden_states=c.image_embedding, added_time_ids=c.added_time_ids,
                return_dict=False,
            )[0]
            for c in (null, given, given)
        )  # fmt: skip
        output = nothing + S_V * (image - nothing) + S_T * (text - image)
        return scheduler.step(output, level, x).prev_sample

    scheduler.set_timesteps(whole or 25)
    found = {"guided_seconds": []}
    for index in range(number):
        found["guided_seconds"] += timed(lambda index=index: step(index, latents), 1)
    if whole:

        def run() -> None:
            scheduler.set_timesteps(whole)
            x = latents * scheduler.init_noise_sigma
            for index in range(whole):
                x = step(index, x)

        found["runs"] = [whole_run(run) for _ in range(number)]
    return found
