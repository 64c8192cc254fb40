"""One network of a backbone: its class, its configuration, loaded strictly or made empty.

`backbone.py` puts the loaded ones together; `aid.plan` makes empty ones.
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from aid.models.layout import part_folder, weight_files
from aid.models.published import Configs

NETWORKS = {
    "unet": UNetSpatioTemporalConditionModel,
    "vae": AutoencoderKLTemporalDecoder,
    "image_encoder": CLIPVisionModelWithProjection,
    "text_encoder": CLIPTextModel,
}


def read_configs(folder: Path) -> Configs:
    """The `config.json` of each network in a backbone folder.

    Raises:
        ValueError: one is missing.
    """
    found = {}
    for name in NETWORKS:
        file = part_folder(folder, name) / "config.json"
        if not file.is_file():
            raise ValueError(f"{str(file)!r} is missing. Copy it again.")
        found[name] = json.loads(file.read_text())
    return found


def empty_network(name: str, config: dict[str, Any]) -> nn.Module:
    """A network of this configuration with fresh weights, in the default dtype and device."""
    if name in ("unet", "vae"):
        return NETWORKS[name].from_config(config)
    return NETWORKS[name](
        {"image_encoder": CLIPVisionConfig, "text_encoder": CLIPTextConfig}[name](**config)
    )


REACHING = ("attn_implementation", "_attn_implementation", "auto_map", "quantization_config")
"""Settings with which transformers and diffusers fetch kernels or run code of the folder's own."""


def _check_reach(part: Path) -> None:
    """A backbone may come from a stranger: it is weights and sizes, and brings in nothing else."""
    file = part / "config.json"
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is missing. Copy it again.")
    if (part / "adapter_config.json").exists():
        raise ValueError(
            f"{str(part)!r} holds an adapter_config.json, which names another model to load. "
            "Delete it, or copy the part again from where the backbone comes from."
        )
    if found := [key for key in REACHING if json.loads(file.read_text()).get(key) is not None]:
        raise ValueError(
            f"{str(file)!r} sets {found[0]!r}, with which code or kernels from elsewhere would be "
            "run. Delete that line, or copy the file again from where the backbone comes from."
        )


def load_network(folder: Path, name: str, dtype: torch.dtype) -> nn.Module:
    """A network of a backbone folder, frozen and in evaluation mode.

    Raises:
        ValueError: a file is missing, damaged, or does not fit its `config.json` exactly.
    """
    files = weight_files(folder, name)
    _check_reach(folder / name)
    type_is_called = "dtype" if name in ("image_encoder", "text_encoder") else "torch_dtype"
    network, report = NETWORKS[name].from_pretrained(
        folder / name,
        use_safetensors=True,
        variant="fp16" if ".fp16." in files[0].name else None,
        output_loading_info=True,
        local_files_only=True,
        **{type_is_called: dtype},
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Older CLIP files carry the numbers 0, 1, 2, ... as a tensor.
        keys = sorted(str(key) for key in report[problem] if not str(key).endswith("position_ids"))
        if keys:
            raise ValueError(
                f"weights of {str(folder / name)!r} do not fit its config.json: "
                f"{problem.replace('_', ' ')} {', '.join(keys[:5])}. Copy both files again."
            )
    return network.requires_grad_(False).eval()
