"""A guided sampling step and a whole run: AID's, and the stock UNet called three times."""

from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler

from aid.config import DQFormerConfig, ModelConfig, SamplerConfig
from aid.diffusion.edm import Scalings, karras_sigmas, over_latents
from aid.diffusion.sampler import sample_euler
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser, guided_denoise
from full_size.training import BF16, conditions, make_denoiser, timed
from full_size.weights import shape_of, sizes


@torch.no_grad()
def parity(folder: Path, size: str, frames: int) -> dict:
    """Whether a fresh AID without text tokens is the stock UNet, bit for bit, in bfloat16."""
    unet = load_backbone(folder, ("unet",), BF16).part("unet")
    torch.manual_seed(0)
    latents = torch.randn(shape_of(size, frames))
    told = conditions(latents, size)
    sigma = torch.tensor([1.0])
    # The same input to the bit: one value of 65,536 that rounds the other way is seen everywhere.
    scaled = over_latents(Scalings.at(sigma).c_in) * latents
    both = torch.cat([scaled, told.condition_latents], dim=2)
    stock = unet(
        both.to(BF16), 0.25 * sigma.log(), encoder_hidden_states=told.image_embedding.to(BF16),
        added_time_ids=told.added_time_ids, return_dict=False,
    )[0].float()  # fmt: skip
    config = ModelConfig(num_frames=frames, dqformer=DQFormerConfig(branches="none"))
    denoiser = Denoiser(unet, sizes(size).text_dim, sizes(size).image_dim, config)
    ours = denoiser.model_output(latents, sigma, told)
    return {
        "equal": torch.equal(ours, stock),
        "largest_difference": float((ours - stock).abs().max()),
        "standard_deviation": float(stock.std()),
    }


@torch.no_grad()
def aid_sampling(folder: Path, size: str, frames: int, number: int, whole: int) -> dict:
    """Guided steps (three predictions as one batch), unguided ones, and perhaps a whole run."""
    unet = load_backbone(folder, ("unet",), BF16).part("unet")
    torch.manual_seed(0)
    denoiser = make_denoiser(unet, size, frames).eval()
    latents = torch.randn(shape_of(size, frames))
    told = conditions(latents, size)
    sampler = SamplerConfig(
        num_steps=whole or 25, image_guidance=1.5, text_guidance=7.5, guidance_interval=(2.0, 20.0)
    )
    denoise = guided_denoise(denoiser, told, told.text.zeros(), sampler)
    inside, outside = torch.tensor([10.0]), torch.tensor([0.5])
    found = {
        "guided_seconds": timed(lambda: denoise(latents, inside), number),
        "plain_seconds": timed(lambda: denoise(latents, outside), number),
    }
    sigmas = karras_sigmas(sampler.num_steps, sampler.sigma_min, sampler.sigma_max, sampler.rho)
    low, high = sampler.guidance_interval
    found["guided_steps"] = sum(low <= s <= high for s in sigmas.tolist())
    if whole:
        start = latents * sigmas[0]
        found["whole_seconds"] = timed(lambda: sample_euler(denoise, start, sigmas), 1)[0]
    return found


@torch.no_grad()
def stock_sampling(folder: Path, size: str, frames: int, number: int, whole: int) -> dict:
    """Steps of the stock pipeline's loop with its UNet called three times for dual guidance.

    The stock UNet reads one image token instead of text, so its third prediction costs less than
    any that reads words. Encoding and decoding, equal for both, are left out.
    """
    unet = load_backbone(folder, ("unet",), BF16).part("unet")
    scheduler = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    torch.manual_seed(0)
    latents = torch.randn(shape_of(size, frames), dtype=BF16)
    told = conditions(latents, size).to(BF16)
    null = told.without_image()
    image_guidance, text_guidance = 1.5, 7.5

    def step(index: int, x: torch.Tensor) -> torch.Tensor:
        time = scheduler.timesteps[index]
        scaled = scheduler.scale_model_input(x, time)
        nothing, image, text = (
            unet(
                torch.cat([scaled, c.condition_latents], dim=2), time,
                encoder_hidden_states=c.image_embedding, added_time_ids=c.added_time_ids,
                return_dict=False,
            )[0]
            for c in (null, told, told)
        )  # fmt: skip
        output = nothing + image_guidance * (image - nothing) + text_guidance * (text - image)
        return scheduler.step(output, time, x).prev_sample

    scheduler.set_timesteps(whole or 25)
    found = {"guided_seconds": []}
    for index in range(number):
        found["guided_seconds"] += timed(lambda index=index: step(index, latents), 1)
    if whole:
        scheduler.set_timesteps(whole)

        def run() -> None:
            x = latents * scheduler.init_noise_sigma
            for index in range(whole):
                x = step(index, x)

        found["whole_seconds"] = timed(run, 1)[0]
    return found
