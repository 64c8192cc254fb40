"""Sizes of the published networks, as their `config.json` files have them; nothing is loaded here.

`aid plan` forecasts with them before anything is downloaded, and the tests hold our layouts against
them. What is not named has the default of diffusers or transformers.
"""

from typing import Any

Configs = dict[str, dict[str, Any]]

OPENCLIP_H_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,  # of 24: the last is left out, so the output is the penultimate layer
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
    "pad_token_id": 1,
}
CLIP_L_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "pad_token_id": 1,
}
SVD: Configs = {
    "unet": {"num_frames": 14},  # all else is diffusers' default, which is SVD
    "vae": {
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "force_upcast": True,
    },
    "image_encoder": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "projection_dim": 1024,
        "hidden_act": "gelu",
    },
    "text_encoder": OPENCLIP_H_TEXT,
}
SVD_XT: Configs = SVD | {"unet": {"num_frames": 25}}
BY_NAME = {
    "stabilityai/stable-video-diffusion-img2vid": SVD,
    "stabilityai/stable-video-diffusion-img2vid-xt": SVD_XT,
}
