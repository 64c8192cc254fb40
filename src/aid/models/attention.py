"""How the UNet's own attention is computed while training on a CPU."""

from diffusers.models.attention_processor import AttnProcessor
from torch import nn


def use_plain_attention(unet: nn.Module) -> None:
    """Lets attention multiply plainly instead of by the fused kernel: equal up to rounding.

    On a CPU the fused kernel's backward pass over many short sequences, which temporal attention
    is, costs a fifth of a training step. Call it before AID's parts join the UNet.
    """
    unet.set_attn_processor(AttnProcessor())
