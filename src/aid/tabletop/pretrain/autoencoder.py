"""The embedded autoencoder: an encoder in closed form and a trained temporal decoder.

A small convolutional encoder needs hours of training on a CPU to match principal components, so the
encoder's weights are *set* to compute principal components:

    latent[k] = w_k . (patch - mean) / std_k ** whitening        k = 1 .. latent_channels

and only the decoder is trained, on L1 + L2 with larger weights for the items' saturated pixels.
Because the encoder never changes, the UNet can be trained at the same time as the decoder.

SVD's encoder becomes linear as follows: residual branches end in zeros; the two stride-2
convolutions gather a 4x4 patch; each group of the final GroupNorm has three channels,
(latent, +K, -K), whose standard deviation hardly depends on the latent; the SiLU gets an offset of
+B, where it is the identity.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from aid.config import LoopConfig, Precision
from aid.data.manifest import read_manifest
from aid.models.backbone import load_backbone
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop.pretrain.config import AutoencoderConfig
from aid.tabletop.pretrain.frames import as_floats, load_videos
from aid.tabletop.pretrain.parts import build_autoencoder, save_part
from aid.video import contact_sheet, to_uint8, write_png

K = 100.0
B = 140.0
LOG_VARIANCE = -12.0


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


def _set(conv: nn.Conv2d, bias: float = 0.0) -> nn.Conv2d:
    conv.weight.zero_()
    conv.bias.fill_(bias)
    return conv


@torch.no_grad()
def set_encoder(vae: nn.Module, components: Components, whitening: float) -> None:
    """Writes the closed form into an `AutoencoderKLTemporalDecoder` with two halvings."""
    encoder = vae.encoder
    number = len(components.weights)
    if len(encoder.down_blocks) != 3 or encoder.conv_norm_out.num_channels != 96 or number > 32:
        raise ValueError(
            "the closed-form encoder needs three levels, the last 96 wide, and at most 32 latent "
            f"channels; got {len(encoder.down_blocks)} levels, width "
            f"{encoder.conv_norm_out.num_channels}, {number} channels. Use channels [32, 32, 96]."
        )
    for name, parameter in encoder.named_parameters():
        if ".conv2." in name or ".to_out." in name:
            parameter.zero_()  # the residual branches add nothing
    conv_in = _set(encoder.conv_in)
    for colour in range(3):
        conv_in.weight[colour, colour, 1, 1] = 1
    first = _set(encoder.down_blocks[0].downsamplers[0].conv)
    for colour in range(3):
        for y in range(2):
            for x in range(2):
                first.weight[4 * colour + 2 * y + x, colour, y, x] = 1
    scaled = components.weights / components.std[:, None] ** whitening
    second = _set(encoder.down_blocks[1].downsamplers[0].conv)
    by_pixel = rearrange(scaled, "k (h y w x c) -> k c y x h w", h=2, y=2, w=2, x=2, c=3)
    second.weight[:number, :12, :2, :2] = rearrange(by_pixel, "k c y x h w -> k (c y x) h w")
    second.bias[:number] = -(scaled @ components.mean)
    spread = _set(encoder.down_blocks[2].resnets[0].conv_shortcut)
    out = _set(encoder.conv_out, -0.0)
    for group in range(32):
        spread.bias[3 * group + 1], spread.bias[3 * group + 2] = K, -K
    for k in range(number):
        spread.weight[3 * k, k] = 1
        out.weight[k, 3 * k, 1, 1] = 1
        out.weight[k, 3 * k + 1 : 3 * k + 3, 1, 1] = -0.5
    encoder.conv_norm_out.weight.fill_(K * (2 / 3) ** 0.5)
    encoder.conv_norm_out.bias.fill_(B)
    moments = _set(vae.quant_conv)
    for k in range(number):
        moments.weight[k, k] = 1
    moments.bias[number:] = LOG_VARIANCE


def linear_encode(vae: nn.Module, frames: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c h w"]:
    """The output of the closed-form encoder, computed from its weights with 1/40 of the work."""
    conv = vae.encoder.down_blocks[1].downsamplers[0].conv
    channels = vae.config.latent_channels
    quarters = rearrange(frames, "n c (h y) (w x) -> n (c y x) h w", y=2, x=2)
    return F.conv2d(quarters, conv.weight[:channels, :12, :2, :2], conv.bias[:channels], stride=2)


def fit_encoder(
    vae: nn.Module, videos: UInt8[Tensor, "n f 3 H W"], config: AutoencoderConfig
) -> None:
    """Sets the encoder to the components of the videos' patches, and the latents' scale to one."""
    frames = as_floats(
        videos[: min(len(videos), 512), :: max(1, videos.shape[1] // 3)].flatten(0, 1)
    )
    patches = as_patches(frames, 4)
    components = principal_components(
        patches[:: max(1, len(patches) // 60_000)], config.latent_channels
    )
    set_encoder(vae, components, config.whitening)
    spread = (components.std ** (1 - config.whitening)).square().mean().sqrt()
    vae.register_to_config(scaling_factor=float(1 / spread))


def decoder_loss(
    decoded: Float[Tensor, "n 3 H W"], frames: Float[Tensor, "n 3 H W"]
) -> Float[Tensor, ""]:
    """L1 + L2; a fully saturated pixel weighs as much as seven grey ones: items are small."""
    saturation = frames.amax(1, keepdim=True) - frames.amin(1, keepdim=True)
    error = decoded - frames
    return ((1 + 3 * saturation) * (error.abs() + error.square())).mean()


def psnr(decoded: Tensor, frames: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of frames in [-1, 1]."""
    return float(10 * torch.log10(4 / (decoded.clamp(-1, 1) - frames).square().mean()))


