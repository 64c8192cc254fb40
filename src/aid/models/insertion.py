"""The seam: where AID's trained parts meet the frozen UNet, and the only file that knows.

`Insertion` builds the adapters and the trained copies of cross-attention for a UNet and joins them
by forward hooks and attention processors. The UNet's own tensors and state-dict keys stay exactly
diffusers'; `detach()` gives it back as it was. `denoiser.py` is the only caller.

Reference: AID, pipeline figure; SVD's blocks run residual block -> spatial (self-attention,
cross-attention, feed-forward) -> temporal (the same) -> blend, an order the frozen weights need.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aid.config import AdapterConfig, ModelConfig
from aid.models.adapters import LongTermAdapter, ShortTermAdapter, SpatialAdapter
from aid.models.dqformer import Context
from aid.models.sites import (
    attention_sites,
    check_seams,
    part,
    residual_blocks,
    transformer_blocks,
)

PROJECTIONS = {
    "all": ("to_q", "to_k", "to_v", "to_out"),
    "keys_values": ("to_k", "to_v"),
    "none": (),
}


class _Seam:
    """What the joined parts of one UNet share during a forward pass."""

    def __init__(self):
        self.context: Context | None = None


class _ParallelAdapter:
    """Forward hook on a frozen self-attention: its output + scale * adapter(what it read)."""

    def __init__(self, adapter: nn.Module, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.stream: Tensor | None = None

    def remember_stream(self, norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Pre-hook on the norm before the attention: keeps the raw stream for `__call__`."""
        self.stream = args[0]

    def __call__(self, attention: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x, self.stream = (args[0] if self.stream is None else self.stream), None
        return output + self.scale * self.adapter(x)


class _SequentialShortTerm:
    """Forward hook on a residual block: x + ST(x)."""

    def __init__(self, adapter: ShortTermAdapter):
        self.adapter = adapter

    def __call__(self, block: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        video = rearrange(output, "(b f) c h w -> b f c h w", f=_num_frames(args, kwargs))
        return output + rearrange(self.adapter(video), "b f c h w -> (b f) c h w")


class _LongTermAfterBlend:
    """Forward hook on SVD's blend of spatial and temporal features: x + scale * LT(x)."""

    def __init__(self, adapter: LongTermAdapter, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.is_normed = config.parallel_input == "normed"

    def __call__(self, blend: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        f = _num_frames(args, kwargs)
        # Choice: no frozen norm exists here; "normed" is a layer norm without weights.
        x = F.layer_norm(output, output.shape[-1:]) if self.is_normed else output
        x = self.adapter(rearrange(x, "(b f) n d -> (b n) f d", f=f))
        return output + self.scale * rearrange(x, "(b n) f d -> (b f) n d", n=output.shape[1])


def _num_frames(args: tuple, kwargs: dict) -> int:
    """Frames of a video, read from the indicator `b f` that diffusers hands down last."""
    name = "image_only_indicator"
    return (kwargs[name] if name in kwargs else args[-1]).shape[-1]


class _CrossAttention:
    """Attention processor: trained projections where there are some, the frozen ones elsewhere.

    Spatial cross-attention reads the per-frame context of the running forward pass; without one,
    and in temporal blocks, it reads the image token that the UNet itself hands down.
    """

    def __init__(self, trained: nn.ModuleDict | None, seam: _Seam, reads_context: bool):
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
        to_q, to_k, to_v, to_out = (self._projection(attn, name) for name in PROJECTIONS["all"])
        context = self.seam.context if self.reads_context else None
        folded, mask = 1, None
        if context is None:
            k, v = to_k(encoder_hidden_states), to_v(encoder_hidden_states)
        else:
            f, own = context.per_frame.shape[1:3]
            folded = f if own == 0 else 1  # frames that read the same tokens become one long query
            mask = repeat(context.mask, "b n -> (b f) 1 1 n", f=f // folded)
            k, v = (_project_context(project, context) for project in (to_k, to_v))
        q = rearrange(to_q(hidden_states), "(b f) n (h d) -> b h (f n) d", f=folded, h=attn.heads)
        k, v = (rearrange(t, "b n (h d) -> b h n d", h=attn.heads) for t in (k, v))
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return to_out(rearrange(read, "b h (f n) d -> (b f) n (h d)", f=folded))


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


def _key(path: str) -> str:
    """A UNet path as a name that a `ModuleDict` accepts."""
    return path.replace(".", "-")


def _path(key: str) -> str:
    return key.replace("-", ".")


class Insertion:
    """AID's trained parts inside one UNet, and the join itself.

    `adapters` and `cross_attention` hold every trained tensor, named after its site in the UNet.

    Raises:
        ValueError: the UNet is not built as expected, or already carries another insertion.
    """

    def __init__(self, unet: nn.Module, config: ModelConfig):
        check_seams(unet)
        self.unet, self.config, self.seam = unet, config, _Seam()
        self.adapters = _adapters(unet, config.adapter)
        self.cross_attention = _cross_attention(unet, config)
        self._handles = []
        self._processors: dict[str, object] = {}
        self.attach()

    def attach(self) -> None:
        """Joins the parts to the UNet."""
        for path in transformer_blocks(self.unet, "transformer_blocks"):
            key = _key(path)
            trained = self.cross_attention["spatial"]
            self._replace_attention(path, dict(trained.items()).get(key), True)
        for key, trained in self.cross_attention["temporal"].items():
            self._replace_attention(_path(key), trained, False)
        config = self.config.adapter
        for kind in ("spatial", "long_term"):
            for key, adapter in self.adapters[kind].items():
                module = part(self.unet, _path(key))
                if key.endswith("time_mixer"):
                    hook = _LongTermAfterBlend(adapter, config)
                    self._handles.append(module.register_forward_hook(hook, with_kwargs=True))
                    continue
                hook = _ParallelAdapter(adapter, config)
                self._handles.append(module.attn1.register_forward_hook(hook))
                if config.parallel_input == "raw":
                    before = module.norm1.register_forward_pre_hook(hook.remember_stream)
                    self._handles.append(before)
        for key, adapter in self.adapters["short_term"].items():
            hook = _SequentialShortTerm(adapter)
            block = part(self.unet, _path(key))
            self._handles.append(block.register_forward_hook(hook, with_kwargs=True))

    def detach(self) -> None:
        """Gives the UNet back exactly as it was; `attach` joins again."""
        for handle in self._handles:
            handle.remove()
        for path, processor in self._processors.items():
            part(self.unet, path).set_processor(processor)
        self._handles.clear()
        self._processors.clear()

    def _replace_attention(
        self, block: str, trained: nn.ModuleDict | None, reads_context: bool
    ) -> None:
        attention = part(self.unet, f"{block}.attn2")
        if isinstance(attention.processor, _CrossAttention):
            raise ValueError(
                "this UNet already carries AID's parts. Call detach() on the other denoiser's "
                "insertion, or load the backbone again."
            )
        self._processors[f"{block}.attn2"] = attention.processor
        attention.set_processor(_CrossAttention(trained, self.seam, reads_context))

    @contextmanager
    def reading(self, context: Context | None) -> Iterator[None]:
        """While it lasts, spatial cross-attention reads `context`; None: SVD's image token."""
        before, self.seam.context = self.seam.context, context
        try:
            yield
        finally:
            self.seam.context = before

    def enable_gradient_checkpointing(self) -> None:
        """Trades time for memory in the UNet. Use this, not diffusers' own switch.

        The backward pass runs the blocks again after `reading` has ended, so each block has to
        carry its context along.
        """

        def run_again_later(block: nn.Module, *args: object) -> object:
            context = self.seam.context

            def run(*args: object) -> object:
                with self.reading(context):
                    return block(*args)

            return checkpoint(run, *args, use_reentrant=False)

        self.unet.enable_gradient_checkpointing(run_again_later)


def _adapters(unet: nn.Module, config: AdapterConfig) -> nn.ModuleDict:
    """New adapters for every site of the UNet."""
    spatial, short_term, long_term = {}, {}, {}
    if config.use_spatial:
        for path in transformer_blocks(unet, "transformer_blocks"):
            dim = part(unet, f"{path}.attn1.to_q").in_features
            spatial[_key(path)] = SpatialAdapter(dim, config)
    if config.use_short_term:
        before_attention = [resnet for resnet, _ in attention_sites(unet)]
        is_all = config.short_term_sites == "all"
        for path in residual_blocks(unet) if is_all else before_attention:
            dim = part(unet, f"{path}.spatial_res_block").out_channels
            short_term[_key(path)] = ShortTermAdapter(dim, config)
    if config.use_long_term:
        if config.long_term_site == "inside":
            for path in transformer_blocks(unet, "temporal_transformer_blocks"):
                dim = part(unet, f"{path}.attn1.to_q").in_features
                long_term[_key(path)] = LongTermAdapter(dim, config)
        else:
            for _, path in attention_sites(unet):
                dim = part(unet, f"{path}.proj_out").in_features
                long_term[_key(f"{path}.time_mixer")] = LongTermAdapter(dim, config)
    kinds = {"spatial": spatial, "short_term": short_term, "long_term": long_term}
    return nn.ModuleDict({kind: nn.ModuleDict(made) for kind, made in kinds.items()})


def _cross_attention(unet: nn.Module, config: ModelConfig) -> nn.ModuleDict:
    """Trained copies of the chosen cross-attention projections of every site."""
    chosen = config.cross_attention
    spatial = PROJECTIONS[chosen.trained]
    # Choice: temporal cross-attention, if trained at all, in the parts the spatial one is.
    temporal = (spatial or PROJECTIONS["all"]) if chosen.train_temporal else ()
    names = {"transformer_blocks": spatial, "temporal_transformer_blocks": temporal}

    def copies(path: str, projections: tuple[str, ...]) -> nn.ModuleDict:
        made = {}
        for name in projections:
            inside = "to_out.0" if name == "to_out" else name
            made[name] = copy.deepcopy(part(unet, f"{path}.attn2.{inside}")).requires_grad_(True)
        return nn.ModuleDict(made)

    def every(kind: str) -> nn.ModuleDict:
        paths = transformer_blocks(unet, kind) if names[kind] else []
        return nn.ModuleDict({_key(path): copies(path, names[kind]) for path in paths})

    return nn.ModuleDict(
        {"spatial": every("transformer_blocks"), "temporal": every("temporal_transformer_blocks")}
    )
