"""Builds the parts of the embedded backbone, and saves them in SVD's directory layout.

Every class but the autoencoder is diffusers' or transformers' own at a smaller size; the
autoencoder has the interface of SVD's. So diffusers' `StableVideoDiffusionPipeline.from_pretrained(
folder)` loads the result where this package is installed.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    EulerDiscreteScheduler,
    UNetSpatioTemporalConditionModel,
)
from diffusers import __version__ as diffusers_version
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from aid.files import share
from aid.models.patch_autoencoder import PatchAutoencoder
from aid.tabletop.pretrain.config import AutoencoderConfig, ClipConfig, UNetConfig

CLIP_IMAGE_SIZE = 224  # the stock pipeline always resizes to this


def build_autoencoder(config: AutoencoderConfig) -> PatchAutoencoder:
    """The autoencoder of patches; its encoder is still to be set."""
    return PatchAutoencoder(
        latent_channels=config.latent_channels,
        block_out_channels=config.channels,
        layers_per_block=config.layers_per_block,
        sample_size=config.image_size,
    )


def build_unet(config: UNetConfig, context_dim: int, num_frames: int) -> nn.Module:
    """SVD's UNet class with random weights; levels with 0 heads have no attention."""
    down = [
        "CrossAttnDownBlockSpatioTemporal" if heads else "DownBlockSpatioTemporal"
        for heads in config.heads
    ]
    up = [
        "CrossAttnUpBlockSpatioTemporal" if heads else "UpBlockSpatioTemporal"
        for heads in reversed(config.heads)
    ]
    return UNetSpatioTemporalConditionModel(
        sample_size=config.latent_size,
        in_channels=2 * config.latent_channels,
        out_channels=config.latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=config.channels,
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=3 * 32,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=context_dim,
        num_attention_heads=tuple(max(1, heads) for heads in config.heads),
        num_frames=num_frames,
    )


def build_tokenizer(sentences: Iterable[str], max_length: int) -> CLIPTokenizer:
    """A CLIP tokenizer: every word of `sentences` is one token, other words become byte tokens."""
    specials = ["<|startoftext|>", "<|endoftext|>", "<|pad|>"]
    learner = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # The trainer numbers a word's last letters in the order of a randomly seeded hash map, and
    # numbers decide ties. Named beforehand, they have the same numbers in every run.
    endings = [letter + "</w>" for letter in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=specials + endings,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    learner.train_from_iterator(list(sentences), trainer)
    learned = json.loads(learner.to_str())["model"]
    vocab = dict(learned["vocab"])
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        pad_token="<|pad|>",
        model_max_length=max_length,
    )


def build_clip(config: ClipConfig, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP pair with random weights; SVD uses its image tower, AID both."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.dim,
        intermediate_size=4 * config.dim,
        num_hidden_layers=config.text_layers,
        num_attention_heads=config.num_heads,
        max_position_embeddings=config.max_length,
        projection_dim=config.dim,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=config.dim,
        intermediate_size=4 * config.dim,
        num_hidden_layers=config.image_layers,
        num_attention_heads=config.num_heads,
        image_size=CLIP_IMAGE_SIZE,
        patch_size=config.patch_size,
        projection_dim=config.dim,
        hidden_act="gelu",
    )
    clip = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=config.dim
    )
    return CLIPModel(clip)


def split_clip(clip: CLIPModel) -> tuple[CLIPVisionModelWithProjection, CLIPTextModel]:
    """The two towers as the classes that SVD and Stable Diffusion ship."""
    image_encoder = CLIPVisionModelWithProjection(clip.config.vision_config)
    state = clip.state_dict()
    image_encoder.load_state_dict(
        {k: v for k, v in state.items() if k.startswith(("vision_model.", "visual_projection."))}
    )
    text_encoder = CLIPTextModel(clip.config.text_config)
    prefix = (
        "" if any(k.startswith("text_model.") for k in text_encoder.state_dict()) else "text_model."
    )
    text_encoder.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith("text_model.")}
    )
    return image_encoder, text_encoder


def build_scheduler(sigma_min: float, sigma_max: float) -> EulerDiscreteScheduler:
    """SVD's scheduler with the noise range of small latents."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        interpolation_type="linear",
        use_karras_sigmas=True,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        timestep_spacing="leading",
        timestep_type="continuous",
        steps_offset=1,
    )


def build_feature_extractor() -> CLIPImageProcessor:
    """CLIP's image preprocessing as SVD ships it."""
    return CLIPImageProcessor(
        size={"shortest_edge": CLIP_IMAGE_SIZE},
        crop_size={"height": CLIP_IMAGE_SIZE, "width": CLIP_IMAGE_SIZE},
    )


SVD_AUTOENCODER = "AutoencoderKLTemporalDecoder"
_CLASSES = {
    "vae": ("aid.models.patch_autoencoder", "PatchAutoencoder"),
    "unet": ("diffusers", "UNetSpatioTemporalConditionModel"),
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
    "feature_extractor": ("transformers", "CLIPImageProcessor"),
}


def save_part(folder: Path, name: str, part: Any, half: bool = True) -> None:
    """Saves one part under its SVD name; networks as safetensors, in half precision if `half`.

    The text tower and its tokenizer are saved as `text_encoder` and `tokenizer`, as in Stable
    Diffusion. SVD's index does not name them, so the stock pipeline loads.
    """
    if isinstance(part, nn.Module):
        part = part.to("cpu")
    if isinstance(part, nn.Module) and half:
        part = part.to(torch.float16)
        with torch.no_grad():
            for parameter in part.parameters():
                parameter += 0.0  # -0 + 0 = 0: underflow to half precision leaves no sign
    part.save_pretrained(folder / name)
    share(folder / name)
    if isinstance(part, nn.Module):
        config = folder / name / "config.json"
        saved = json.loads(config.read_text())
        saved.pop("_name_or_path", None)  # a path of this machine
        if "dtype" in saved:
            # transformers computes in this dtype; the file's own dtype is only that of storage.
            saved["dtype"] = "float32"
        config.write_text(json.dumps(saved, indent=2) + "\n")
    index: dict[str, Any] = {
        "_class_name": "StableVideoDiffusionPipeline",
        "_diffusers_version": diffusers_version,
    }
    index |= {key: list(value) for key, value in _CLASSES.items()}
    vae = folder / "vae/config.json"
    if vae.is_file() and json.loads(vae.read_text())["_class_name"] == SVD_AUTOENCODER:
        index["vae"] = ["diffusers", SVD_AUTOENCODER]
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")
