"""A whole backbone with random weights in SVD's layout: at full size, or tiny."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from aid.predict import find_backbone

# diffusers' defaults of the UNet are SVD's; the others as the checkpoints' config.json have them.
UNET = {
    "full": {},
    "tiny": {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24,
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "num_attention_heads": (2, 2),
    },
}
VAE = {
    "full": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 768,
    },
    "tiny": {
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 1,
    },
}
VISION = {
    "full": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "patch_size": 14,
        "projection_dim": 1024,
        "hidden_act": "gelu",
    },
    "tiny": {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "patch_size": 56,
        "projection_dim": 32,
    },
}
TEXT = {
    "full": {
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}


def build(folder: Path, size: str) -> dict[str, int]:
    """Writes the backbone in bfloat16, part after part; returns each part's number of parameters.

    The tokenizer is the embedded backbone's: OpenAI's vocabulary cannot be made from nothing, and
    which words there are changes neither time nor memory.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    counts = {}
    for name, make in {
        "unet": lambda: UNetSpatioTemporalConditionModel(**UNET[size]),
        "vae": lambda: AutoencoderKLTemporalDecoder(**VAE[size]),
        "image_encoder": lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION[size])),
        "text_encoder": lambda: CLIPTextModel(CLIPTextConfig(**TEXT[size])),
    }.items():
        network = make()
        counts[name] = sum(p.numel() for p in network.parameters())
        network.save_pretrained(folder / name)
        del network
    torch.set_default_dtype(torch.float32)
    EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        prediction_type="v_prediction", interpolation_type="linear", use_karras_sigmas=True,
        sigma_min=0.002, sigma_max=700.0, timestep_spacing="leading", timestep_type="continuous",
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    shipped = find_backbone("tabletop") / "tokenizer"
    (folder / "tokenizer").mkdir(exist_ok=True)
    for file in shipped.iterdir():
        (folder / "tokenizer" / file.name).write_bytes(file.read_bytes())
    index = {"_class_name": "StableVideoDiffusionPipeline", "_diffusers_version": "0.42.1"}
    for name in ("unet", "vae", "image_encoder", "scheduler", "feature_extractor"):
        module = "transformers" if name in ("image_encoder", "feature_extractor") else "diffusers"
        kind = {
            "unet": "UNetSpatioTemporalConditionModel",
            "vae": "AutoencoderKLTemporalDecoder",
            "image_encoder": "CLIPVisionModelWithProjection",
            "scheduler": "EulerDiscreteScheduler",
            "feature_extractor": "CLIPImageProcessor",
        }[name]
        index[name] = [module, kind]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return counts
