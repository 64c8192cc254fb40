"""A whole backbone of SVD's family with random weights, small enough for a CPU."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

SENTENCE = "push the red green blue cube ball left right lift drop it then stop hand at"


def tiny_unet(
    latent_channels: int = 4, channels: tuple[int, int] = (32, 32)
) -> UNetSpatioTemporalConditionModel:
    """SVD's UNet for 8x8 latents and 3 frames: every kind of block once."""
    return UNetSpatioTemporalConditionModel(
        sample_size=8,
        in_channels=2 * latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=channels,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=32,
        num_attention_heads=(2, 2),
        num_frames=3,
    )


def tiny_vae(latent_channels: int = 4) -> AutoencoderKLTemporalDecoder:
    """SVD's autoencoder, 8 pixels per latent cell as in SVD."""
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        latent_channels=latent_channels,
        sample_size=64,
    )


def tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows a few words and spells out the rest."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{x}</w>" for x in letters)]
    merges = []
    for word in SENTENCE.split():
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            symbols = [symbols[0] + symbols[1], *symbols[2:]]
            pieces.append(symbols[0])
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=list(dict.fromkeys(merges)), model_max_length=16)


def build_tiny_backbone(folder: Path, seed: int = 0, latent_channels: int = 4) -> Path:
    """Writes a whole backbone with random weights in SVD's layout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        vision = CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=224,
            patch_size=112,
            projection_dim=32,
        )
        text = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        pipeline = StableVideoDiffusionPipeline(
            vae=tiny_vae(latent_channels),
            image_encoder=CLIPVisionModelWithProjection(vision),
            unet=tiny_unet(latent_channels),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                prediction_type="v_prediction",
                interpolation_type="linear",
                use_karras_sigmas=True,
                sigma_min=0.002,
                sigma_max=700.0,
                timestep_spacing="leading",
                timestep_type="continuous",
                steps_offset=1,
            ),
            feature_extractor=CLIPImageProcessor(),
        )
        pipeline.save_pretrained(folder)
        CLIPTextModel(text).save_pretrained(folder / "text_encoder")
        tokenizer.save_pretrained(folder / "tokenizer")
    return folder
