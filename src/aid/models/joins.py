"""How a trained part joins a frozen layer: forward hooks and one attention processor.

`insertion.py` makes them and puts them into the UNet; nothing else does. A hook adds what a trained
part says to what the frozen layer says, so the layer's tensors and names stay as they are.

Reference: AID, pipeline figure.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from aid.config import AdapterConfig
from aid.models.adapters import LongTermAdapter, ShortTermAdapter
from aid.models.attention import attend
from aid.models.dqformer import Context
from aid.models.sites import PROJECTIONS

HALF = (torch.bfloat16, torch.float16)


def arithmetic_of(x: Tensor) -> AbstractContextManager:
    """While it lasts, trained float32 weights are used in the type of the frozen stream x."""
    return torch.autocast(x.device.type, x.dtype) if x.dtype in HALF else nullcontext()


class Seam:
    """What the joined parts of one UNet share during a forward pass."""

    def __init__(self):
        self.context: Context | None = None


class ParallelAdapter:
    """Forward hook on a frozen self-attention: its output + scale * adapter(what it read)."""

    def __init__(self, adapter: nn.Module, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.stream: Tensor | None = None

    def remember_stream(self, norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Pre-hook on the norm before the attention: keeps the raw stream for `__call__`."""
        self.stream = args[0]

    def __call__(self, attention: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """What the block gets instead of the frozen output."""
        x, self.stream = (args[0] if self.stream is None else self.stream), None
        with arithmetic_of(x):
            return output + self.scale * self.adapter(x)


class SequentialShortTerm:
    """Forward hook on a residual block: x + ST(x)."""

    def __init__(self, adapter: ShortTermAdapter):
        self.adapter = adapter

    def __call__(self, block: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        """What the next layer gets instead of the frozen output."""
        video = rearrange(output, "(b f) c h w -> b f c h w", f=_num_frames(args, kwargs))
        with arithmetic_of(video):
            return output + rearrange(self.adapter(video), "b f c h w -> (b f) c h w")


class LongTermAfterBlend:
    """Forward hook on SVD's blend of spatial and temporal features: x + scale * LT(x)."""

    def __init__(self, adapter: LongTermAdapter, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.is_normed = config.parallel_input == "normed"

    def __call__(self, blend: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        """What the next layer gets instead of the frozen output."""
        f = _num_frames(args, kwargs)
        # Choice: no frozen norm exists here; "normed" is a layer norm without weights.
        x = F.layer_norm(output, output.shape[-1:]) if self.is_normed else output
        with arithmetic_of(output):
            x = self.adapter(rearrange(x, "(b f) n d -> (b n) f d", f=f))
        return output + self.scale * rearrange(x, "(b n) f d -> (b f) n d", n=output.shape[1])


def _num_frames(args: tuple, kwargs: dict) -> int:
    """Frames of a video, read from the indicator `b f` that diffusers hands down last."""
    name = "image_only_indicator"
    return (kwargs[name] if name in kwargs else args[-1]).shape[-1]


class CrossAttention:
    """Attention processor: trained projections where there are some, the frozen ones elsewhere.

    Spatial cross-attention reads the per-frame context of the running forward pass; without one,
    and in temporal blocks, it reads the image token that the UNet itself hands down.
    """

    def __init__(self, trained: nn.ModuleDict | None, seam: Seam, reads_context: bool):
        self.trained, self.seam, self.reads_context = trained, seam, reads_context

    def _projection(self, attention: nn.Module, name: str) -> nn.Module:
        if self.trained is not None and name in self.trained:
            return self.trained[name]
        return attention.to_out[0] if name == "to_out" else getattr(attention, name)

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """What each token reads; the arguments are diffusers'."""
        with arithmetic_of(hidden_states):
            return self._read(attn, hidden_states, encoder_hidden_states)

    def _read(self, attn: nn.Module, x: Tensor, image_token: Tensor) -> Tensor:
        to_q, to_k, to_v, to_out = (self._projection(attn, name) for name in PROJECTIONS["all"])
        context = self.seam.context if self.reads_context else None
        folded, mask = 1, None
        if context is None:
            # Softmax over one token is 1, whatever the query. Trained queries keep a gradient of 0.
            if image_token.shape[1] == 1 and not _have_gradients(to_q, to_k):
                return to_out(to_v(image_token)).expand(-1, x.shape[1], -1)
            k, v = to_k(image_token), to_v(image_token)
        else:
            f, own = context.per_frame.shape[1:3]
            folded = f if own == 0 else 1  # frames that read the same tokens become one long query
            mask = repeat(context.mask, "b n -> (b f) 1 1 n", f=f // folded)
            k, v = (_project_context(project, context) for project in (to_k, to_v))
        q = rearrange(to_q(x), "(b f) n (h d) -> b h (f n) d", f=folded, h=attn.heads)
        k, v = (rearrange(t, "b n (h d) -> b h n d", h=attn.heads) for t in (k, v))
        read = attend(q, k, v, mask)
        return to_out(rearrange(read, "b h (f n) d -> (b f) n (h d)", f=folded))


def _have_gradients(*layers: nn.Module) -> bool:
    weights = (p for layer in layers for p in layer.parameters())
    return torch.is_grad_enabled() and any(p.requires_grad for p in weights)


def _project_context(project: nn.Module, context: Context) -> Tensor:
    """Keys or values of the context; those of the shared tokens are computed once per video.

    Per frame, `(b f) n d`, or only the shared ones, `b n d`, if frames have none of their own.
    """
    f, own = context.per_frame.shape[1:3]
    shared = project(context.shared)
    if own == 0:
        return shared
    shared = repeat(shared, "b n d -> b f n d", f=f)
    both = torch.cat([shared, project(context.per_frame)], dim=2)
    return rearrange(both, "b f n d -> (b f) n d")
