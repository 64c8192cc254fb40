"""Image networks that take videos: frames become samples of the batch, new layers join them.

`predict_noise` runs an inflated UNet on videos; the new layers find out the number of frames by the
keyword `num_frames`, without which they leave the image network as it is. The given frame is clean
(ours for Tune-A-Video, Seer's own way for Seer), so only the others are noised, counted and drawn.
"""

from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from aid.rivals.ddpm import NoiseSchedule, PredictNoise, sample_ddim, with_guidance


def replace_layers(network: nn.Module, kind: type[nn.Module], make: Callable) -> None:
    """Replaces every layer of a kind by `make(layer)`."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, kind):
            network.set_submodule(name, make(layer))


def predict_noise(
    unet: UNet2DConditionModel,
    noisy: Float[Tensor, "b f c h w"],
    timesteps: Int[Tensor, "b f"],
    text: Float[Tensor, "b f n d"],
    text_mask: Bool[Tensor, "b n"],
    frame_labels: Int[Tensor, " f"] | None = None,
    **settings: bool,
) -> Float[Tensor, "b f c_out h w"]:
    """eps^ of every frame, by an inflated image UNet.

    Args:
        unet: with layers that join frames.
        noisy: its input, the noisy latents and what is concatenated with them.
        timesteps: of each frame.
        text: tokens that each frame reads.
        text_mask: True at tokens, False at padding.
        frame_labels: frame numbers, if the UNet has vectors for them.
        settings: what the new layers take beside the number of frames.
    """
    b, f = noisy.shape[:2]
    predicted = unet(
        rearrange(noisy, "b f c h w -> (b f) c h w"),
        rearrange(timesteps, "b f -> (b f)"),
        encoder_hidden_states=rearrange(text, "b f n d -> (b f) n d"),
        encoder_attention_mask=repeat(text_mask, "b n -> (b f) n", f=f),
        class_labels=None if frame_labels is None else frame_labels.repeat(b),
        cross_attention_kwargs={"num_frames": f, **settings},
    ).sample.float()
    return rearrange(predicted, "(b f) c h w -> b f c h w", f=f)


def frame_timesteps(
    timesteps: Int[Tensor, " b"], num_frames: int, is_given_at_zero: bool
) -> Int[Tensor, "b f"]:
    """The time step of every frame; the given, clean frame may have 0 instead of the others'."""
    per_frame = repeat(timesteps, "b -> b f", f=num_frames).clone()
    if is_given_at_zero:
        per_frame[:, 0] = 0
    return per_frame


def loss_after_given(
    predict: PredictNoise,
    videos: Float[Tensor, "b f c h w"],
    schedule: NoiseSchedule,
    generator: torch.Generator,
) -> Float[Tensor, " b"]:
    """|eps - eps^|^2 of all frames but the first, which the network sees clean.

    Args:
        predict: eps^ of videos whose frame 0 is clean, at the other frames' time steps `b`.
        videos: clean latents.
        schedule: how noise is added.
        generator: of time steps and noise, on the CPU.
    """
    given, later = videos[:, :1], videos[:, 1:]
    timesteps = schedule.draw_timesteps(len(videos), generator).to(videos.device)
    noise = torch.randn(later.shape, generator=generator).to(videos.device)
    noisy = schedule.add_noise(later, noise, timesteps)
    predicted = predict(torch.cat([given, noisy], dim=1), timesteps)
    return (predicted[:, 1:].float() - noise).square().mean(dim=(1, 2, 3, 4))


def draw_after_given(
    conditional: PredictNoise,
    unconditional: PredictNoise,
    guidance: float,
    given: Float[Tensor, "b c h w"],
    num_frames: int,
    schedule: NoiseSchedule,
    num_steps: int,
    generator: torch.Generator,
) -> Float[Tensor, "b f c h w"]:
    """The given frame and, drawn by DDIM, the frames after it.

    Args:
        conditional: eps^ of videos whose frame 0 is clean, with text.
        unconditional: the same without.
        guidance: scale of classifier-free guidance.
        given: frame 0, which no step changes.
        num_frames: f.
        schedule: the one of the training.
        num_steps: sampling steps.
        generator: of the noise, on the CPU.
    """

    def later(predict: PredictNoise) -> PredictNoise:
        return lambda noisy, t: predict(torch.cat([given[:, None], noisy], dim=1), t)[:, 1:]

    shape = (len(given), num_frames - 1, *given.shape[1:])
    noise = torch.randn(shape, generator=generator).to(given.device)
    guided = with_guidance(later(conditional), later(unconditional), guidance)
    drawn = sample_ddim(guided, noise, schedule, num_steps)
    return torch.cat([given[:, None], drawn], dim=1)
