"""The embedded image-to-video UNet: predicts a video from one frame, without text.

The loss is SVD's (EDM with v-prediction) on stored latents; the context is the CLIP image token.
Two stages: `coarse` on few frames of each video, then `fine` on more of them.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aid.config import Precision
from aid.data.manifest import read_manifest
from aid.diffusion.edm import (
    Scalings,
    add_noise,
    edm_loss,
    motion_weights,
    over_latents,
    sample_sigmas,
)
from aid.models.attention import use_plain_attention
from aid.models.backbone import load_backbone
from aid.optim import fit, generator_for, make_accelerator
from aid.tabletop.pretrain.config import PretrainConfig, VideoStageConfig
from aid.tabletop.pretrain.frames import as_floats, held_out_of, load_videos
from aid.tabletop.pretrain.items import ItemHeads, QueryReader, items_of
from aid.tabletop.pretrain.parts import build_scheduler, build_unet, save_part
from aid.types import VideoRow
from aid.video import remove_leftovers, whole_file

NUM_NOISED = 4
NUM_HELD_OUT = 64


@dataclass(frozen=True)
class Encoded:
    """The whole data set as the UNet's input: latents are scaled, condition latents are not."""

    latents: Float[Tensor, "n f c h w"]
    condition_latents: Float[Tensor, "n m c h w"]
    noise_aug_strength: Float[Tensor, "n m"]
    image_embedding: Float[Tensor, "n 1 d"]
    fps: Float[Tensor, " n"]


@torch.no_grad()
def encode_all(
    data: Path,
    rows: list[VideoRow],
    folder: Path,
    config: VideoStageConfig,
    device: torch.device | str = "cpu",
) -> Encoded:
    """Latents, noise-augmented condition latents (both in half precision) and image tokens.

    Encoded on the device, 32 videos at a time; the result is on the CPU.
    """
    backbone = load_backbone(folder, parts=("vae", "image_encoder")).to(device)
    scale = backbone.vae.config.scaling_factor

    def encode(frames: Float[Tensor, "n f 3 H W"]) -> Float[Tensor, "n f c h w"]:
        latents = backbone.vae.encode(frames.flatten(0, 1)).latent_dist.mode()
        return latents.unflatten(0, frames.shape[:2])

    latents, conditions, strengths, images = [], [], [], []
    for index in track(range(0, len(rows), 32), "encode"):
        frames = as_floats(load_videos(data, rows[index : index + 32], show=False).to(device))
        latents.append((encode(frames) * scale).half().cpu())
        generator = generator_for(config.loop.seed, index, stream=1)
        first = frames[:, :1].expand(-1, NUM_NOISED, -1, -1, -1)
        strength = config.noise_aug_mean + config.noise_aug_std * torch.randn(
            first.shape[:2], generator=generator
        )
        strength = strength.exp()
        noise = torch.randn(first.shape, generator=generator) * strength[:, :, None, None, None]
        conditions.append(encode(first + noise.to(device)).half().cpu())
        strengths.append(strength)
        images.append(backbone.image_embedding(frames[:, 0]).cpu())
    return Encoded(
        torch.cat(latents), torch.cat(conditions), torch.cat(strengths), torch.cat(images),
        torch.tensor([row.fps for row in rows]),
    )  # fmt: skip


def encoded_once(
    data: Path,
    rows: list[VideoRow],
    folder: Path,
    file: Path,
    config: VideoStageConfig,
    device: torch.device,
) -> Encoded:
    """`encode_all`, stored in `file` for a run that continues."""
    if not file.exists():
        made = encode_all(data, rows, folder, config, device)
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(file.parent)
        with whole_file(file) as temporary:
            save_file({f.name: getattr(made, f.name) for f in fields(made)}, temporary)
    encoded = Encoded(**load_file(file))
    if len(encoded.fps) != len(rows):
        raise ValueError(
            f"{str(file)!r} holds {len(encoded.fps)} videos, but the manifest {len(rows)}. Delete "
            "that file to encode again."
        )
    return encoded


