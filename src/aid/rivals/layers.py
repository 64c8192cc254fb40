"""Attention over time behind a spatial transformer, for Seer and VideoFusion's residual network.

A `TemporalTransformer` stands where the image network has a spatial transformer: it runs that one
on every frame, then a `TemporalLayer` on the frames together.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

Order = Literal["raster", "frames", "none"]
"""What a token may attend to. `raster`: what comes before it in (frame, row, column), and itself;
`frames`: its own frame and earlier ones; `none`: everything."""
LONGEST_WAVE = 100
"""Period of the slowest sinusoid, in frames or cells (ours)."""


class MultiHeadAttention(nn.Module):
    """W_o Softmax(W_q x (W_k y)^T / sqrt(d_head)) W_v y, for y = x or another sequence."""

    def __init__(self, dim: int, head_dim: int, context_dim: int | None = None):
        super().__init__()
        self.head_dim = head_dim
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_v = nn.Linear(context_dim or dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m e"] | None = None,
        mask: Bool[Tensor, "#b #n m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attention of `x` to `context`, or to itself, where `mask` is True."""
        context = x if context is None else context
        q, k, v = (
            rearrange(projected, "b n (h d) -> b h n d", d=self.head_dim)
            for projected in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        scores = (q * self.head_dim**-0.5) @ k.transpose(-1, -2)  # b h n m
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        out = scores.softmax(dim=-1).to(v.dtype) @ v
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


def order_mask(order: Order, num_frames: int, cells: int, device: torch.device) -> Tensor | None:
    """Which of a window's tokens, flattened as (frame, row, column), each may attend to."""
    if order == "none":
        return None
    place = torch.arange(num_frames * cells, device=device)
    if order == "frames":
        place = place // cells
    return place[None, :, None] >= place[None, None, :]  # 1 fn fn


def window_size(height: int) -> int:
    """Side of an attention window: 8 for at least 32 rows, else 4 (Seer), or all rows if fewer."""
    return 8 if height >= 32 else min(4, height)


def sinusoids(
    num_frames: int, window: tuple[int, int], dim: int, device: torch.device
) -> Float[Tensor, "fn d"]:
    """Positions in a window: half of the channels for the frame, a quarter for row and column."""

    def wave(n: int, d: int) -> Tensor:
        return get_timestep_embedding(
            torch.arange(n, device=device), d, max_period=LONGEST_WAVE, downscale_freq_shift=0
        )

    frames, rows, columns = (
        wave(n, d)
        for n, d in zip((num_frames, *window), (dim // 2, dim // 4, dim // 4), strict=True)
    )
    shape = (num_frames, *window, -1)
    parts = (frames[:, None, None], rows[None, :, None], columns[None, None, :])
    joined = torch.cat([part.expand(shape) for part in parts], dim=-1)
    return rearrange(joined, "f h w d -> (f h w) d")


class TemporalLayer(nn.Module):
    """Attention among the tokens of a window in all frames, then a feed-forward layer.

        x <- x + Attn(norm(x) + positions),    x <- x + FeedForward(norm(x))

    The last projections of both start at zero, so a new layer changes nothing (ours).
    """

    def __init__(self, dim: int, head_dim: int, order: Order, is_windowed: bool):
        super().__init__()
        self.order: Order = order
        self.is_windowed = is_windowed
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, head_dim)
        self.feed_forward = FeedForward(dim)  # GEGLU, four times as wide
        for last in (self.attention.to_out, self.feed_forward.net[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, x: Float[Tensor, "b f c h w"], skips_given_feed_forward: bool = False
    ) -> Float[Tensor, "b f c h w"]:
        """Frames that have seen each other.

        Args:
            x: features of all frames.
            skips_given_feed_forward: leaves the feed-forward layer out in frame 0.

        Raises:
            ValueError: windows do not tile a frame.
        """
        f, _, h, w = x.shape[1:]
        side = window_size(h) if self.is_windowed else 1
        if h % side or w % side:
            raise ValueError(
                f"Windows of {side} x {side} cells do not tile {h} x {w} cells. "
                "Use latents whose levels have 1 to 4 rows or a multiple of 4."
            )
        windows = {"h": h // side, "w": w // side}
        tokens = rearrange(x, "b f c (h i) (w j) -> (b h w) (f i j) c", **windows)
        normed = self.norm1(tokens)
        normed = normed + sinusoids(f, (side, side), normed.shape[-1], x.device).to(normed.dtype)
        mask = order_mask(self.order, f, side * side, x.device)
        tokens = tokens + self.attention(normed, mask=mask)
        added = self.feed_forward(self.norm2(tokens))
        if skips_given_feed_forward:
            counted = torch.arange(tokens.shape[1], device=x.device) >= side * side
            added = added * counted[None, :, None]
        back = "(b h w) (f i j) c -> b f c (h i) (w j)"
        return rearrange(tokens + added, back, f=f, i=side, j=side, **windows)


class TemporalTransformer(nn.Module):
    """A spatial transformer of the image network, followed by a temporal layer."""

    def __init__(self, spatial: Transformer2DModel, order: Order, is_windowed: bool):
        super().__init__()
        self.spatial = spatial
        block = spatial.transformer_blocks[0]
        self.temporal = TemporalLayer(block.dim, block.attention_head_dim, order, is_windowed)

    def forward(
        self,
        hidden_states: Float[Tensor, "bf c h w"],
        cross_attention_kwargs: Mapping[str, int | bool] | None = None,
        **of_the_spatial_transformer: Tensor | bool | None,
    ) -> tuple[Float[Tensor, "bf c h w"]]:
        """The features of all frames; without `num_frames` those of unrelated images."""
        (x,) = self.spatial(hidden_states, **of_the_spatial_transformer)
        if not cross_attention_kwargs:
            return (x,)
        settings = dict(cross_attention_kwargs)
        x = rearrange(x, "(b f) c h w -> b f c h w", f=settings.pop("num_frames"))
        return (rearrange(self.temporal(x, **settings), "b f c h w -> (b f) c h w"),)
