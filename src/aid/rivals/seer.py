"""Seer: an image network with causal attention over time and a text for each frame (ICLR 2024).

    image network --> after each spatial transformer, attention over time in windows
                      (`layers.TemporalLayer`): frame i sees frames 0 .. i only
    instruction ----> FSText, the frame-sequential text decomposer --> tokens of each frame
                      --> cross-attention of that frame

    FSText:  y_0 = queries, learned for each frame and token
             y <- y + CausalAttn over tokens(y);  y <- y + Attn(y, text);  y <- y + FF(y)
             y <- y + CausalAttn over frames(y);  y <- y + FF(y)                 for every layer
    L = | eps - eps^ |^2 over the frames after the given one, which the network sees clean

(Gu et al. 2024.) Written from the paper and from facts about the authors' training; their code has
no licence and was not used. Trained on videos are the layers over time and FSText, nothing else;
text is never dropped there, and without text every frame reads the null text, not FSText of it.

Ours: FSText learns to repeat the text (its mean over frames, squared error, as in the original)
during the stage "image", where the original has a run of its own for it; queries start at random
instead of zero; positions are sinusoids; a new temporal layer starts as the identity; 25 DDIM steps
for 30, which does not divide 1,000.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from aid.rivals.ddpm import PredictNoise
from aid.rivals.inflation import (
    draw_after_given,
    frame_timesteps,
    loss_after_given,
    predict_noise,
    replace_layers,
)
from aid.rivals.layers import MultiHeadAttention, TemporalTransformer, order_mask
from aid.rivals.method import Sizes, Videos
from aid.rivals.text_to_image import (
    SMALL_IMAGE,
    STABLE_DIFFUSION_NOISE,
    ImageConfig,
    image_loss,
    make_image_unet,
    null_text,
)

OVER_TIME = ".temporal."


@dataclass(frozen=True, kw_only=True)
class SeerConfig:
    """Sizes and settings of Seer."""

    image: ImageConfig = field(default_factory=ImageConfig)
    """The text-to-image network."""
    image_share: float = 0.5
    """Share of the budget that trains it, and FSText to repeat the text (ours)."""
    order: Literal["raster", "frames"] = "raster"
    """What a token of a window may attend to: what precedes it in (frame, row, column), as Seer's
    triangular mask has it, or its own frame and all earlier ones."""
    given_feed_forward: Literal["always", "never", "drawing"] = "always"
    """When the temporal feed-forward layers run on the given frame. Seer's training leaves them out
    and its sampler runs them: "drawing"."""
    is_given_at_zero: bool = False
    """Whether the clean frame is at time step 0 or at that of the noisy frames (Seer)."""
    decomposer_depth: int = 4
    """Layers of FSText; Seer has 8."""
    decomposer_head_dim: int = 32
    """Width of its heads, a divisor of the text's width."""
    guidance: float = 7.5
    """Scale of classifier-free guidance."""
    num_steps: int = 25
    """DDIM steps."""


SMALL = SeerConfig(image=SMALL_IMAGE, decomposer_depth=2)
"""For latents of 16 x 16 cells on two CPU cores (ours)."""


