"""One training step of AID from cached latents, and one as public SVD fine-tuning scripts make it.

Both: one video of 16 frames, frozen weights stored and used in bfloat16 (the table-top's in
float32), trained ones in float32, PyTorch's fused AdamW. Neither is changed for the other's sake.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from aid.config import ModelConfig, NoiseConfig, SamplerConfig
from aid.diffusion.edm import sample_sigmas
from aid.models.attention import use_plain_attention
from aid.models.backbone import Backbone, backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from aid.models.conditions import Conditions, TextTokens
from aid.models.denoiser import Denoiser
from aid.optim import AveragedWeights
from aid.predict import find_model
from full_size.weights import DTYPES, SIDES, shape_of, sizes

BF16 = torch.bfloat16
STATES = 4


def conditions(latents: Tensor, size: str) -> Conditions:
    """Random conditions as the cache gives them."""
    b, s = len(latents), sizes(size)
    mask = torch.ones(b, s.num_text_tokens, dtype=torch.bool)
    return Conditions(
        condition_latents=torch.randn_like(latents),
        image_embedding=torch.randn(b, 1, s.image_embedding_dim),
        image_tokens=torch.randn(b, s.num_image_tokens, s.image_dim),
        fps=torch.full((b,), 7.0),
        motion_bucket_id=torch.full((b,), 127.0),
        noise_aug_strength=torch.full((b,), 0.02),
        text=TextTokens(
            instruction_tokens=torch.randn(b, s.num_text_tokens, s.text_dim),
            instruction_mask=mask,
            state_tokens=torch.randn(b, STATES * s.num_text_tokens, s.text_dim),
            state_mask=mask.repeat(1, STATES),
        ),
    )


def load_unet(folder: Path, size: str) -> torch.nn.Module:
    """The backbone's UNet."""
    return load_backbone(folder, ("unet",), DTYPES[size]).part("unet")


def make_denoiser(unet: torch.nn.Module, size: str, frames: int) -> Denoiser:
    """AID in its default configuration, or the shipped one on the shipped backbone."""
    if size == "tabletop":
        checkpoint, backbone = find_model("tabletop")
        return load_checkpoint(checkpoint, unet, backbone_hash(backbone))[0]
    s = sizes(size)
    return Denoiser(unet, s.text_dim, s.image_dim, ModelConfig(num_frames=frames))


def timed(step: Callable[[], object], number: int) -> list[float]:
    """Seconds of each of `number` steps."""
    seconds = []
    for _ in range(number):
        start = time.perf_counter()
        step()
        seconds.append(round(time.perf_counter() - start, 3))
    return seconds


def aid_steps(
    folder: Path, size: str, frames: int, number: int, checkpointing: str, out: Path | None
) -> dict:
    """Training steps of AID; then the checkpoint is saved, loaded strictly and compared."""
    unet = load_unet(folder, size)
    torch.manual_seed(0)
    latents = torch.randn(shape_of(size, frames))
    use_plain_attention(unet, latents.shape[-1] * latents.shape[-2])  # as `aid train` on a CPU
    denoiser = make_denoiser(unet, size, frames).train()
    if checkpointing != "none":
        denoiser.enable_gradient_checkpointing(
            None if checkpointing == "all" else int(checkpointing)
        )
    parameters = dict(denoiser.trained.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-5, fused=True)
    average = AveragedWeights(parameters, 0.999)
    given = conditions(latents, size)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        empty = given.text.zeros()
        dropped = denoiser.drop_conditions(given, empty, generator)
        sigma = sample_sigmas(1, NoiseConfig(), generator)
        noise = torch.randn(latents.shape, generator=generator)
        denoiser.loss(latents, noise, sigma, dropped).mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(parameters, 0)

    found = {"seconds": timed(step, number), "trained": sum(p.numel() for p in parameters.values())}
    if out is not None:
        found |= save_and_reload(denoiser.eval(), folder, out, latents, given)
    return found


