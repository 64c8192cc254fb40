"""What a run writes down about itself before its first step: settings, sizes, versions."""

import platform
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator

from aid.config import ModelConfig, SamplerConfig, TrainConfig, to_json
from aid.models.denoiser import Denoiser
from aid.train.processes import share_of_frozen

PACKAGES = ("aid-video", "torch", "diffusers", "accelerate", "safetensors")


def num_trained(denoiser: Denoiser) -> dict[str, int]:
    """Trained numbers by part, as the checkpoint holds them."""
    return {
        name: sum(p.numel() for p in part.parameters()) for name, part in denoiser.trained.items()
    }


def describe(denoiser: Denoiser) -> str:
    """What is trained, in one line."""
    parts = {name: number for name, number in num_trained(denoiser).items() if number}
    listed = ", ".join(f"{name} {number / 1e6:.2f} M" for name, number in parts.items())
    total, all_ = sum(parts.values()), sum(p.numel() for p in denoiser.unet.parameters())
    # Weights, average and two moments in float32, and the gradient.
    return (
        f"trained: {total / 1e6:.2f} M parameters ({listed}) beside a UNet of {all_ / 1e6:.2f} M; "
        f"with optimizer and average {20 * total / 2**20:.0f} MB"
    )


def run_record(
    denoiser: Denoiser,
    model: ModelConfig,
    train: TrainConfig,
    sampler: SamplerConfig,
    facts: dict[str, Any],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Everything that made the run, for `aid report` and for people, as JSON values."""
    return {
        "model": to_json(model),
        "train": to_json(train),
        "sampler": to_json(sampler),
        "facts": {k: facts[k] for k in ("backbone", "data", "state_writer", "whole_batch")},
        "precision": facts["precision"],
        "trained": num_trained(denoiser),
        "frozen_share": round(share_of_frozen(denoiser.unet), 4),
        "processes": accelerator.num_processes,
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
