"""Where the time of a training step goes, by operation."""

from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from aid.models.attention import use_plain_attention
from full_size.training import conditions, load_unet, make_denoiser
from full_size.weights import shape_of


def profile_step(folder: Path, size: str, frames: int) -> dict:
    """Shares of the time of one forward and backward pass, the ten largest operations."""
    unet = load_unet(folder, size)
    denoiser = make_denoiser(unet, size, frames).train()
    denoiser.enable_gradient_checkpointing()
    latents = torch.randn(shape_of(size, frames))
    use_plain_attention(unet, latents.shape[-1] * latents.shape[-2])
    given = conditions(latents, size)

    def step() -> None:
        denoiser.loss(latents, torch.randn_like(latents), torch.tensor([1.0]), given).backward()
        denoiser.zero_grad()

    step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    largest = sorted(events, key=lambda event: -event.self_cpu_time_total)[:12]
    return {
        "seconds": round(total / 1e6, 2),
        "shares": {e.key: round(e.self_cpu_time_total / total, 4) for e in largest},
        "calls": {e.key: e.count for e in largest},
    }
