"""The embedded autoencoder: an encoder in closed form and a trained correction of its inverse.

    z[k] = w_k . (patch - mean) / std_k ** whitening        k = 1 .. latent_channels

w_k are the principal components of 8 x 8 patches of all worlds' videos. The decoder begins as the
linear inverse and learns what that misses (`aid.models.patch_autoencoder`). Because the encoder
never changes, the UNet can be trained at the same time as the decoder.

    L = L1 + L2 + L1 of neighbouring pixels' differences + adversarial_weight (-D(decoded))

The differences and the discriminator D keep edges sharp; an L1 loss alone averages them (Esser et
al. 2021 use a discriminator with a feature network, whose weights we do not have).
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import register_parametrization

from aid.config import LoopConfig, Precision
from aid.data.manifest import read_manifest
from aid.models.patch_autoencoder import PatchAutoencoder
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop.pretrain.config import AutoencoderConfig
from aid.tabletop.pretrain.frames import (
    as_floats,
    evenly_from_sets,
    held_out_of,
    load_videos,
)
from aid.tabletop.pretrain.parts import build_autoencoder, save_part
from aid.video import contact_sheet, to_uint8, write_png

PATCH = 8
NUM_HELD_OUT = 24
LATENT_NOISE = 0.1
"""Largest standard deviation of the noise on scaled latents in training: predicted latents are not
exact, and the decoder must not turn small errors into flicker."""


@dataclass(frozen=True)
class Components:
    """Principal components of square patches: rows of `weights`, most important first."""

    weights: Float[Tensor, "k d"]
    mean: Float[Tensor, " d"]
    std: Float[Tensor, " k"]


def as_patches(frames: Float[Tensor, "n 3 H W"], side: int) -> Float[Tensor, "m d"]:
    """All patches of side x side pixels as rows (y x c)."""
    return rearrange(frames, "n c (h y) (w x) -> (n h w) (y x c)", y=side, x=side)


def principal_components(patches: Float[Tensor, "m d"], number: int) -> Components:
    """The directions in which the patches vary most."""
    mean = patches.mean(0)
    _, _, rows = torch.linalg.svd(patches - mean, full_matrices=False)
    weights = rows[:number]
    return Components(weights, mean, ((patches - mean) @ weights.T).std(0))


def fit_encoder(
    vae: PatchAutoencoder, videos: UInt8[Tensor, "n f 3 H W"], config: AutoencoderConfig
) -> None:
    """Sets the encoder to the components of the videos' patches, and the latents' scale to one."""
    every = max(1, len(videos) // 512)
    frames = as_floats(videos[::every, :: max(1, videos.shape[1] // 3)].flatten(0, 1))
    patches = as_patches(frames, PATCH)
    components = principal_components(
        patches[:: max(1, len(patches) // 60_000)], config.latent_channels
    )
    vae.set_components(components.weights, components.mean, components.std**config.whitening)
    spread = (components.std ** (1 - config.whitening)).square().mean().sqrt()
    vae.register_to_config(scaling_factor=float(1 / spread))


class SpectralNorm(nn.Module):
    """W / |W|_2 (Miyato et al. 2018), by singular values.

    torch's own form keeps vectors between the steps, which a saved state does not hold.
    """

    def forward(self, weight: Float[Tensor, "o i h w"]) -> Float[Tensor, "o i h w"]:
        """The weight with a largest singular value of 1."""
        return weight / torch.linalg.matrix_norm(weight.flatten(1), ord=2)


class Discriminator(nn.Sequential):
    """One number for each 8 x 8 patch of a frame: high if it looks real (Isola et al. 2017)."""

    def __init__(self, width: int = 32) -> None:
        def conv(inputs: int, outputs: int, side: int, stride: int) -> nn.Module:
            made = nn.Conv2d(inputs, outputs, side, stride, padding=1)
            register_parametrization(made, "weight", SpectralNorm())
            return made

        super().__init__(
            conv(3, width, 4, 2),
            nn.LeakyReLU(0.2),
            conv(width, 2 * width, 4, 2),
            nn.LeakyReLU(0.2),
            conv(2 * width, 3 * width, 4, 2),
            nn.LeakyReLU(0.2),
            conv(3 * width, 1, 3, 1),
        )


def decoder_loss(
    decoded: Float[Tensor, "n 3 H W"], frames: Float[Tensor, "n 3 H W"]
) -> Float[Tensor, ""]:
    """L1 + L2 + L1 of differences; a saturated pixel weighs as much as four grey ones.

    Items are small and saturated.
    """
    saturation = frames.amax(1, keepdim=True) - frames.amin(1, keepdim=True)
    error = decoded - frames
    pixels = ((1 + 1.5 * saturation) * (error.abs() + error.square())).mean()
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return pixels + edges


def adversarial_losses(
    discriminator: Discriminator,
    decoded: Float[Tensor, "n 3 H W"],
    frames: Float[Tensor, "n 3 H W"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The decoder's and the discriminator's hinge losses (Lim and Ye 2017).

    The first has no gradient for the discriminator and the second none for the decoder, so that
    their sum can be minimised by one optimizer.
    """
    fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
    fooled = -functional_call(discriminator, fixed, (decoded,)).mean()
    real, drawn = discriminator(frames), discriminator(decoded.detach())
    return fooled, (F.relu(1 - real) + F.relu(1 + drawn)).mean()


