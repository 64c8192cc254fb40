"""A checkpoint: AID's trained tensors and what is needed to use them again, as a folder.

`train` saves, `predict` and `evaluate` load. The folder holds `trained.safetensors`, `config.json`
and a model card; the backbone is not in it, only its name and hash. Nothing is pickled, a folder is
written whole or not at all, and loading is strict.
"""

import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from aid.config import (
    FrameConfig,
    ModelConfig,
    SamplerConfig,
    SourceConfig,
    from_json,
    to_json,
)
from aid.config.bounds import LARGEST_WIDTH, require, require_size
from aid.files import whole_folder, write_whole
from aid.models.denoiser import Denoiser

WEIGHTS, CONFIG, CARD = "trained.safetensors", "config.json", "README.md"
SVD = "stabilityai/stable-video-diffusion-img2vid"
NO_FIGURES = "None are recorded here. `aid evaluate` measures them and writes them here."
OPTIONAL = {"states_see", "data_licence", "source", "frames"}
"""What a checkpoint may lack."""
MOST_BYTES = 1_000_000  # of config.json, which has some thousand
MOST_CHARACTERS = 1000  # of a text in it


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """The contents of a checkpoint besides its tensors.

    `backbone_hash` is `models.backbone.backbone_hash` of the frozen weights; `backbone_name` is for
    people. `sampler` holds the settings for predicting by default. `state_writer` names
    who wrote the states of the training data and `states_see` what they are made from (None: not
    known), `data_fingerprint` which data that was and `data_licence` what its
    source says of its licence (None: nothing), and `step` is the number of optimizer steps made.
    `height`, `width` (pixels) and `fps` are those of the training videos. `source` and `frames` are
    the `SourceConfig` and the `FrameConfig` that the training data was read with, as JSON values
    (empty: not known).
    """

    model: ModelConfig
    sampler: SamplerConfig
    text_dim: int
    image_dim: int
    backbone_hash: str
    backbone_name: str
    state_writer: str
    data_fingerprint: str
    step: int
    height: int
    width: int
    fps: float
    states_see: tuple[str, ...] | None = None
    data_licence: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, Any] = field(default_factory=dict)
    aid_version: str = field(default_factory=lambda: version("aid-video"))

    def __post_init__(self) -> None:
        """Refuses sizes that fit no machine and texts with control characters."""
        require_size(self.height, self.width, self.model.num_frames)
        widths = dict.fromkeys(("text_dim", "image_dim"), (1, LARGEST_WIDTH))
        require(self, fps=(1e-6, 1e6), step=(0, 10**12), **widths)
        texts = {one.name: getattr(self, one.name) for one in fields(self)}
        for group in ("source", "frames"):
            texts |= {f"{group}.{key}": value for key, value in getattr(self, group).items()}
        for name, value in texts.items():
            if isinstance(value, str) and (len(value) > MOST_CHARACTERS or not _is_plain(value)):
                raise ValueError(
                    f"{name} must be text of at most {MOST_CHARACTERS} characters without "
                    f"control characters, got {reprlib.repr(value)}."
                )


def save_checkpoint(
    folder: Path | str,
    denoiser: Denoiser,
    info: CheckpointInfo,
    trained: dict[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    figures: str | None = None,
) -> None:
    """Writes a checkpoint folder, whole or not at all; one that exists is replaced.

    Args:
        folder: where.
        denoiser: gives the trained tensors.
        info: goes into `config.json`.
        trained: other tensors under the same names to save instead, such as averaged ones.
        dtype: of the saved tensors; float16 halves the file.
        figures: what was measured with these tensors, for the model card.
    """
    tensors = denoiser.trained_state_dict() if trained is None else trained
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in tensors.items()}
    # `1e999` is infinity in valid JSON, `Infinity` is not.
    text = json.dumps(to_json(info), indent=2).replace("Infinity", "1e999")
    known = {"format": "pt", "sha256": _digest(tensors), "model": _hash(to_json(info.model))}
    with whole_folder(folder) as made:
        save_file(tensors, made / WEIGHTS, metadata=known)
        (made / CONFIG).write_text(text + "\n")
        (made / CARD).write_text(model_card(info, tensors, figures))


def write_card(folder: Path | str, figures: str | None) -> Path:
    """Writes the model card of a checkpoint folder again, with these figures; returns its path.

    Raises:
        ValueError: there are no figures, and the card that is there has some.
    """
    folder = Path(folder)
    card = folder / CARD
    if figures is None and card.is_file() and NO_FIGURES not in card.read_text(encoding="utf-8"):
        raise ValueError(
            f"no score card of these weights lies beside {str(folder)!r}, so its model card stays "
            "as it is. Run aid evaluate on it."
        )
    info, tensors = read_info(folder), read_trained(folder)
    write_whole(card, model_card(info, tensors, figures))
    return card


