"""Finds models by name or folder, and loads them."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from aid.conditioning.states import (
    NoStateWriter,
    StateWriter,
    choose_state_writer,
    state_writer_of_checkpoint,
)
from aid.config import (
    AdapterConfig,
    ConditionConfig,
    CrossAttentionConfig,
    DQFormerConfig,
    ModelConfig,
    SamplerConfig,
)
from aid.models.backbone import Backbone, backbone_hash, load_backbone
from aid.models.checkpoint import CheckpointInfo, load_checkpoint, read_info
from aid.models.denoiser import Denoiser
from aid.models.devices import dtype_of
from aid.models.folder import fetch_backbone, is_name
from aid.worlds import installed_worlds

PARTS = ("unet", "vae", "image_encoder", "text_encoder", "tokenizer")


def find_model(name_or_folder: str | Path, backbone: str | Path | None = None) -> tuple[Path, Path]:
    """The folders of a checkpoint and of its backbone.

    Args:
        name_or_folder: the name of an installed world's model ("tabletop"), a checkpoint folder,
            the folder of a run, or a folder that holds `aid/` (the checkpoint) and `backbone/`.
        backbone: as for `find_backbone`. None takes the model's own `backbone/`, and without one
            the backbone of an installed world that the checkpoint was trained on.

    Raises:
        ValueError: there is no such model, or no backbone for it.
    """
    folder = _find_folder(name_or_folder)
    checkpoint = _checkpoint_in(folder)
    if backbone is not None:
        return checkpoint, find_backbone(backbone)
    if (folder / "backbone").is_dir():
        return checkpoint, folder / "backbone"
    return checkpoint, _backbone_of(checkpoint)


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The checkpoint's folder, as `find_model` finds it; no backbone is needed.

    In the folder of a run it is `checkpoint`.
    """
    return _checkpoint_in(_find_folder(name_or_folder))


def find_backbone(name_or_folder: str | Path) -> Path:
    """The folder of a backbone.

    Args:
        name_or_folder: the name of an installed world ("tabletop"), a folder, or a name on the
            Hugging Face Hub (`models.folder`), which is downloaded once.
    """
    name = str(name_or_folder)
    if name in installed_worlds():
        return _find_folder(name) / "backbone"
    return fetch_backbone(name) if is_name(name) else Path(name_or_folder)


def _find_folder(name_or_folder: str | Path) -> Path:
    world = installed_worlds().get(str(name_or_folder))
    if world is not None:
        if world.model is None or not (world.model / "backbone" / "model_index.json").is_file():
            raise ValueError(
                f"the model of {world.name!r} is not in this installation (nothing in "
                f"{str(world.model)!r}). Install a release, which holds it, or train it."
            )
        return world.model
    folder = Path(name_or_folder)
    if not folder.is_dir():
        wrong = "is a file" if folder.exists() else "does not exist"
        names = "".join(
            f", or {name!r}" for name, world in installed_worlds().items() if world.model
        )
        raise ValueError(f"model {str(folder)!r} {wrong}. Give a checkpoint's folder{names}.")
    return folder


def _checkpoint_in(folder: Path) -> Path:
    inside = (folder / name for name in ("aid", "checkpoint"))
    return next((one for one in inside if one.is_dir()), folder)


def _backbone_of(checkpoint: Path) -> Path:
    """The installed world's backbone that a checkpoint was trained on, found by its hash."""
    wanted = read_info(checkpoint)
    models = [world.model for world in installed_worlds().values() if world.model is not None]
    for folder in (model / "backbone" for model in models):
        if folder.is_dir() and backbone_hash(folder) == wanted.backbone_hash:
            return folder
    raise ValueError(
        f"the checkpoint {str(checkpoint)!r} was trained on the backbone "
        f"{wanted.backbone_name!r} (hash {wanted.backbone_hash}), which is not beside it. "
        "Give its folder: --backbone"
    )


def load_model(
    name_or_folder: str | Path,
    backbone: str | Path | None,
    precision: str = "float32",
    num_frames: int | None = None,
) -> tuple[Backbone, Denoiser, CheckpointInfo]:
    """A checkpoint on its backbone.

    Args:
        name_or_folder: as for `find_model`.
        backbone: likewise.
        precision: of the frozen weights.
        num_frames: of a video, if it is not to be that of the training videos.

    Raises:
        ValueError: something is missing, damaged or does not fit.
    """
    checkpoint, folder = find_model(name_or_folder, backbone)
    parts = load_backbone(folder, PARTS, dtype_of(precision))
    denoiser, info = load_checkpoint(checkpoint, parts.part("unet"), backbone_hash(folder))
    merge_where_exact(denoiser)
    if num_frames is not None:
        denoiser.config = replace(denoiser.config, num_frames=num_frames)
    return parts, denoiser, info