def video_loss(
    unet: nn.Module, data: Encoded, chosen: Tensor, config: VideoStageConfig, seed: int, step: int
) -> tuple[Float[Tensor, " b"], Bool[Tensor, " b"]]:
    """The v-loss of each chosen video at a random noise level (Karras et al. 2022; SVD).

    The second result is whether each video kept its given frame (`image_dropout`).
    """
    generator = generator_for(seed, step, stream=2)
    device = next(unet.parameters()).device
    latents = data.latents[chosen, :: config.frame_stride].float().to(device)
    b, f = latents.shape[:2]
    noise = torch.randn(latents.shape, generator=generator).to(device)
    sigma = sample_sigmas(b, config.noise, generator).to(device)
    pick = torch.randint(NUM_NOISED, (b,), generator=generator)
    kept = torch.rand(b, generator=generator) >= config.image_dropout
    keep = kept.float().to(device)
    condition = data.condition_latents[chosen, pick].float().to(device) * keep[:, None, None, None]
    condition = condition[:, None].expand(-1, f, -1, -1, -1)
    image = data.image_embedding[chosen].to(device) * keep[:, None, None]
    noisy = add_noise(latents, noise, sigma) * over_latents(Scalings.at(sigma).c_in)
    fps = data.fps[chosen] / config.frame_stride
    strength = data.noise_aug_strength[chosen, pick]
    ids = torch.stack([fps - 1, torch.full_like(fps, 127.0), strength], dim=1).to(device)
    output = unet(
        torch.cat([noisy, condition], dim=2), 0.25 * sigma.log(), image, added_time_ids=ids
    ).sample
    places = motion_weights(latents, config.motion_weight) if config.motion_weight else None
    return edm_loss(output, latents, noise, sigma, place_weights=places), kept


def train_unet(
    data: Path,
    out: Path,
    run: Path,
    config: PretrainConfig,
    device: str | None = None,
    precision: Precision = "float32",
) -> None:
    """Trains the UNet in two stages on `data` and writes `out/unet` and `out/scheduler`.

    Args:
        device: as for `choose_device`; the videos are encoded there, too.
        precision: of the UNet's forward pass.

    Raises:
        ValueError: too few videos, or there is an `items_weight` and no row names its items or the
            UNet has no attention.
    """
    accelerator = make_accelerator(device, precision)
    rows = read_manifest(data)
    others, held_out = (torch.tensor(some) for some in held_out_of(len(rows), NUM_HELD_OUT))
    file = run / "encoded.safetensors"
    encoded = encoded_once(data, rows, out, file, config.coarse, accelerator.device)
    torch.manual_seed(config.coarse.loop.seed)
    unet = build_unet(config.unet, config.clip.dim, encoded.latents.shape[1])
    if accelerator.device.type == "cpu":
        use_plain_attention(unet)
    unet = accelerator.prepare(unet.train())
    parameters = dict(unet.named_parameters())
    heads = None
    if config.coarse.items_weight > 0 or config.fine.items_weight > 0:
        queries = QueryReader(accelerator.unwrap_model(unet))
        height, width = (side >> queries.halvings for side in encoded.latents.shape[-2:])
        heads = accelerator.prepare(ItemHeads(queries, items_of(rows, height, width)))

    for name, stage in (("coarse", config.coarse), ("fine", config.fine)):
        loop, trained = stage.loop, dict(parameters)
        if stage.items_weight > 0:
            trained |= {f"items.{name}": head for name, head in heads.named_parameters()}

        def loss(step: int, stage: VideoStageConfig = stage) -> Tensor:
            generator = generator_for(stage.loop.seed, step)
            size = (stage.loop.batch_size,)
            chosen = others[torch.randint(len(others), size, generator=generator)]
            losses, kept = video_loss(unet, encoded, chosen, stage, stage.loop.seed, step)
            if stage.items_weight == 0:
                return losses.mean()
            return losses.mean() + stage.items_weight * heads(chosen, kept)[0]

        plain = replace(stage, motion_weight=0.0)

        @torch.no_grad()
        def check(step: int, plain: VideoStageConfig = plain) -> dict[str, float]:
            losses, right = [], []
            for i, chosen in enumerate(held_out.split(16)):
                each, kept = video_loss(unet, encoded, chosen, plain, seed=-1, step=16 * i)
                losses.append(each)
                if plain.items_weight > 0:
                    right.append(heads(chosen, kept)[1])
            values = {"held_out_loss": torch.cat(losses).mean()}
            if right:
                values |= zip(("colours", "shapes"), torch.stack(right).mean(0), strict=True)
            return {name: round(float(value), 5) for name, value in values.items()}

        facts = {"unet": str(config.unet), "stage": str(stage.frame_stride), "seed": loop.seed}
        if stage.items_weight > 0:
            facts["items_weight"] = stage.items_weight
        ema = fit(
            accelerator, run / name, trained, loss, loop, title=f"unet, {name}",
            on_check=check, facts=facts,
        )  # fmt: skip
        ema.swap(trained)
    if heads is not None:
        queries.detach()
    save_part(out, "unet", accelerator.unwrap_model(unet))
    save_part(out, "scheduler", build_scheduler(config.sigma_min, config.sigma_max))
