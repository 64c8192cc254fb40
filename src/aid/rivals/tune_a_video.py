"""Tune-A-Video: a text-to-image network whose attention looks at other frames (ICCV 2023).

In every transformer block, for the tokens x_i of frame i:

    x_i <- x_i + Attn(Q = W_q x_i,  K = W_k [x_0, x_(i-1)],  V = W_v [x_0, x_(i-1)])
    x_i <- x_i + Attn(Q = W_q x_i,  K and V from the text)
    x_i <- x_i + FeedForward(x_i)
    x   <- x + Attn over the frames of each cell                      new, starts at 0

(Wu et al. 2023; order and details as in showlab/Tune-A-Video, Apache-2.0.)
Each line has a norm before it, which is left out above. Trained on videos are W_q of both
attentions and the new attention, nothing else; text is never dropped there.

Ours: the original is tuned on the one video that it edits and starts from that video's noise by
DDIM inversion. Here it learns from a whole data set, frame 0 is given clean, at time step 0, and
not counted in the loss, and drawing starts from noise alone, so no answer is ever looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
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
from aid.rivals.method import Sizes, Videos
from aid.rivals.text_to_image import (
    SMALL_IMAGE,
    STABLE_DIFFUSION_NOISE,
    ImageConfig,
    image_loss,
    make_image_unet,
    null_text,
)

NEW = ("attn_temp.", "norm_temp.")
TRAINED = ("attn1.to_q.", "attn2.to_q.", "attn_temp.")


@dataclass(frozen=True, kw_only=True)
class TuneAVideoConfig:
    """Sizes and settings of Tune-A-Video."""

    image: ImageConfig = field(default_factory=ImageConfig)
    """The text-to-image network."""
    image_share: float = 0.5
    """Share of the budget that trains it (ours)."""
    guidance: float = 12.5
    """Scale of classifier-free guidance."""
    num_steps: int = 50
    """DDIM steps."""
    is_given_at_zero: bool = True
    """Whether the clean frame is at time step 0 (ours) or at that of the noisy frames."""


SMALL = TuneAVideoConfig(image=SMALL_IMAGE)
"""For latents of 16 x 16 cells on two CPU cores (ours)."""


class InflatedBlock(nn.Module):
    """A transformer block of the image network with the four steps of the module's docstring."""

    def __init__(self, image: BasicTransformerBlock):
        super().__init__()
        self.image = image
        self.norm_temp = nn.LayerNorm(image.dim)
        self.attn_temp = Attention(
            image.dim,
            heads=image.num_attention_heads,
            dim_head=image.attention_head_dim,
            processor=AttnProcessor(),
        )
        nn.init.zeros_(self.attn_temp.to_out[0].weight)
        # Ours: the original leaves the bias at random, so it does not start as the image network.
        nn.init.zeros_(self.attn_temp.to_out[0].bias)

    def forward(
        self,
        hidden_states: Float[Tensor, "bf n d"],
        encoder_hidden_states: Float[Tensor, "bf m e"],
        encoder_attention_mask: Float[Tensor, "bf 1 m"] | None = None,
        cross_attention_kwargs: Mapping[str, int] | None = None,
        **of_the_image_block: Tensor | None,
    ) -> Float[Tensor, "bf n d"]:
        """The tokens of all frames; without `num_frames` those of unrelated images."""
        if not cross_attention_kwargs:
            return self.image(
                hidden_states,
                encoder_hidden_states=encoder_hidden_states,
                encoder_attention_mask=encoder_attention_mask,
                **of_the_image_block,
            )
        f = cross_attention_kwargs["num_frames"]
        x, image = hidden_states, self.image
        normed = image.norm1(x)
        x = x + image.attn1(normed, encoder_hidden_states=first_and_previous(normed, f))
        x = x + image.attn2(
            image.norm2(x),
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=encoder_attention_mask,
        )
        x = x + image.ff(image.norm3(x))
        over_time = rearrange(x, "(b f) n d -> (b n) f d", f=f)
        over_time = over_time + self.attn_temp(self.norm_temp(over_time))
        return rearrange(over_time, "(b n) f d -> (b f) n d", n=x.shape[1])


def first_and_previous(tokens: Float[Tensor, "bf n d"], f: int) -> Float[Tensor, "bf two_n d"]:
    """For each frame i the tokens of frames 0 and i - 1; frame 0 has its own twice."""
    x = rearrange(tokens, "(b f) n d -> b f n d", f=f)
    first = x[:, :1].expand_as(x)
    previous = torch.cat([x[:, :1], x[:, :-1]], dim=1)
    return rearrange(torch.cat([first, previous], dim=2), "b f n d -> (b f) n d")


class TuneAVideo:
    """Tune-A-Video as a row of the comparison.

    Args:
        sizes: of the latents.
        config: sizes and settings.

    Raises:
        ValueError: a width does not fit, or the latents cannot be halved often enough.
    """

    space: Literal["latents"] = "latents"
    reads_text = True
    title = "Tune-A-Video"
    learning_rates: Mapping[str, float] = {"image": 1e-3, "video": 1e-3}
    small: TuneAVideoConfig = SMALL

    def __init__(self, sizes: Sizes, config: TuneAVideoConfig = TuneAVideoConfig()) -> None:
        self.sizes = sizes
        self.config = config
        self.stages = {"image": config.image_share, "video": 1 - config.image_share}
        self.network = make_image_unet(config.image, sizes)
        replace_layers(self.network, BasicTransformerBlock, InflatedBlock)

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """All of the image network at first; then two query projections and the new attention."""
        parameters = dict(self.network.named_parameters())
        if stage == "image":
            return {n: p for n, p in parameters.items() if not any(part in n for part in NEW)}
        return {n: p for n, p in parameters.items() if any(part in n for part in TRAINED)}

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """|eps - eps^|^2, of single frames or of all frames after the given one."""
        if stage == "image":
            return image_loss(self.network, batch, self.config.image, generator)
        predict = self._predict(batch.text, batch.text_mask)
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
        return draw_after_given(
            self._predict(text, text_mask),
            self._predict(null_text(text), text_mask),
            self.config.guidance,
            given,
            self.sizes.num_frames,
            STABLE_DIFFUSION_NOISE,
            num_steps or self.config.num_steps,
            generator,
        )

    def _predict(
        self, text: Float[Tensor, "b n d"], text_mask: Bool[Tensor, "b n"]
    ) -> PredictNoise:
        def predict(noisy: Float[Tensor, "b f c h w"], timesteps: Int[Tensor, " b"]) -> Tensor:
            f = noisy.shape[1]
            return predict_noise(
                self.network,
                noisy,
                frame_timesteps(timesteps, f, self.config.is_given_at_zero),
                repeat(text, "b n d -> b f n d", f=f),
                text_mask,
            )

        return predict
