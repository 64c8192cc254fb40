"""Loss on videos that a model was trained on and on unseen ones: whether more data can help.

COMMAND  python benchmarks/more_data.py aid --seen runs/cache/train --unseen runs/cache/val
         python benchmarks/more_data.py backbone --seen data/tabletop/play --unseen data/other/play
HARDWARE one CPU core without AMX
TIME     2 minutes for 64 videos each

The gap between the two losses is memorization, and at most what more videos could gain. `aid`
reads two caches, with the instructions; `backbone` two data sets, without text, at the noise
levels of its training. Scenes differ in difficulty, hence the intervals (95 %, normal).
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from aid.config import NoiseConfig
from aid.data.cache import Cache
from aid.data.manifest import read_manifest
from aid.models.attention import use_plain_attention
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import load_checkpoint
from aid.optim import generator_for
from aid.predict import find_model
from aid.tabletop.pretrain.config import VideoStageConfig
from aid.tabletop.pretrain.frames import load_videos
from aid.tabletop.pretrain.image_to_video import encode_all, video_loss
from aid.train.batches import conditions_of

SIGMAS = (1.5, 4.0, 12.0, 40.0)
BATCH = 8


def of_aid(model: str, folders: list[Path], skip: int, limit: int) -> Iterator[dict[str, Tensor]]:
    """For each cache the loss of every video by noise level."""
    checkpoint, backbone = find_model(model)
    unet = load_backbone(backbone, ("unet",), torch.float32).part("unet")
    caches = [Cache(folder) for folder in folders]
    use_plain_attention(unet, math.prod(caches[0].batch([0]).latents.shape[-2:]))
    denoiser, _ = load_checkpoint(checkpoint, unet, backbone_hash(backbone))
    denoiser.eval()
    for cache, first in zip(caches, (skip, 0), strict=True):
        losses: dict[str, list[Tensor]] = {}
        for start in range(first, min(first + limit, len(cache)), BATCH):
            indices = list(range(start, min(start + BATCH, len(cache))))
            batch = cache.batch(indices)
            conditions = conditions_of(batch, denoiser.config.condition)
            noise = torch.randn(batch.latents.shape, generator=generator_for(0, start - first))
            for sigma in SIGMAS:
                level = torch.full((len(indices),), sigma)
                loss = denoiser.loss(batch.latents, noise, level, conditions)
                losses.setdefault(f"sigma {sigma:g}", []).append(loss)
        yield {name: torch.cat(parts) for name, parts in losses.items()}


def of_backbone(
    model: str, folders: list[Path], skip: int, limit: int
) -> Iterator[dict[str, Tensor]]:
    """For each data set the loss of every video, at a noise level drawn as in training."""
    _, folder = find_model(model)
    unet = load_backbone(folder, ("unet",), torch.float32).part("unet").eval()
    use_plain_attention(unet)
    stage = VideoStageConfig(noise=NoiseConfig(mean=0.7, std=1.4), image_dropout=0.0)
    for data, first in zip(folders, (skip, 0), strict=True):
        rows = read_manifest(data)[first : first + limit]
        encoded = encode_all(load_videos(data, rows), [row.fps for row in rows], folder, stage)
        losses = [
            video_loss(unet, encoded, torch.arange(at, min(at + BATCH, len(rows))), stage, 0, at)[0]
            for at in range(0, len(rows), BATCH)
        ]
        yield {"v-loss": torch.cat(losses)}


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("aid", "backbone"))
    parser.add_argument("--seen", type=Path, required=True)
    parser.add_argument("--unseen", type=Path, required=True)
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--skip", type=int, default=64, help="first videos of --seen, held out")
    options = parser.parse_args()
    made = {"aid": of_aid, "backbone": of_backbone}[options.what]
    seen, unseen = made(options.model, [options.seen, options.unseen], options.skip, options.limit)
    print("| | seen | unseen | gap | videos |\n| --- | --- | --- | --- | --- |")
    for name, ours in seen.items():
        theirs = unseen[name]
        gap = float(theirs.mean() - ours.mean())
        error = 1.96 * float((ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt())
        print(
            f"| {name} | {float(ours.mean()):.4f} | {float(theirs.mean()):.4f} "
            f"| {gap:+.4f} ({gap - error:+.4f} to {gap + error:+.4f}) "
            f"| {len(ours)}, {len(theirs)} |"
        )


if __name__ == "__main__":
    main()