def trained_hash(tensors: Mapping[str, Tensor]) -> str:
    """The hash of trained tensors in a score card, from their names and float32 values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def read_info(folder: Path | str) -> CheckpointInfo:
    """A checkpoint's `config.json`.

    Raises:
        ValueError: the folder is no checkpoint, or its config does not fit this version.
    """
    file = Path(folder) / CONFIG
    if not file.is_file():
        raise ValueError(
            f"{str(folder)!r} is not a checkpoint: it has no {CONFIG}. "
            f"Give a folder that `aid train` wrote ({CONFIG} and {WEIGHTS})."
        )
    if (size := file.stat().st_size) > MOST_BYTES:
        raise ValueError(
            f"{str(file)!r} has {size:,} bytes, more than the {MOST_BYTES:,} that are read. Copy "
            "it again."
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(file)!r} is damaged ({error}). Copy it again.") from None
    if not isinstance(values, dict):
        raise ValueError(f"{str(file)!r} is damaged (no settings by name). Copy it again.")
    needed = {f.name for f in fields(CheckpointInfo)} - OPTIONAL
    if missing := sorted(needed - set(values)):
        raise ValueError(
            f"{str(file)!r} lacks {', '.join(missing)}; this is aid {version('aid-video')}. "
            "Load it with the version of aid that wrote it."
        )
    try:
        info = from_json(CheckpointInfo, values)
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: {error}") from None
    try:
        from_json(SourceConfig, info.source), from_json(FrameConfig, info.frames)
    except ValueError as error:
        raise ValueError(f"{str(file)!r}: the data settings are damaged: {error}") from None
    return info


def load_checkpoint(
    folder: Path | str, unet: nn.Module, backbone_hash: str
) -> tuple[Denoiser, CheckpointInfo]:
    """A denoiser on `unet` with the checkpoint's trained tensors, and what is known about it.

    Args:
        folder: the checkpoint.
        unet: the backbone's, not yet joined by another denoiser.
        backbone_hash: of the backbone that `unet` comes from.

    Raises:
        ValueError: another backbone, a missing or damaged file, or names that do not fit.
    """
    info = read_info(folder)
    if info.backbone_hash != backbone_hash:
        raise ValueError(
            f"checkpoint {str(folder)!r} was trained on backbone {info.backbone_name!r} "
            f"({info.backbone_hash}), but this backbone is {backbone_hash}. Load the backbone it "
            "was trained on, or train on this one."
        )
    try:
        _check_shapes(Path(folder) / WEIGHTS, unet, info)
    except ValueError as error:
        raise ValueError(f"{str(Path(folder) / WEIGHTS)!r}: {error}") from None
    tensors = read_trained(folder)
    denoiser = Denoiser(unet, info.text_dim, info.image_dim, info.model)
    denoiser.load_trained_state_dict(tensors)
    return denoiser.eval(), info


def _check_shapes(file: Path, unet: nn.Module, info: CheckpointInfo) -> None:
    """Compares the tensors that the settings ask for with those of the file, without making any.

    So settings of unknown origin cannot request more memory than the file has bytes.

    Raises:
        ValueError: the file is missing or damaged, or names or shapes differ.
    """
    stored = {name: torch.empty(shape, device="meta") for name, shape in _shapes(file).items()}
    with torch.device("meta"):
        draft = Denoiser(unet, info.text_dim, info.image_dim, info.model)
    try:
        draft.check_trained(stored)
    finally:
        draft.insertion.detach()


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in a file, from its header."""
    with _opened(file) as opened:
        names = opened.keys()  # it is no dict
        return {name: tuple(opened.get_slice(name).get_shape()) for name in names}


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is missing. Copy the whole checkpoint folder again.")
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except SafetensorError as error:
        raise ValueError(
            f"{str(file)!r} is damaged or incomplete ({error}). Copy the checkpoint again."
        ) from None


def read_trained(folder: Path | str) -> dict[str, Tensor]:
    """The trained tensors of a checkpoint folder, as they are stored.

    Raises:
        ValueError: the file is missing or damaged, or is another checkpoint's.
    """
    # Hashed as written, not as read: a setting that a later version adds changes nothing.
    model = _hash(json.loads((Path(folder) / CONFIG).read_text())["model"])
    return _read_tensors(Path(folder) / WEIGHTS, model)


