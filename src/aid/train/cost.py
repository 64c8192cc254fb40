"""The floating-point operations of a step of `aid train`, before anything is loaded."""

from aid.config import ModelConfig, TrainConfig
from aid.models.attention import use_plain_attention
from aid.models.backbone import empty_network
from aid.models.denoiser import Denoiser
from aid.models.memory import counting
from aid.models.sizes import Configs
from aid.optim.flops import count_flops
from aid.train.forecast import empty_conditions, empty_latents


def step_cost(
    configs: Configs, model: ModelConfig, train: TrainConfig, height: int, width: int
) -> tuple[int, int, int]:
    """Floating-point operations of an optimizer step, trained parameters, and all parameters.

    The step is run on tensors without storage. It has the videos of one process; a video has four
    states. The frozen encoders, which made the cache, are no part of it.

    Args:
        configs: the backbone's.
        model: the trained part.
        train: batch size, accumulated passes, checkpointing.
        height: of the videos, in pixels.
        width: likewise.
    """
    with counting():
        unet = empty_network("unet", configs["unet"])
        number = sum(p.numel() for p in unet.parameters())
        frames = -(-model.num_frames // train.frame_stride)
        latents = empty_latents(configs, frames, train.batch_size, height, width)
        use_plain_attention(unet, latents.shape[-1] * latents.shape[-2])
        text_dim, image_dim = (configs[n]["hidden_size"] for n in ("text_encoder", "image_encoder"))
        denoiser = Denoiser(unet, text_dim, image_dim, model).train()
        if train.use_gradient_checkpointing:
            denoiser.enable_gradient_checkpointing(train.checkpointed_levels)
        told, sigma = empty_conditions(configs, latents), latents.new_ones(len(latents))
        flops = count_flops(
            lambda: denoiser.loss(latents, latents.new_zeros(latents.shape), sigma, told).mean()
        )
        groups = denoiser.trainable_parameters()
        trained = sum(p.numel() for parameters in groups.values() for p in parameters)
        replaced = sum(p.numel() for p in groups.get("weights", ()))
    return flops * train.accumulate, trained, number + trained - replaced
