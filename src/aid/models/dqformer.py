"""Dual-Query Transformer: from instruction, states and first frame to one context per frame.

`denoiser.py` calls it once per video; the UNet's spatial cross-attention reads its `Context`
(`insertion.py`). Its input are the tokens of the frozen encoders.

Reference: AID, section on the DQFormer and the pipeline figure.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from aid.config import DQFormerConfig
from aid.models.attention import attend


@dataclass(frozen=True)
class Context:
    """MCondition, the keys and values of cross-attention: shared tokens, then each frame's own.

    They are kept apart so that keys and values of the shared tokens are computed once per video,
    not once per frame.
    """

    shared: Float[Tensor, "b n d"]
    shared_mask: Bool[Tensor, "b n"]
    per_frame: Float[Tensor, "b f q d"]

    @property
    def tokens(self) -> Float[Tensor, "b f n d"]:
        """All tokens of every frame, the shared ones first."""
        shared = repeat(self.shared, "b n d -> b f n d", f=self.per_frame.shape[1])
        return torch.cat([shared, self.per_frame], dim=2)

    @property
    def mask(self) -> Bool[Tensor, "b n"]:
        """True where a token may be read, the same for all frames of a video."""
        own = self.shared_mask.new_ones(len(self.shared), self.per_frame.shape[2])
        return torch.cat([self.shared_mask, own], dim=1)


class Attention(nn.Module):
    """Multi-head attention behind layer norms: Softmax((W_Q x)(W_K y)^T / sqrt(d)) W_V y.

    Positions where `mask` is False are ignored; where all are, the output is 0.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k = nn.Linear(dim, dim, bias=False)
        self.to_v = nn.Linear(dim, dim, bias=False)
        self.to_out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        y: Float[Tensor, "b m d"] | None = None,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attention of x to y (to itself if y is None), without a skip."""
        x = self.norm(x)
        y = x if y is None else y
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.num_heads)
            for t in (self.to_q(x), self.to_k(y), self.to_v(y))
        )
        read = attend(q, k, v, None if mask is None else mask[:, None, None])
        read = self.to_out(rearrange(read, "b h n d -> b n (h d)"))
        return read if mask is None else read * mask.any(dim=1)[:, None, None]


class FeedForward(nn.Sequential):
    """The usual two-layer GELU network behind a layer norm."""

    def __init__(self, dim: int):
        super().__init__(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )


class MultimodalBranch(nn.Module):
    """The instruction attends to the first frame: one token per token of the instruction.

    Softmax((W_1Q SelfAttn(t_1)) (W_1K v)^T / sqrt(d_1)) (W_1V v)                            (AID)
    """

    def __init__(self, dim: int, config: DQFormerConfig):
        super().__init__()
        self.has_residual = config.upper_residual
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "self_attention": Attention(dim, config.num_heads),
                    "image_attention": Attention(dim, config.num_heads),
                }
                | ({"feed_forward": FeedForward(dim)} if config.use_feed_forward else {})
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        instruction_tokens: Float[Tensor, "b n d"],
        instruction_mask: Bool[Tensor, "b n"],
        image_tokens: Float[Tensor, "b p d"],
    ) -> Float[Tensor, "b n d"]:
        """The multimodal tokens."""
        x = instruction_tokens
        for layer in self.layers:
            # Choice: SelfAttn is the usual layer with its skip; without one words blur into one.
            x = x + layer["self_attention"](x, mask=instruction_mask)
            seen = layer["image_attention"](x, image_tokens)
            x = x + seen if self.has_residual else seen
            if "feed_forward" in layer:
                x = x + layer["feed_forward"](x)
        return self.norm(x)


class DecomposedBranch(nn.Module):
    """Learned queries of every frame attend to the instruction, then to the states.

    Q in R^{(N N_t) x C}; Q <- Q + CrossAttn(Q, t_1); Q <- Q + CrossAttn(Q, t_2)             (AID)
    """

    def __init__(self, dim: int, num_frames: int, config: DQFormerConfig):
        super().__init__()
        self.num_frames, self.use_states = num_frames, config.use_states
        # Choice: N(0, 0.02^2), as BLIP-2 starts its queries.
        queries = torch.randn(num_frames * config.queries_per_frame, dim)
        self.frame_queries = nn.Parameter(0.02 * queries)  # (f q) d
        names = ["instruction"] + ["states"] * config.use_states
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {f"{name}_attention": Attention(dim, config.num_heads) for name in names}
                | (
                    {f"{name}_feed_forward": FeedForward(dim) for name in names}
                    if config.use_feed_forward
                    else {}
                )
            )
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(dim)

    def queries(self, num_frames: int) -> Float[Tensor, "f q d"]:
        """The queries of `num_frames` frames, interpolated if training had another number."""
        own = rearrange(self.frame_queries, "(f q) d -> f q d", f=self.num_frames)
        if num_frames == self.num_frames:
            return own
        # Choice: the first and the last frame keep exactly their queries.
        flat = rearrange(own, "f q d -> 1 (q d) f")
        flat = F.interpolate(flat, size=num_frames, mode="linear", align_corners=True)
        return rearrange(flat, "1 (q d) f -> f q d", d=own.shape[-1])

    def forward(
        self,
        num_frames: int,
        instruction_tokens: Float[Tensor, "b n d"],
        instruction_mask: Bool[Tensor, "b n"],
        state_tokens: Float[Tensor, "b m d"],
        state_mask: Bool[Tensor, "b m"],
    ) -> Float[Tensor, "b f q d"]:
        """The decomposed tokens."""
        x = repeat(self.queries(num_frames), "f q d -> b (f q) d", b=len(instruction_tokens))
        sources = [("instruction", instruction_tokens, instruction_mask)]
        if self.use_states:
            sources.append(("states", state_tokens, state_mask))
        for layer in self.layers:
            for name, tokens, mask in sources:
                if tokens.shape[1] == 0:
                    continue
                x = x + layer[f"{name}_attention"](x, tokens, mask)
                if f"{name}_feed_forward" in layer:
                    x = x + layer[f"{name}_feed_forward"](x)
        return rearrange(self.norm(x), "b (f q) d -> b f q d", f=num_frames)


class DQFormer(nn.Module):
    """Both branches, with the projections in and out; its output is the UNet's `Context`.

    Args:
        text_dim: width of the text encoder's tokens.
        image_dim: width of the image encoder's tokens.
        context_dim: width of the UNet's cross-attention.
        num_frames: N of the training videos.
        config: its settings; `branches` is not "none".
    """

    def __init__(
        self,
        text_dim: int,
        image_dim: int,
        context_dim: int,
        num_frames: int,
        config: DQFormerConfig,
    ):
        super().__init__()
        dim = config.dim or context_dim
        if dim % config.num_heads:
            raise ValueError(
                f"dqformer.num_heads must divide the DQFormer's width {dim}, got "
                f"{config.num_heads}. Change dqformer.num_heads or dqformer.dim."
            )
        self.layout = config.mcondition_layout
        # Choice: norm on entry, because CLIP's vision tokens have large outliers.
        self.project_text = nn.Sequential(nn.Linear(text_dim, dim), nn.LayerNorm(dim))
        self.project_image = self.multimodal = self.decomposed = None
        if config.branches in ("multimodal", "both"):
            self.project_image = nn.Sequential(nn.Linear(image_dim, dim), nn.LayerNorm(dim))
            self.multimodal = MultimodalBranch(dim, config)
        if config.branches in ("decomposed", "both"):
            self.decomposed = DecomposedBranch(dim, num_frames, config)
        self.project_out = nn.Identity() if dim == context_dim else nn.Linear(dim, context_dim)

    def forward(
        self,
        num_frames: int,
        instruction_tokens: Float[Tensor, "b n text"],
        instruction_mask: Bool[Tensor, "b n"],
        state_tokens: Float[Tensor, "b m text"],
        state_mask: Bool[Tensor, "b m"],
        image_tokens: Float[Tensor, "b p image"],
    ) -> Context:
        """The context of a video of `num_frames` frames.

        `per_frame` layout: all frames read the multimodal tokens, frame i also its own queries'.
        `global` layout: all frames read everything.
        """
        instruction = self.project_text(instruction_tokens)
        batch, width = len(instruction), instruction.shape[-1]
        shared = instruction.new_zeros(batch, 0, width)
        shared_mask = instruction_mask[:, :0]
        per_frame = instruction.new_zeros(batch, num_frames, 0, width)
        if self.multimodal is not None:
            image = self.project_image(image_tokens)
            shared = self.multimodal(instruction, instruction_mask, image)
            shared_mask = instruction_mask
        if self.decomposed is not None:
            states = self.project_text(state_tokens)
            per_frame = self.decomposed(
                num_frames, instruction, instruction_mask, states, state_mask
            )
        if self.layout == "global":
            every = rearrange(per_frame, "b f q d -> b (f q) d")
            shared = torch.cat([shared, every], dim=1)
            readable = shared_mask.new_ones(every.shape[:2])
            shared_mask = torch.cat([shared_mask, readable], dim=1)
            per_frame = per_frame[:, :, :0]
        return Context(self.project_out(shared), shared_mask, self.project_out(per_frame))