def psnr(decoded: Tensor, frames: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of frames in [-1, 1]."""
    return float(10 * torch.log10(4 / (decoded.clamp(-1, 1) - frames).square().mean()))


def gradient_ratio(decoded: Float[Tensor, "n 3 H W"], frames: Float[Tensor, "n 3 H W"]) -> float:
    """Mean size of neighbouring pixels' differences relative to real frames; 1 is as sharp."""
    drawn, real = (
        sum(float(x.diff(dim=side).abs().mean()) for side in (-1, -2)) for x in (decoded, frames)
    )
    return drawn / real


def train_autoencoder(
    data: Path,
    out: Path,
    run: Path,
    config: AutoencoderConfig,
    loop: LoopConfig,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Sets the encoder, trains the decoder, writes `out/vae`. Continues where `run` stopped.

    The encoder is written immediately (with the linear inverse), so that latents can be computed.

    Args:
        device: as for `choose_device`.
        precision: of the decoder's forward pass.

    Raises:
        ValueError: too few videos, or they have too few frames or no whole number of patches.
    """
    accelerator = make_accelerator(device, precision)
    rows = evenly_from_sets(read_manifest(data), config.num_videos)
    others, chosen = held_out_of(len(rows), NUM_HELD_OUT)
    videos = load_videos(data, [rows[i] for i in others])
    held_out = load_videos(data, [rows[i] for i in chosen])[:, ::3]
    frames, _, height, width = videos.shape[1:]
    if frames < config.window or height % PATCH or width % PATCH:
        raise ValueError(
            f"videos of {frames} frames of {height} x {width} pixels hold no windows of "
            f"{config.window} frames, or no whole patches of {PATCH} x {PATCH} pixels. Make other "
            "videos (aid tabletop make --size 128), or set a smaller autoencoder.window."
        )
    torch.manual_seed(loop.seed)
    vae = build_autoencoder(config)
    fit_encoder(vae, videos, config)
    if not (out / "vae").exists():
        save_part(out, "vae", copy.deepcopy(vae))
    vae.requires_grad_(False)
    vae.to(accelerator.device).correction.requires_grad_(True)
    discriminator = Discriminator().to(accelerator.device)
    trained = {f"vae.{n}": p for n, p in vae.named_parameters() if p.requires_grad}
    trained |= {f"discriminator.{n}": p for n, p in discriminator.named_parameters()}

    def decode(latents: Tensor, num_frames: int) -> Tensor:
        linear = vae.linear_inverse(latents)
        with accelerator.autocast():
            correction = vae.correction(latents, linear, num_frames)
        return linear + correction.float()

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        frames = _random_windows(videos, loop.batch_size, config.window, config.crop, generator)
        frames = as_floats(frames.to(accelerator.device)).flatten(0, 1)
        with torch.no_grad():
            latents = vae.encoder(frames)
        strength = LATENT_NOISE * torch.rand(len(frames), 1, 1, 1, generator=generator)
        noise = strength * torch.randn(latents.shape, generator=generator)
        latents = latents + noise.to(latents.device) / vae.config.scaling_factor
        decoded = decode(latents, config.window)
        total = decoder_loss(decoded, frames)
        if config.adversarial_weight and step >= config.adversarial_from:
            with accelerator.autocast():
                fooled, apart = adversarial_losses(discriminator, decoded, frames)
            total = total + config.adversarial_weight * fooled.float() + apart.float()
        return total

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        frames = as_floats(held_out.to(accelerator.device))
        flat = frames.flatten(0, 1)
        latents = vae.encoder(flat)
        decoded = decode(latents, frames.shape[1])
        pairs = []
        for index in range(0, NUM_HELD_OUT, 4):
            pairs.append(("real", to_uint8(frames[index])))
            pairs.append(("decoded", to_uint8(decoded.unflatten(0, frames.shape[:2])[index])))
        write_png(run / f"decoded-{step:06d}.png", contact_sheet(pairs, scale=1, num_columns=6))
        return {
            "psnr": round(psnr(decoded, flat), 3),
            "linear_psnr": round(psnr(vae.linear_inverse(latents), flat), 3),
            "gradient_ratio": round(gradient_ratio(decoded, flat), 4),
        }

    facts = {"autoencoder": str(config), "loop": loop.seed}
    ema = fit(accelerator, run, trained, loss, loop, title="decoder", on_check=check, facts=facts)
    ema.swap(trained)
    save_part(out, "vae", vae)


def _random_windows(
    videos: UInt8[Tensor, "n f 3 H W"],
    number: int,
    length: int,
    crop: int,
    generator: torch.Generator,
) -> UInt8[Tensor, "b t 3 h w"]:
    """Windows of consecutive frames from random videos, cropped to a square of whole patches."""

    def draw(below: int) -> list[int]:
        return torch.randint(below, (number,), generator=generator).tolist()

    n, f, _, height, width = videos.shape
    side = min(crop, height, width)
    tops, lefts = (draw((size - side) // PATCH + 1) for size in (height, width))
    return torch.stack(
        [
            videos[v, t : t + length, :, PATCH * y : PATCH * y + side, PATCH * x : PATCH * x + side]
            for v, t, y, x in zip(draw(n), draw(f - length + 1), tops, lefts, strict=True)
        ]
    )