def _read_tensors(file: Path, model: str) -> dict[str, Tensor]:
    with _opened(file) as opened:
        known = opened.metadata() or {}
        tensors = load_file(file)
    if lost := [name for name in ("sha256", "model") if name not in known]:
        raise ValueError(
            f"{str(file)!r} does not name its {' and '.join(lost)} hash, which every checkpoint of "
            "aid does: another program has written it, and damage could not be noticed. Take the "
            "file as it was saved."
        )
    if known["sha256"] != _digest(tensors):
        raise ValueError(
            f"{str(file)!r} is damaged: its tensors do not have the SHA-256 that it names. Copy "
            "the checkpoint again."
        )
    if known["model"] != model:
        raise ValueError(
            f"{str(file)!r} was saved with other `model` settings than {CONFIG} has. Copy both "
            "files of the checkpoint again."
        )
    return tensors


def _is_plain(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bits."""
    made = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        made.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return made.hexdigest()


def _hash(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def base_model(backbone_name: str) -> str | None:
    """The hub's name of a backbone from its folder's name, None for other folders."""
    if "--" not in backbone_name:
        return None
    return backbone_name.rsplit("-", 2)[0].replace("--", "/", 1)


def model_card(
    info: CheckpointInfo, tensors: Mapping[str, Tensor], figures: str | None = None
) -> str:
    """README.md of a checkpoint folder, from `info` and measured figures only.

    Args:
        info: the checkpoint's.
        tensors: likewise.
        figures: Markdown of what was measured with these tensors, headings below level 2.
    """
    base = base_model(info.backbone_name)
    is_svd = base is not None and base.startswith(SVD)
    head = {"library_name": "aid-video", "tags": ["video-prediction", "image-to-video", "aid"]}
    head["license"] = "other"
    if base is not None:
        head["base_model"] = base
    licence = f"https://huggingface.co/{base}/blob/main/LICENSE.md"
    if is_svd:
        head |= {"license_name": "stable-video-diffusion-community", "license_link": licence}
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in head.items())
    model, s = info.model, info.sampler
    sees = ", ".join(info.states_see) if info.states_see else "not recorded"
    numbers = sum(tensor.numel() for tensor in tensors.values())
    kinds = [
        k for k in ("spatial", "short_term", "long_term") if getattr(model.adapter, f"use_{k}")
    ]
    layers = model.lora.layers.replace("_", " ")
    blocks = model.lora.blocks.replace("both", "spatial and temporal")
    lora = f"rank {model.lora.rank} on {layers} of the {blocks} blocks"
    parts = Counter[str]()
    for name, tensor in tensors.items():
        parts[name.split(".")[0]] += tensor.numel()
    shares = ", ".join(f"{name} {n:,} ({n / numbers:.0%})" for name, n in parts.most_common())
    folder = base or f"a folder named `{info.backbone_name}`"
    rows = {
        "backbone (not in this folder)": f"{folder}, hash `{info.backbone_hash}`",
        "trained numbers": f"{numbers:,} in {len(tensors)} tensors (safetensors): {shares}",
        "branches of the DQFormer": model.dqformer.branches,
        "queries": f"{model.dqformer.queries_per_frame} queries per frame",
        "adapters": ", ".join(kinds) or "none",
        "LoRA": lora if model.lora.rank else "none",
        "trained cross-attention": model.cross_attention.trained,
        "data": f"manifest `{info.data_fingerprint}`",
        "licence of the data": info.data_licence or "not recorded: see where the data comes from",
        "licence of the backbone": f"[Stability AI's]({licence})"
        if is_svd
        else "not recorded: see where it comes from",
        "states": "none"
        if info.state_writer == "none"
        else f"written by {info.state_writer}, which sees: {sees}",
        "videos": f"{model.num_frames} frames of {info.width}x{info.height}, {info.fps:g} a second",
        "given frames": f"{model.condition.num_given_frames}, filled: "
        f"{model.condition.frame_condition}",
        "steps of training": f"{info.step:,}",
        "sampling": f"{s.num_steps} steps, image guidance {s.image_guidance:g}, text guidance "
        f"{s.text_guidance:g}, guided at {s.guided_at}"
        + f", static below {s.static_threshold:g}"
        * bool(s.static_threshold),
        "made with": f"aid-video {info.aid_version}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    told = f', backbone="{base}"' if base else ', backbone="FOLDER"'
    return f"""---
{front}
---

# AID: one frame and one instruction become the video of what happens next

The trained part of AID on a frozen image-to-video model. It works only with its backbone.

| | |
|---|---|
{table}

## Figures

{figures or NO_FIGURES}

## Use

```python
from aid import AIDPipeline

pipeline = AIDPipeline.from_pretrained("THIS FOLDER"{told})
videos = pipeline("frame.png", "INSTRUCTION").frames
```

## Licence and limits

The backbone's licence applies to videos made with it, the licence of the data to what was learned
from them. The model predicts what its training data show. Do not control machines with it.
"""
