"""The model card of a checkpoint: who opens the folder reads what it is and what it is not."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from aid.models.checkpoint import CheckpointInfo

SVD = "stabilityai/stable-video-diffusion-img2vid"
NO_FIGURES = "None are recorded here. Measure them: `aid evaluate`, then `aid card`."


def base_model(backbone_name: str) -> str | None:
    """The hub's name of a backbone from its folder's (`models.hub`), None for any other folder."""
    if "--" not in backbone_name:
        return None
    return backbone_name.rsplit("-", 2)[0].replace("--", "/", 1)


def model_card(
    info: "CheckpointInfo", tensors: Mapping[str, Tensor], figures: str | None = None
) -> str:
    """README.md of a checkpoint folder: facts from `info` only; what was not measured says so.

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
    lora = f"rank {model.lora.rank}, {model.lora.blocks} blocks" if model.lora.rank else "none"
    rows = {
        "backbone": f"{base or info.backbone_name} (not in this folder)",
        "hash of the backbone": f"`{info.backbone_hash}`",
        "trained tensors": f"{len(tensors)}, {numbers:,} numbers, safetensors",
        "branches of the DQFormer": model.dqformer.branches,
        "queries": f"{model.dqformer.queries_per_frame} queries per frame",
        "adapters": ", ".join(kinds) or "none",
        "LoRA": lora,
        "trained cross-attention": model.cross_attention.trained,
        "data": f"manifest `{info.data_fingerprint}`",
        "licence of the data": info.data_licence or "not recorded: look where the data comes from",
        "licence of the backbone": f"[Stability AI's]({licence})"
        if is_svd
        else "its folder does not say; look where it comes from",
        "states": "none"
        if info.state_writer == "none"
        else f"written by {info.state_writer}, which sees: {sees}",
        "videos": f"{model.num_frames} frames of {info.width}x{info.height}, {info.fps:g} a second",
        "given frames": f"{model.condition.num_given_frames}, filled: "
        f"{model.condition.frame_condition}",
        "steps of training": f"{info.step:,}",
        "sampling": f"{s.num_steps} steps, image guidance {s.image_guidance:g}, text guidance "
        f"{s.text_guidance:g}, guided at {s.guided_at}",
        "made with": f"aid-video {info.aid_version}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    told = f', backbone="{base}"' if base else ', backbone="FOLDER"'
    return f"""---
{front}
---

# AID: one frame and one instruction become the video of what happens next

The trained part of AID on a frozen image-to-video model. It is of use only with its backbone.

| | |
|---|---|
{table}

## Figures

{figures or NO_FIGURES}

## Use

```python
from aid import AIDPipeline

pipeline = AIDPipeline.from_pretrained("THIS FOLDER"{told})
videos = pipeline("frame.png", "what is to happen").frames
```

## Licence and limits

The backbone's licence holds for what is made with it, that of the data for what was learnt from it.
The model predicts what its training data showed. Do not steer machines with it.
"""