def save_and_reload(
    denoiser: Denoiser, folder: Path, out: Path, latents: Tensor, given: Conditions
) -> dict:
    """Saves, loads again strictly, and compares tensors and outputs bit for bit."""
    info = CheckpointInfo(
        model=denoiser.config, sampler=SamplerConfig(), text_dim=denoiser.text_dim,
        image_dim=denoiser.image_dim, backbone_hash="0" * 16, backbone_name="random",
        state_writer="none", data_fingerprint="none", step=1, height=256, width=256, fps=7.0,
    )  # fmt: skip
    start = time.perf_counter()
    save_checkpoint(out, denoiser, info)
    saved = time.perf_counter() - start
    sigma = torch.tensor([1.0])
    with torch.no_grad():
        expected = denoiser(latents, sigma, given)
    state = {name: tensor.clone() for name, tensor in denoiser.trained_state_dict().items()}
    denoiser.insertion.detach()
    unet = denoiser.unet
    del denoiser
    start = time.perf_counter()
    again, _ = load_checkpoint(out, unet, "0" * 16)
    loaded = time.perf_counter() - start
    with torch.no_grad():
        is_same = torch.equal(again(latents, sigma, given), expected)
    tensors = load_file(out / "trained.safetensors")
    return {
        "save_seconds": round(saved, 2),
        "load_seconds": round(loaded, 2),
        "checkpoint_bytes": (out / "trained.safetensors").stat().st_size,
        "tensors_equal": all(torch.equal(tensors[n], t) for n, t in state.items())
        and tensors.keys() == state.keys(),
        "output_equal": is_same,
    }


def temporal_steps(folder: Path, size: str, frames: int, number: int, checkpointing: str) -> dict:
    """Training steps on SVD's temporal transformer blocks, the way public scripts make them.

    Every step encodes the video and its noised first frame with the VAE and the first frame with
    CLIP; the loss is EDM's. The scripts keep the whole UNet in float32 and have no average; here
    the frozen part is in bfloat16, which favours them.
    """
    dtype = DTYPES[size]
    parts: Backbone = load_backbone(folder, ("unet", "vae", "image_encoder"), dtype)
    unet = parts.part("unet").train()
    if checkpointing != "none":
        unet.enable_gradient_checkpointing()  # diffusers' own switch, as in the scripts
    parameters = []
    for name, parameter in unet.named_parameters():
        if "temporal_transformer_block" in name:
            parameter.data = parameter.data.float()
            parameters.append(parameter.requires_grad_(True))
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, fused=True)
    pixels = torch.rand(1, frames, 3, SIDES[size], SIDES[size]) * 2 - 1

    def step() -> None:
        latents = parts.encode(pixels, chunk=frames)
        strength = (-3.0 + 0.5 * torch.randn(1)).exp()
        first = pixels[:, :1] + strength * torch.randn_like(pixels[:, :1])
        condition = parts.encode_condition(first, frames, "repeat_first")
        embedding = parts.image_embedding(pixels[:, 0])
        sigma = (0.7 + 1.6 * torch.randn(1)).exp()
        noise = torch.randn_like(latents)
        noisy = latents + sigma * noise
        scaled = noisy / (sigma**2 + 1).sqrt()
        ids = torch.tensor([[6.0, 127.0, float(strength)]])
        with torch.autocast("cpu", BF16, enabled=dtype == BF16):
            output = unet(
                torch.cat([scaled, condition], dim=2), 0.25 * sigma.log(),
                encoder_hidden_states=embedding, added_time_ids=ids, return_dict=False,
            )[0].float()  # fmt: skip
        denoised = noisy / (sigma**2 + 1) - output * sigma / (sigma**2 + 1).sqrt()
        weight = (1 + sigma**2) / sigma**2
        (weight * (denoised - latents) ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return {"seconds": timed(step, number), "trained": sum(p.numel() for p in parameters)}
