"""How well an autoencoder reconstructs videos of several worlds, and whether its decoder helps.

COMMAND  python benchmarks/autoencoder_worlds.py --backbone runs/backbone data/held_out/test
HARDWARE two CPU cores
TIME     half a second a video

For each data set or folder of video files: PSNR in dB of the linear inverse, if the autoencoder
has one, and of the decoder, and the gradient ratio (mean size of neighbouring pixels' differences,
relative to the real frames). Files are cropped to a square and resized; 16 frames of each are read.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from aid.models.backbone import load_backbone
from aid.tabletop.pretrain.autoencoder import gradient_ratio, psnr
from aid.video import read_video


def videos_of(folder: Path, size: int, limit: int) -> list[torch.Tensor]:
    """The first videos of a folder, 16 frames each, as floats in [-1, 1]."""
    made = []
    for path in sorted(folder.rglob("*.mp4"))[:limit]:
        pixels = read_video(path)
        chosen = pixels[np.linspace(0, len(pixels) - 1, 16).astype(int)]
        if chosen.shape[1:3] != (size, size):
            images = [ImageOps.fit(Image.fromarray(frame), (size, size)) for frame in chosen]
            chosen = np.stack([np.asarray(image) for image in images])
        made.append(torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 127.5 - 1)
    return made


@torch.no_grad()
def main() -> None:
    """Prints one line for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--limit", type=int, default=40)
    options = parser.parse_args()
    vae = load_backbone(options.backbone, ("vae",)).part("vae")
    for folder in options.folders:
        real = videos_of(folder, options.size, options.limit)
        if not real:
            raise SystemExit(f"error: {str(folder)!r} holds no mp4 file.")
        latents = [vae.encode(video).latent_dist.mode() for video in real]
        decoded = [vae.decode(z, num_frames=len(z)).sample for z in latents]
        frames = torch.cat(real)
        line = f"{folder}: {len(real)} videos, decoder {psnr(torch.cat(decoded), frames):.2f} dB"
        line += f", gradient ratio {gradient_ratio(torch.cat(decoded), frames):.3f}"
        if hasattr(vae, "linear_inverse"):
            linear = torch.cat([vae.linear_inverse(z) for z in latents])
            line += f"; linear inverse {psnr(linear, frames):.2f} dB"
            line += f", gradient ratio {gradient_ratio(linear, frames):.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