def merge_where_exact(denoiser: Denoiser) -> None:
    """Adds LoRA's updates to float32 weights; computed separately they cost a third of the time.

    In half precision the updates would be lost in rounding.
    """
    if denoiser.dtype == torch.float32:
        denoiser.insertion.lora.merge()


def place(
    parts: Backbone, denoiser: Denoiser, device: torch.device, is_offloaded: bool = False
) -> None:
    """Moves a model to its device; offloaded frozen networks use the device one at a time."""
    if is_offloaded:
        denoiser.trained.to(device)
        parts.offload(device)
    else:
        parts.to(device)
        denoiser.to(device)


def load_backbone_only(
    backbone: str | Path, num_frames: int | None, precision: str = "float32"
) -> tuple[Backbone, Denoiser, SamplerConfig]:
    """The bare backbone as a denoiser without trained parts, with SVD's conditions.

    The sampler settings have the noise levels of the backbone's own scheduler.

    Args:
        backbone: as for `find_backbone`.
        num_frames: of a video; None takes that of the UNet's configuration.
        precision: of the backbone's weights.
    """
    folder = find_backbone(backbone)
    parts = load_backbone(folder, ("unet", "vae", "image_encoder"), dtype_of(precision))
    config = ModelConfig(
        num_frames=num_frames or parts.part("unet").config.num_frames,
        dqformer=DQFormerConfig(branches="none"),
        adapter=AdapterConfig(use_spatial=False, use_short_term=False, use_long_term=False),
        cross_attention=CrossAttentionConfig(trained="none"),
        condition=ConditionConfig(frame_condition="repeat_first", fps=None),
    )
    denoiser = Denoiser(parts.part("unet"), 0, parts.image_dim, config).eval()
    scheduler = folder / "scheduler" / "scheduler_config.json"
    levels = json.loads(scheduler.read_text()) if scheduler.is_file() else {}
    names = ("sigma_min", "sigma_max")
    return parts, denoiser, SamplerConfig(**{n: levels[n] for n in names if levels.get(n)})


def describe_trained(denoiser: Denoiser) -> list[str]:
    """A line for each group of trained tensors, and the number of adapters without effect."""
    lines = []
    for group, parameters in denoiser.trainable_parameters().items():
        if parameters:
            norm = sum(float(p.detach().float().square().sum()) for p in parameters) ** 0.5
            numbers = sum(p.numel() for p in parameters)
            lines.append(
                f"{group:<16} {len(parameters)} tensors, {numbers:,} numbers, norm {norm:.4g}"
            )
    ups = [p for name, p in denoiser.trained.named_parameters() if name.endswith(".up.weight")]
    if idle := sum(not p.detach().any() for p in ups):
        lines.append(f"                 {idle} of {len(ups)} adapters are zero and have no effect")
    return lines


def describe(
    denoiser: Denoiser,
    backbone: str,
    info: CheckpointInfo | None,
    state_writer: str,
    sizes: str,
    sampler: SamplerConfig,
) -> str:
    """A line for each loaded part; without `info` the model is a bare backbone."""
    lines = []
    source = f"{backbone}, bare: it reads no instruction"
    if info is not None:
        source = f"{info.backbone_name} {info.backbone_hash}"
        lines = [f"checkpoint       step {info.step}, aid {info.aid_version}"]
    lines += [
        *describe_trained(denoiser),
        f"backbone         {source}",
        f"states           {state_writer}",
        f"device           {denoiser.device}, {str(denoiser.dtype).removeprefix('torch.')}",
        f"video            {denoiser.config.num_frames} frames, {sizes}",
        f"sampler          {sampler.num_steps} steps, image guidance {sampler.image_guidance:g}, "
        f"text guidance {sampler.text_guidance:g}, guided at {sampler.guided_at}"
        + f", static below {sampler.static_threshold:g}"
        * bool(sampler.static_threshold),
    ]
    return "\n".join(lines)


def state_writer_of(
    name_or_folder: str | Path,
    name: str | None = None,
    answers_file: Path | None = None,
    device: str | None = None,
) -> StateWriter:
    """The state writer with this name; without a name the model's own.

    No weights are loaded. `answers_file` stores a language model's answers; a model on this
    machine runs on `device`.
    """
    if name is not None:
        return choose_state_writer(name, answers_file=answers_file, device=device)
    return default_state_writer(read_info(find_checkpoint(name_or_folder)))


def default_state_writer(info: CheckpointInfo) -> StateWriter:
    """The state writer of a checkpoint, if it can be used without the user naming it."""
    if not info.model.dqformer.reads_states:
        return NoStateWriter()
    return state_writer_of_checkpoint(info.state_writer)