class DecomposerLayer(nn.Module):
    """One layer of FSText, as in the module's docstring, each step with a norm before it."""

    def __init__(self, dim: int, head_dim: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(5))
        self.over_tokens = MultiHeadAttention(dim, head_dim)
        self.to_text = MultiHeadAttention(dim, head_dim)
        self.over_frames = MultiHeadAttention(dim, head_dim)
        self.feed_forward_1, self.feed_forward_2 = FeedForward(dim), FeedForward(dim)

    def forward(
        self,
        y: Float[Tensor, "b f n d"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b f n d"]:
        """The tokens of all frames after they have read the text and the frames before them."""
        f, n = y.shape[1:3]
        text, text_mask = (repeat(part, "b ... -> (b f) ...", f=f) for part in (text, text_mask))
        norms = iter(self.norms)
        y = rearrange(y, "b f n d -> (b f) n d")
        y = y + self.over_tokens(next(norms)(y), mask=order_mask("raster", 1, n, y.device))
        y = y + self.to_text(next(norms)(y), context=text, mask=text_mask[:, None])
        y = y + self.feed_forward_1(next(norms)(y))
        y = rearrange(y, "(b f) n d -> (b n) f d", f=f)
        y = y + self.over_frames(next(norms)(y), mask=order_mask("raster", f, 1, y.device))
        y = y + self.feed_forward_2(next(norms)(y))
        return rearrange(y, "(b n) f d -> b f n d", n=n)


class TextDecomposer(nn.Module):
    """FSText: tokens for each frame, out of one instruction."""

    def __init__(self, sizes: Sizes, depth: int, head_dim: int):
        super().__init__()
        shape = (sizes.num_frames, sizes.text_length, sizes.text_dim)
        self.queries = nn.Parameter(0.02 * torch.randn(shape))
        self.layers = nn.ModuleList(DecomposerLayer(sizes.text_dim, head_dim) for _ in range(depth))
        self.norm = nn.LayerNorm(sizes.text_dim)

    def forward(
        self, text: Float[Tensor, "b n d"], text_mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b f n d"]:
        """As many tokens for each frame as the text has."""
        y = self.queries.expand(len(text), -1, -1, -1)
        for layer in self.layers:
            y = layer(y, text, text_mask)
        return self.norm(y)

    def repetition_loss(
        self, text: Float[Tensor, "b n d"], text_mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, " b"]:
        """| mean over frames of FSText(text) - text |^2, over the tokens that are not padding."""
        error = (self(text, text_mask).float().mean(dim=1) - text).square().mean(dim=-1)
        return (error * text_mask).sum(dim=1) / text_mask.sum(dim=1).clamp(min=1)


class Seer:
    """Seer as a row of the comparison.

    Args:
        sizes: of the latents.
        config: sizes and settings.

    Raises:
        ValueError: a width does not fit, or the latents cannot be halved often enough.
    """

    space: Literal["latents"] = "latents"
    reads_text = True
    title = "Seer"
    learning_rates: Mapping[str, float] = {"image": 1e-3, "video": 1e-3}
    small: SeerConfig = SMALL

    def __init__(self, sizes: Sizes, config: SeerConfig = SeerConfig()) -> None:
        self.sizes = sizes
        self.config = config
        if sizes.text_dim % config.decomposer_head_dim:
            raise ValueError(
                f"Text tokens are {sizes.text_dim} wide, which heads of "
                f"{config.decomposer_head_dim} do not divide. Set decomposer_head_dim to a divisor."
            )
        self.stages = {"image": config.image_share, "video": 1 - config.image_share}
        self.unet = make_image_unet(config.image, sizes)
        replace_layers(
            self.unet,
            Transformer2DModel,
            lambda spatial: TemporalTransformer(spatial, order=config.order, is_windowed=True),
        )
        self.decomposer = TextDecomposer(sizes, config.decomposer_depth, config.decomposer_head_dim)
        self.network = nn.ModuleDict({"unet": self.unet, "decomposer": self.decomposer})

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """FSText, with the image network at first, then with the layers over time."""
        is_over_time = stage == "video"
        return {
            name: parameter
            for name, parameter in self.network.named_parameters()
            if name.startswith("decomposer.") or (OVER_TIME in name) == is_over_time
        }

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """|eps - eps^|^2; with the image network's, FSText's error in repeating the text."""
        if stage == "image":
            images = image_loss(self.unet, batch, self.config.image, generator)
            return images + self.decomposer.repetition_loss(batch.text, batch.text_mask)
        predict = self._predict(
            self.decomposer(batch.text, batch.text_mask),
            batch.text_mask,
            skips_given_feed_forward=self.config.given_feed_forward != "always",
        )
        return loss_after_given(predict, batch.videos, STABLE_DIFFUSION_NOISE, generator)

    @torch.no_grad()
    def draw(
        self,
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
        generator: torch.Generator,
        num_steps: int | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Videos that begin with the given frames; all others start from noise."""
        without_text = repeat(null_text(text), "b n d -> b f n d", f=self.sizes.num_frames)
        skips = self.config.given_feed_forward == "never"
        return draw_after_given(
            self._predict(self.decomposer(text, text_mask), text_mask, skips),
            self._predict(without_text, text_mask, skips),
            self.config.guidance,
            given,
            self.sizes.num_frames,
            STABLE_DIFFUSION_NOISE,
            num_steps or self.config.num_steps,
            generator,
        )

    def _predict(
        self,
        text: Float[Tensor, "b f n d"],
        text_mask: Bool[Tensor, "b n"],
        skips_given_feed_forward: bool,
    ) -> PredictNoise:
        def predict(noisy: Float[Tensor, "b f c h w"], timesteps: Int[Tensor, " b"]) -> Tensor:
            return predict_noise(
                self.unet,
                noisy,
                frame_timesteps(timesteps, noisy.shape[1], self.config.is_given_at_zero),
                text,
                text_mask,
                skips_given_feed_forward=skips_given_feed_forward,
            )

        return predict
