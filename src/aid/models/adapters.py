"""AID's three adapters: small trained residuals beside a frozen layer.

`insertion.py` builds one per site and adds what it returns to the frozen output. Every adapter
returns only its residual, W_up(...), without the "X +" of the printed formulas: beside a frozen
layer the stream already carries X, and adding it again would double it. W_up starts at zero, so a
new model is exactly Stable Video Diffusion.

Reference: AID, section on adapters and the pipeline figure; SimDA (same first author) for widths.
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import AdapterConfig
from aid.models.attention import attend


def bottleneck(dim: int, ratio: float) -> int:
    """Inner width of an adapter on a layer `dim` wide."""
    return max(1, round(dim * ratio))


def zeroed(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer with all weights at zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class SpatialAdapter(nn.Module):
    """Residual that adapts the frozen spatial features to a new domain, frame by frame.

    S-Adapter(X) = X + W_up GELU(W_down X)                                                  (AID)

    Parallel to spatial self-attention; returns W_up GELU(W_down X).
    """

    def __init__(self, dim: int, config: AdapterConfig):
        super().__init__()
        inner = bottleneck(dim, config.ratio)
        self.down = nn.Linear(dim, inner)
        self.up = zeroed(nn.Linear(inner, dim))

    def forward(self, x: Float[Tensor, "bf n d"]) -> Float[Tensor, "bf n d"]:
        """The residual for the tokens of each frame."""
        return self.up(F.gelu(self.down(x)))


class ShortTermAdapter(nn.Module):
    """Residual that mixes each frame with its neighbours, right after a convolution block.

    ST-Adapter(X) = X + W_up 3DConv(W_down X)                                               (AID)

    The 3-D convolution is depth-wise and, between two 1x1x1 maps, separable. The formula prints no
    activation and there is none. Sequential; returns W_up 3DConv(W_down X).
    """

    def __init__(self, dim: int, config: AdapterConfig):
        super().__init__()
        inner = bottleneck(dim, config.short_term_ratio)
        kernel = config.short_term_kernel
        if any(size < 1 or size % 2 == 0 for size in kernel):
            raise ValueError(
                f"short_term_kernel must have odd sizes, got {kernel}. SimDA uses (3, 1, 1)."
            )
        self.down = nn.Conv2d(dim, inner, 1)
        self.conv = nn.Conv3d(inner, inner, kernel, padding="same", groups=inner)
        self.up = zeroed(nn.Conv2d(inner, dim, 1))

    def forward(self, x: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        """The residual for the feature maps of each video."""
        b = len(x)
        x = self.down(rearrange(x, "b f c h w -> (b f) c h w"))
        x = self._depth_wise(rearrange(x, "(b f) c h w -> b c f h w", b=b))
        x = self.up(rearrange(x, "b c f h w -> (b f) c h w"))
        return rearrange(x, "(b f) c h w -> b f c h w", b=b)

    def _depth_wise(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f h w"]:
        """`self.conv`; a kernel over frames only runs as a 2-D one, 2-5 times faster on a CPU."""
        if self.conv.kernel_size[1:] != (1, 1):
            return self.conv(x)
        weight = self.conv.weight.squeeze(-1)  # c 1 k 1
        flat = rearrange(x, "b c f h w -> b c f (h w)")
        flat = F.conv2d(flat, weight, self.conv.bias, padding="same", groups=len(weight))
        return rearrange(flat, "b c f (h w) -> b c f h w", h=x.shape[-2])


class LongTermAdapter(nn.Module):
    """Residual of self-attention over the frames of each place.

    LT-Adapter(X) = X + W_up SelfAttn(W_down X)                                             (AID)

    Parallel to temporal self-attention; returns W_up SelfAttn(W_down X). The tokens are the frames
    of one place.
    """

    def __init__(self, dim: int, config: AdapterConfig):
        super().__init__()
        inner = bottleneck(dim, config.ratio)
        self.num_heads, self.is_causal = config.long_term_heads, config.is_causal
        if inner % self.num_heads:
            raise ValueError(
                f"long_term_heads must divide the adapter's width {inner} (ratio {config.ratio} of "
                f"{dim}), got {self.num_heads}. Change adapter.long_term_heads or adapter.ratio."
            )
        self.down = nn.Linear(dim, inner)
        self.qkv = nn.Linear(inner, 3 * inner)
        self.out = nn.Linear(inner, inner)
        self.up = zeroed(nn.Linear(inner, dim))

    def forward(self, x: Float[Tensor, "bn f d"]) -> Float[Tensor, "bn f d"]:
        """The residual for the frames of each place."""
        qkv = self.qkv(self.down(x))
        q, k, v = rearrange(qkv, "b f (three h d) -> three b h f d", three=3, h=self.num_heads)
        x = attend(q, k, v, is_causal=self.is_causal)
        return self.up(self.out(rearrange(x, "b h f d -> b f (h d)")))
