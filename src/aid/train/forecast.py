"""The parameters, memory and steps of a training run, before anything is loaded.

One step is run on tensors without storage (`models.memory`), so the forecast follows every setting.
benchmarks/full_size compares it with measured peaks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from aid.config import ModelConfig, Precision, TrainConfig
from aid.data.cache import cache_size
from aid.models.attention import use_plain_attention
from aid.models.backbone import Backbone, empty_network
from aid.models.conditions import Conditions, TextTokens
from aid.models.denoiser import Denoiser
from aid.models.devices import dtype_of
from aid.models.insertion import weight_names
from aid.models.memory import MemoryCount, counting
from aid.models.sizes import BY_NAME, Configs, read_configs, sizes_of
from aid.optim.optimizer import moments_bytes

NUM_STATES = 4
GB = 1e9


@dataclass(frozen=True)
class Forecast:
    """Bytes by part while training, and numbers of parameters.

    `frozen`, `trained`, `gradients`, `optimizer` and `average` stay for the whole run;
    `activations` is the peak of a step beyond them. `process` is Python with its libraries. With
    `redraw_noise_aug` the VAE is part of `frozen`, and its encoder's peak counts.
    """

    parameters: dict[str, int]
    frozen: int
    trained: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    process: int

    @property
    def peak(self) -> int:
        """The sum of the parts."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """Bytes by part."""
        names = ("frozen", "trained", "gradients", "optimizer", "average", "activations", "process")
        return {name: getattr(self, name) for name in names}


def configs_of(backbone: str | Path) -> Configs:
    """The networks' configurations: published ones by name, else from the backbone's folder."""
    return BY_NAME.get(str(backbone)) or read_configs(Path(backbone))


def forecast_training(
    configs: Configs,
    model: ModelConfig,
    train: TrainConfig,
    height: int,
    width: int,
    process: int,
    is_cpu: bool = False,
    precision: Precision = "float32",
) -> Forecast:
    """Memory of `aid train` on one device.

    Args:
        configs: the backbone's.
        model: the trained part.
        train: batch size, checkpointing.
        height: of the videos, in pixels.
        width: likewise.
        process: bytes that Python and its libraries take.
        is_cpu: whether the device is a CPU, on which attention is computed in another way.
        precision: of the frozen weights and the arithmetic.
    """
    dtype = dtype_of(precision)
    with counting() as count, _default_dtype(dtype):
        unet = empty_network("unet", configs["unet"])
        frozen = count.live
        sizes = {name: p.numel() for name, p in unet.named_parameters()}
        torch.set_default_dtype(torch.float32)
        text_dim, image_dim = (configs[n]["hidden_size"] for n in ("text_encoder", "image_encoder"))
        frames = -(-model.num_frames // train.frame_stride)
        latents = empty_latents(configs, frames, train.batch_size, height, width)
        if is_cpu:
            use_plain_attention(unet, latents.shape[-1] * latents.shape[-2])
        before = count.live
        denoiser = Denoiser(unet, text_dim, image_dim, model).train()
        trained = count.live - before
        replaced = sum(sizes[name] for name in weight_names(unet, model.unet_weights))
        parameters = {"UNet, frozen": sum(sizes.values()) - replaced}
        if replaced:
            parameters["UNet, replaced"] = replaced  # kept aside, so that it can be given back
        groups = denoiser.trainable_parameters()
        parameters |= {
            f"{n}, trained": sum(p.numel() for p in ps) for n, ps in groups.items() if ps
        }
        own = [p for ps in groups.values() for p in ps]
        if train.use_gradient_checkpointing:
            denoiser.enable_gradient_checkpointing(train.checkpointed_levels)
        conditions = empty_conditions(configs, latents)
        activations, gradients = _step(count, denoiser, dtype, latents, conditions)
        if train.redraw_noise_aug:
            vae, encoding = _encoding(count, configs, model, train, height, width)
            parameters["VAE, frozen"] = vae // 4  # float32, as `prepare` encodes
            frozen, activations = frozen + vae, max(activations, encoding)
        optimizer = moments_bytes(own, train.optimizer)
    return Forecast(
        parameters=parameters, frozen=frozen, trained=trained, gradients=gradients,
        optimizer=optimizer, average=trained, activations=activations, process=process,
    )  # fmt: skip


def _step(
    count: MemoryCount, denoiser: Denoiser, dtype: torch.dtype, latents: Tensor, told: Conditions
) -> tuple[int, int]:
    """Bytes of activations and gradients of one step."""
    before = count.live
    count.restart()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        sigma = latents.new_ones(len(latents))
        loss = denoiser.loss(latents, torch.zeros_like(latents), sigma, told).mean()
    loss.backward()
    del loss, sigma
    gradients = count.live - before
    return count.peak - before - gradients, gradients


def _encoding(
    count: MemoryCount,
    configs: Configs,
    model: ModelConfig,
    train: TrainConfig,
    height: int,
    width: int,
) -> tuple[int, int]:
    """Bytes of the VAE's weights, and of its activations while it encodes the given frames."""
    before = count.live
    backbone = Backbone(folder=Path(), vae=empty_network("vae", configs["vae"]))
    weights = count.live - before
    num_given = len(range(0, model.condition.num_given_frames, train.frame_stride))
    given = torch.zeros(train.batch_size, num_given, 3, height, width)
    count.restart()
    backbone.encode_condition(given, num_given, "zero_latents")
    return weights, count.peak - before - weights


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def empty_latents(configs: Configs, frames: int, batch: int, height: int, width: int) -> Tensor:
    """Latents `b f c h w` of a backbone's videos of this size, all zero."""
    vae = configs["vae"]
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    return torch.zeros(batch, frames, vae["latent_channels"], height // scale, width // scale)


def empty_conditions(configs: Configs, latents: Tensor) -> Conditions:
    """Conditions of such latents, with the numbers of tokens that the encoders make."""
    b, text, image = len(latents), configs["text_encoder"], configs["image_encoder"]
    words = text.get("max_position_embeddings", 77)
    patches = 1 + (image.get("image_size", 224) // image["patch_size"]) ** 2
    mask = torch.ones(b, words, dtype=torch.bool)
    return Conditions(
        condition_latents=torch.zeros_like(latents),
        image_embedding=torch.zeros(b, 1, image["projection_dim"]),
        image_tokens=torch.zeros(b, patches, image["hidden_size"]),
        fps=torch.ones(b),
        motion_bucket_id=torch.ones(b),
        noise_aug_strength=torch.ones(b),
        text=TextTokens(
            instruction_tokens=torch.zeros(b, words, text["hidden_size"]),
            instruction_mask=mask,
            state_tokens=torch.zeros(b, NUM_STATES * words, text["hidden_size"]),
            state_mask=mask.repeat(1, NUM_STATES),
        ),
    )


def remedies(
    train: TrainConfig, precision: Precision
) -> Iterator[tuple[str, TrainConfig, Precision]]:
    """Changes for a run that does not fit, each in addition to those before, cheapest first."""
    if precision == "float32":
        precision = "bfloat16"
        yield "precision: bfloat16", train, precision
    if not train.use_gradient_checkpointing or train.checkpointed_levels is not None:
        train = replace(train, use_gradient_checkpointing=True, checkpointed_levels=None)
        yield "train.use_gradient_checkpointing: true", train, precision
    if train.batch_size > 1:
        train = replace(train, batch_size=1)
        yield "train.batch_size: 1", train, precision
    if train.optimizer == "adamw":
        train = replace(train, optimizer="adamw_8bit")
        yield "train.optimizer: adamw_8bit", train, precision


def forecast_lines(
    backbone: str,
    configs: Configs,
    model: ModelConfig,
    train: TrainConfig,
    height: int,
    width: int,
    *,
    num_videos: int,
    num_sentences: int,
    available: float | int,
    process: int,
    is_cpu: bool,
    precision: Precision,
) -> Iterator[str]:
    """The forecast as lines of text: parameters, memory by part, cache, steps, and what to change.

    Args:
        backbone: its name, to print.
        configs: `configs_of` the backbone.
        model: the trained part.
        train: the training settings.
        height: of the videos, in pixels.
        width: likewise.
        num_videos: in the cache.
        num_sentences: distinct instructions and states in it.
        available: bytes of the device.
        process: bytes of Python and its libraries.
        is_cpu: whether the device is a CPU.
        precision: of the frozen weights and the arithmetic.

    Raises:
        ValueError: the networks cannot halve this height and width.
    """
    _check_size(configs, height, width)

    def forecast(train: TrainConfig, precision: Precision) -> Forecast:
        return forecast_training(configs, model, train, height, width, process, is_cpu, precision)

    found = forecast(train, precision)
    yield f"backbone         {backbone}, {model.num_frames} frames of {width}x{height}"
    for name, number in found.parameters.items():
        yield f"{name:<24} {number / 1e6:>9,.2f} M parameters"
    for name, number in found.parts().items():
        yield f"{name:<24} {number / GB:>9,.2f} GB"
    yield f"{'peak while training':<24} {found.peak / GB:>9,.2f} GB of {available / GB:,.1f} GB"
    sizes = sizes_of(configs)
    cache = cache_size(  # at most: no two videos share a first frame, all sentences are long
        sizes,
        num_videos=num_videos,
        num_firsts=num_videos,
        num_tokens=num_sentences * sizes.num_text_tokens,
        num_frames=model.num_frames,
        num_given_frames=model.condition.num_given_frames,
        height=height,
        width=width,
    )
    yield (
        f"{'cache':<24} {cache.total / GB:>9,.2f} GB for {num_videos:,} videos, "
        f"{num_sentences:,} sentences"
    )
    each = train.batch_size * train.accumulate
    epochs = train.steps * each / num_videos
    yield f"{'steps':<24} {train.steps:>9,} of {each} videos, {epochs:.1f} epochs"
    if found.peak <= available:
        yield "it fits."
        return
    yield "it does not fit. Change, each in addition to those before:"
    before = found.peak
    for change, changed, changed_precision in remedies(train, precision):
        peak = forecast(changed, changed_precision).peak
        if peak >= before:  # such as 8-bit moments of very small tensors
            continue
        before = peak
        yield f"  {change:<40} {peak / GB:>7,.2f} GB"
        if peak <= available:
            return
    yield "  and still it does not fit: fewer frames, smaller videos, or a larger device."


def _check_size(configs: Configs, height: int, width: int) -> None:
    scale = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    levels = len(configs["unet"].get("block_out_channels", (320, 640, 1280, 1280)))
    side = scale * 2 ** (levels - 1)
    if height % side or width % side:
        raise ValueError(
            f"height and width must be multiples of {side} for this backbone, got {height} and "
            f"{width}. Try {max(1, height // side) * side} and {max(1, width // side) * side}."
        )
