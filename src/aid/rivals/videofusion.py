"""VideoFusion: noise that the frames share, and noise of each frame, by two networks (CVPR 2023).

    x_t^i = sqrt(abar_t) x_0^i + sqrt(1 - abar_t) eps^i
    eps^i = sqrt(l_i) b + sqrt(1 - l_i) r^i            b: base noise, shared;  r^i: residual noise
    l_i = 1 for the base frame m, the middle one; lambda for all others

    b^   = B(x_t^m, t)                                 base network, an image model
    x'^i = x_t^i - sqrt(l_i) sqrt(1 - abar_t) sg[b^]   the shared noise is taken off
    r^^i = R(x'^i, sqrt(l_i) sg[b^], t, i)             residual network, with attention over time

    L = | eps^i - sqrt(l_i) sg[b^] - sqrt(1 - l_i) r^^i |^2 + | b - b^ |^2     sg: no gradient

(Luo et al. 2023; the released pipelines draw plain noise and have no base network, so
this is written from the paper.) Both networks are trained together and read the text. Drawing is
DDIM from decomposed noise: with independent noise there would be no b to find.

Ours: the given frame's latents are concatenated with the input of both networks, and it does not
count in the first term of the loss; how b^ reaches R; the sizes. About four times as many
parameters in B as in R, as in the paper (2 and 0.5 billion).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from aid.rivals.ddpm import PredictNoise, sample_ddim, with_guidance
from aid.rivals.inflation import predict_noise, replace_layers
from aid.rivals.layers import TemporalTransformer
from aid.rivals.method import Sizes, Videos
from aid.rivals.text_to_image import (
    STABLE_DIFFUSION_NOISE,
    ImageConfig,
    drop_text,
    make_image_unet,
    null_text,
)


@dataclass(frozen=True, kw_only=True)
class VideoFusionConfig:
    """Sizes and settings of VideoFusion."""

    base: ImageConfig = field(default_factory=lambda: ImageConfig(channels=(96, 160, 160)))
    """The base network."""
    residual: ImageConfig = field(default_factory=lambda: ImageConfig(channels=(32, 64, 96)))
    """The residual network, to which layers over time are added."""
    shared_noise: float = 0.5
    """Lambda: the part of a frame's noise, in variance, that all frames share."""
    text_dropout: float = 0.1
    """Share of videos whose text is replaced by the null text, for guidance (ours)."""
    guidance: float = 9.0
    """Scale of classifier-free guidance (the released pipeline's default)."""
    num_steps: int = 50
    """DDIM steps (ours)."""


SMALL = VideoFusionConfig(
    base=ImageConfig(channels=(96, 128, 128)), residual=ImageConfig(channels=(32, 64, 64))
)
"""For latents of 16 x 16 cells on two CPU cores (ours)."""


class VideoFusion:
    """VideoFusion as a row of the comparison.

    Args:
        sizes: of the latents.
        config: sizes and settings.

    Raises:
        ValueError: a width does not fit, or the latents cannot be halved often enough.
    """

    space: Literal["latents"] = "latents"
    reads_text = True
    title = "VideoFusion"
    stages: Mapping[str, float] = {"video": 1.0}
    learning_rates: Mapping[str, float] = {"video": 1e-3}
    small: VideoFusionConfig = SMALL

    def __init__(self, sizes: Sizes, config: VideoFusionConfig = VideoFusionConfig()) -> None:
        self.sizes = sizes
        self.config = config
        f, c = sizes.num_frames, sizes.channels
        self.base_frame = f // 2
        shares = torch.full((f,), config.shared_noise)
        shares[self.base_frame] = 1
        self.shares = shares[:, None, None, None]  # l_i, as f 1 1 1
        self.alphas_cumprod = STABLE_DIFFUSION_NOISE.alphas_cumprod()
        self.base = make_image_unet(config.base, sizes, in_channels=2 * c)
        self.residual = make_image_unet(
            config.residual, sizes, in_channels=3 * c, num_frame_labels=f
        )
        replace_layers(
            self.residual,
            Transformer2DModel,
            lambda spatial: TemporalTransformer(spatial, order="none", is_windowed=False),
        )
        self.network = nn.ModuleDict({"base": self.base, "residual": self.residual})

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """Both networks."""
        return dict(self.network.named_parameters())

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """The loss of the module's docstring; the given frame does not count in the first term."""
        videos = batch.videos
        timesteps = STABLE_DIFFUSION_NOISE.draw_timesteps(len(videos), generator)
        timesteps = timesteps.to(videos.device)
        noise, base = (part.to(videos.device) for part in self.draw_noise(len(videos), generator))
        noisy = STABLE_DIFFUSION_NOISE.add_noise(videos, noise, timesteps)
        text = drop_text(batch.text, self.config.text_dropout, generator)
        predicted, predicted_base = self.predict(
            noisy, timesteps, videos[:, 0], text, batch.text_mask
        )
        error = (predicted[:, 1:].float() - noise[:, 1:]).square().mean(dim=(1, 2, 3, 4))
        return error + (predicted_base.float() - base).square().mean(dim=(1, 2, 3))

    def draw_noise(
        self, batch_size: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b c h w"]]:
        """Decomposed noise eps = sqrt(l) b + sqrt(1 - l) r, and b."""
        s = self.sizes
        base = torch.randn(batch_size, 1, s.channels, s.height, s.width, generator=generator)
        own = torch.randn(
            batch_size, s.num_frames, s.channels, s.height, s.width, generator=generator
        )
        return self.shares.sqrt() * base + (1 - self.shares).sqrt() * own, base[:, 0]

    def predict(
        self,
        noisy: Float[Tensor, "b f c h w"],
        timesteps: Int[Tensor, " b"],
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b f c h w"], Float[Tensor, "b c h w"]]:
        """eps^ of every frame and b^. Gradients of eps^ reach the residual network only."""
        f = noisy.shape[1]
        base = self.base(
            torch.cat([noisy[:, self.base_frame], given], dim=1),
            timesteps,
            encoder_hidden_states=text,
            encoder_attention_mask=text_mask,
        ).sample
        shares = self.shares.to(noisy.device)
        shared = shares.sqrt() * base.detach()[:, None]  # b f c h w
        level = (1 - self.alphas_cumprod.to(noisy.device)[timesteps]).sqrt()[:, *[None] * 4]
        own = predict_noise(
            self.residual,
            torch.cat(
                [noisy - level * shared, shared, repeat(given, "b c h w -> b f c h w", f=f)], dim=2
            ),
            repeat(timesteps, "b -> b f", f=f),
            repeat(text, "b n d -> b f n d", f=f),
            text_mask,
            frame_labels=torch.arange(f, device=noisy.device),
        )
        return shared + (1 - shares).sqrt() * own, base

    @torch.no_grad()
    def draw(
        self,
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
        generator: torch.Generator,
        num_steps: int | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Videos out of decomposed noise; their first frame is replaced by the given one."""

        def reading(tokens: Float[Tensor, "b n d"]) -> PredictNoise:
            return lambda noisy, t: self.predict(noisy, t, given, tokens, text_mask)[0]

        noise, _ = self.draw_noise(len(given), generator)
        guided = with_guidance(reading(text), reading(null_text(text)), self.config.guidance)
        steps = num_steps or self.config.num_steps
        drawn = sample_ddim(guided, noise.to(given.device), STABLE_DIFFUSION_NOISE, steps)
        return torch.cat([given[:, None], drawn[:, 1:]], dim=1)
