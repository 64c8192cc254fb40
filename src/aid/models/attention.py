"""Attention that trains fast on a CPU: plain products there, the fused kernel elsewhere.

On a CPU the fused kernel's backward pass over many short sequences, which temporal attention is,
costs a fifth to a third of a training step. Both ways give the same numbers up to rounding.
"""

import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from jaxtyping import Bool, Float
from torch import Tensor, nn

MANY_CELLS = 256
"""Choice: the table-top's 16 x 16; Stable Video Diffusion at 256 pixels has 32 x 32."""


def attend(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m d"],
    mask: Bool[Tensor, "b 1 1 m"] | None = None,
    is_causal: bool = False,
) -> Float[Tensor, "b h n d"]:
    """Softmax(q k^T / sqrt(d)) v, over the keys where `mask` is True; 0 where none is."""
    if mask is not None:
        has_any = mask.any(dim=-1, keepdim=True)  # b 1 1 1
        mask, v = mask | ~has_any, v * has_any  # a softmax over nothing is not a number
    if q.device.type != "cpu" or not q.requires_grad or is_causal:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # b h n m
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ v


def use_plain_attention(unet: nn.Module, cells: int = 0) -> None:
    """Computes the UNet's own attention by plain products; call it before `Insertion`.

    Args:
        unet: the backbone's.
        cells: latent cells of a frame. Above `MANY_CELLS` spatial attention stays fused: its
            matrices would need the memory.
    """
    processors = unet.attn_processors
    chosen = [name for name in processors if "temporal" in name or cells <= MANY_CELLS]
    unet.set_attn_processor(processors | {name: AttnProcessor() for name in chosen})
