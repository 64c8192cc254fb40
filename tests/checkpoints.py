"""A whole tiny model on disk, for the tests of everything that predicts."""

from pathlib import Path

import numpy as np
import torch

from aid.config import ModelConfig, SamplerConfig
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, save_checkpoint
from aid.models.denoiser import Denoiser


def differ(a: np.ndarray, b: np.ndarray) -> int:
    """The largest difference between the pixels of two videos."""
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def write_tiny_model(
    folder: Path,
    backbone: Path,
    config: ModelConfig,
    is_random: bool = True,
    state_writer: str = "tabletop-rules",
) -> Path:
    """A checkpoint of an untrained denoiser; `is_random` takes it away from its zero start."""
    unet = load_backbone(backbone, ("unet",)).unet
    with torch.random.fork_rng():
        torch.manual_seed(1)
        denoiser = Denoiser(unet, 16, 24, config)
        if is_random:
            for parameter in denoiser.trained.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
    info = CheckpointInfo(
        model=config,
        sampler=SamplerConfig(num_steps=2, text_guidance=2.0, sigma_max=20.0),
        text_dim=16,
        image_dim=24,
        backbone_hash=backbone_hash(backbone),
        backbone_name="tiny",
        state_writer=state_writer,
        data_fingerprint="none",
        step=7,
        height=64,
        width=64,
        fps=4.0,
    )
    save_checkpoint(folder, denoiser, info)
    return folder