def train_autoencoder(
    data: Path,
    out: Path,
    run: Path,
    config: AutoencoderConfig,
    loop: LoopConfig,
    start: Path | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Sets the encoder, trains the decoder, writes `out/vae`. Continues where `run` stopped.

    The encoder is written immediately (with an untrained decoder), so that latents can be computed.

    Args:
        start: folder of a backbone whose encoder is kept and whose decoder is trained further.
        device: as for `choose_device`.
        precision: of the decoder's forward pass.
    """
    accelerator = make_accelerator(device, precision)
    rows = [row for row in read_manifest(data)][: config.num_videos]
    videos = load_videos(data, rows)
    held_out, videos = videos[:24, ::3], videos[24:]
    torch.manual_seed(loop.seed)
    if start is None:
        vae = build_autoencoder(config)
        fit_encoder(vae, videos, config)
    else:
        vae = load_backbone(start, ("vae",)).part("vae").requires_grad_(True).train()
    if not (out / "vae").exists():
        save_part(out, "vae", copy.deepcopy(vae))
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    trained = {n: p for n, p in vae.named_parameters() if p.requires_grad}
    vae.to(accelerator.device)

    def decode(frames: Tensor, latents: Tensor, num_frames: int) -> Tensor:
        still = torch.zeros(len(frames) // num_frames, num_frames, device=latents.device)
        with accelerator.autocast():
            decoded = vae.decoder(latents, num_frames=num_frames, image_only_indicator=still)
        return decoded.float()

    def loss(step: int) -> Tensor:
        generator = generator_for(loop.seed, step)
        frames = _random_windows(videos, loop.batch_size, config.window, generator)
        frames = as_floats(frames.to(accelerator.device)).flatten(0, 1)
        with torch.no_grad():
            latents = linear_encode(vae, frames)
        return decoder_loss(decode(frames, latents, config.window), frames)

    @torch.no_grad()
    def check(step: int) -> dict[str, float]:
        frames = as_floats(held_out.to(accelerator.device))
        flat = frames.flatten(0, 1)
        decoded = decode(flat, linear_encode(vae, flat), frames.shape[1])
        pairs = []
        for index in range(6):
            pairs.append(("real", to_uint8(frames[index])))
            pairs.append(("decoded", to_uint8(decoded.unflatten(0, frames.shape[:2])[index])))
        write_png(run / f"decoded-{step:06d}.png", contact_sheet(pairs, scale=3, num_columns=6))
        return {"psnr": round(psnr(decoded, flat), 3)}

    facts = {"autoencoder": str(config), "loop": loop.seed}
    ema = fit(accelerator, run, trained, loss, loop, title="decoder", on_check=check, facts=facts)
    ema.swap(trained)
    save_part(out, "vae", vae)


def _random_windows(
    videos: UInt8[Tensor, "n f 3 H W"], number: int, length: int, generator: torch.Generator
) -> UInt8[Tensor, "b t 3 H W"]:
    """Windows of consecutive frames from random videos."""
    n, f = videos.shape[:2]
    chosen = torch.randint(n, (number,), generator=generator).tolist()
    starts = torch.randint(f - length + 1, (number,), generator=generator).tolist()
    return torch.stack([videos[v, t : t + length] for v, t in zip(chosen, starts, strict=True)])
