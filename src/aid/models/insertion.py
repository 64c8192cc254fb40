"""Where AID's trained parts meet the frozen UNet, and the only file that knows.

`Insertion` builds the adapters and the trained copies of cross-attention for a UNet and attaches
them by forward hooks and attention processors. LoRA and trained weights of the UNet (`tuning.py`)
are attached here, too. The UNet's own tensors stay exactly diffusers'; `detach()` restores it.
`denoiser.py` alone calls it.

The file reads from the whole to its parts: the insertion; the hooks and the attention processor
that it attaches; the trained parts that it builds; the UNet's paths at which it attaches.

Reference: AID, pipeline figure; SVD's blocks run residual block -> spatial (self-attention,
cross-attention, feed-forward) -> temporal (the same) -> blend, an order the frozen weights need.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from aid.config import AdapterConfig, CrossAttentionConfig, LoraConfig, ModelConfig
from aid.models.adapters import LongTermAdapter, ShortTermAdapter, SpatialAdapter
from aid.models.attention import attend
from aid.models.dqformer import Context
from aid.models.tuning import LowRankUpdates, TrainedWeights

HALF = (torch.bfloat16, torch.float16)


@dataclass
class CurrentContext:
    """The context of the running forward pass, shared by all cross-attention of one UNet."""

    value: Context | None = None


class Insertion:
    """AID's trained parts inside one UNet.

    `adapters`, `cross_attention` and `lora.trained` hold every trained tensor, named after its site
    in the UNet.

    Raises:
        ValueError: the UNet is not built as expected, or another insertion is attached to it.
    """

    def __init__(self, unet: nn.Module, config: ModelConfig):
        check_sites(unet)
        self.unet, self.config, self._current = unet, config, CurrentContext()
        self.adapters = _adapters(unet, config.adapter)
        self.cross_attention = _cross_attention(unet, config)
        updated = lora_sites(unet, config.lora, config.cross_attention) if config.lora.rank else []
        self.lora = LowRankUpdates(unet, updated, config.lora)
        self.weights = TrainedWeights(unet, weight_names(unet, config.unet_weights))
        self._handles = []
        self._processors: dict[str, object] = {}
        self.attach()

    def attach(self) -> None:
        """Attaches the trained parts to the UNet."""
        self.weights.attach()
        self.lora.attach()
        for kind, layers in (("spatial", SPATIAL_LAYERS), ("temporal", TEMPORAL_LAYERS)):
            trained = dict(self.cross_attention[kind].items())
            for path in transformer_blocks(self.unet, layers):
                self._replace_attention(path, trained.get(_key(path)), kind == "spatial")
        for path, adapter in self._of_kind("spatial"):
            self._attach_beside_attention(path, adapter)
        for path, adapter in self._of_kind("short_term"):
            self._hook(path, AfterConvolution(adapter))
        for path, adapter in self._of_kind("long_term"):
            if self.config.adapter.long_term_site == "inside":
                self._attach_beside_attention(path, adapter)
            else:
                self._hook(path, AfterBlend(adapter, self.config.adapter))

    def _of_kind(self, kind: str) -> Iterator[tuple[str, nn.Module]]:
        """The adapters of a kind with their paths in the UNet."""
        return ((_path(key), adapter) for key, adapter in self.adapters[kind].items())

    def _hook(self, path: str, hook: Callable) -> None:
        module = part(self.unet, path)
        self._handles.append(module.register_forward_hook(hook, with_kwargs=True))

    def _attach_beside_attention(self, path: str, adapter: nn.Module) -> None:
        """Adds the adapter's output to that of the self-attention of the block at `path`."""
        block, hook = part(self.unet, path), BesideAttention(adapter, self.config.adapter)
        self._handles.append(block.attn1.register_forward_hook(hook))
        if self.config.adapter.parallel_input == "raw":
            self._handles.append(block.norm1.register_forward_pre_hook(hook.remember_stream))

    def detach(self) -> None:
        """Restores the UNet exactly; `attach` attaches the parts again."""
        for handle in self._handles:
            handle.remove()
        for path, processor in self._processors.items():
            part(self.unet, path).set_processor(processor)
        self._handles.clear()
        self._processors.clear()
        self.lora.detach()
        self.weights.detach()

    def _replace_attention(
        self, block: str, trained: nn.ModuleDict | None, reads_context: bool
    ) -> None:
        attention = part(self.unet, f"{block}.attn2")
        if isinstance(attention.processor, CrossAttention):
            raise ValueError(
                "AID's parts are already attached to this UNet. Call detach() on the other "
                "denoiser's insertion, or load the backbone again."
            )
        self._processors[f"{block}.attn2"] = attention.processor
        attention.set_processor(CrossAttention(trained, self._current, reads_context))

    @contextmanager
    def reading(self, context: Context | None) -> Iterator[None]:
        """Within it, spatial cross-attention reads `context`; None: SVD's image token."""
        before, self._current.value = self._current.value, context
        try:
            yield
        finally:
            self._current.value = before

    def enable_gradient_checkpointing(self, levels: int | None = None) -> None:
        """Trades time for memory in the UNet. Use this, not diffusers' own switch.

        diffusers checkpoints residual and spatial blocks; temporal blocks, which it leaves out, are
        added here. The backward pass runs the blocks after `reading` has ended, so each block keeps
        its context.

        Args:
            levels: only the first so many resolutions, the largest first; None takes all.

        Raises:
            ValueError: `levels` is below 1.
        """
        if levels is not None and levels < 1:
            raise ValueError(f"checkpointed levels must be at least 1, got {levels}.")

        def run_again_later(block: Callable, *args: object, **kwargs: object) -> object:
            context = self._current.value

            def run(*args: object, **kwargs: object) -> object:
                with self.reading(context):
                    return block(*args, **kwargs)

            return checkpoint(run, *args, use_reentrant=False, **kwargs)

        def temporal(forward: Callable, *args: object, **kwargs: object) -> object:
            if not torch.is_grad_enabled():
                return forward(*args, **kwargs)
            return run_again_later(forward, *args, **kwargs)

        self.unet.enable_gradient_checkpointing(run_again_later)
        levels = levels or len(self.unet.down_blocks)
        chosen = level_blocks(self.unet, levels)
        for path in level_blocks(self.unet):
            for module in part(self.unet, path).modules():
                if hasattr(module, "gradient_checkpointing"):
                    module.gradient_checkpointing = path in chosen
        for path in transformer_blocks(self.unet, TEMPORAL_LAYERS):
            block = part(self.unet, path)
            vars(block).pop("forward", None)  # an earlier call's
            if any(path.startswith(f"{own}.") for own in chosen):
                block.forward = partial(temporal, block.forward)


def arithmetic_of(x: Tensor) -> AbstractContextManager:
    """Within it, trained float32 weights compute in the dtype of the frozen features x."""
    return torch.autocast(x.device.type, x.dtype) if x.dtype in HALF else nullcontext()


class BesideAttention:
    """Forward hook on a frozen self-attention: its output + scale * adapter(what it read)."""

    def __init__(self, adapter: nn.Module, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.stream: Tensor | None = None

    def remember_stream(self, norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Pre-hook on the norm before the attention: keeps the raw stream for `__call__`."""
        self.stream = args[0]

    def __call__(self, attention: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The sum, which the block receives instead of the frozen output."""
        x, self.stream = (args[0] if self.stream is None else self.stream), None
        with arithmetic_of(x):
            return output + self.scale * self.adapter(x)


class AfterConvolution:
    """Forward hook on a residual block: x + ST(x)."""

    def __init__(self, adapter: ShortTermAdapter):
        self.adapter = adapter

    def __call__(self, block: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        """The sum, which the next layer receives instead of the frozen output."""
        video = rearrange(output, "(b f) c h w -> b f c h w", f=_num_frames(args, kwargs))
        with arithmetic_of(video):
            return output + rearrange(self.adapter(video), "b f c h w -> (b f) c h w")


class AfterBlend:
    """Forward hook on SVD's blend of spatial and temporal features: x + scale * LT(x)."""

    def __init__(self, adapter: LongTermAdapter, config: AdapterConfig):
        self.adapter, self.scale = adapter, config.parallel_scale
        self.is_normed = config.parallel_input == "normed"

    def __call__(self, blend: nn.Module, args: tuple, kwargs: dict, output: Tensor) -> Tensor:
        """The sum, which the next layer receives instead of the frozen output."""
        f = _num_frames(args, kwargs)
        # Choice: no frozen norm exists here; "normed" is a layer norm without weights.
        x = F.layer_norm(output, output.shape[-1:]) if self.is_normed else output
        with arithmetic_of(output):
            x = self.adapter(rearrange(x, "(b f) n d -> (b n) f d", f=f))
        return output + self.scale * rearrange(x, "(b n) f d -> (b f) n d", n=output.shape[1])


def _num_frames(args: tuple, kwargs: dict) -> int:
    """Frames of a video, from the indicator `b f` that diffusers passes as the last argument."""
    name = "image_only_indicator"
    return (kwargs[name] if name in kwargs else args[-1]).shape[-1]


class CrossAttention:
    """Attention processor: trained projections where there are some, the frozen ones elsewhere.

    Spatial cross-attention reads the per-frame context of the running forward pass; without one,
    and in temporal blocks, it reads the image token that the UNet itself passes.
    """

    def __init__(self, trained: nn.ModuleDict | None, current: CurrentContext, reads_context: bool):
        self.trained, self._current, self.reads_context = trained, current, reads_context

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
        """The attention output `bf n d`; the arguments are diffusers'."""
        with arithmetic_of(hidden_states):
            return self._read(attn, hidden_states, encoder_hidden_states)

    def _read(self, attn: nn.Module, x: Tensor, image_token: Tensor) -> Tensor:
        to_q, to_k, to_v, to_out = (self._projection(attn, name) for name in PROJECTIONS["all"])
        context = self._current.value if self.reads_context else None
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


def _adapters(unet: nn.Module, config: AdapterConfig) -> nn.ModuleDict:
    """New adapters for every site of the UNet."""
    spatial, short_term, long_term = {}, {}, {}
    if config.use_spatial:
        for path in transformer_blocks(unet, SPATIAL_LAYERS):
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
            for path in transformer_blocks(unet, TEMPORAL_LAYERS):
                dim = part(unet, f"{path}.attn1.to_q").in_features
                long_term[_key(path)] = LongTermAdapter(dim, config)
        else:
            for _, path in attention_sites(unet):
                dim = part(unet, f"{path}.proj_out").in_features
                long_term[_key(f"{path}.time_mixer")] = LongTermAdapter(dim, config)
    kinds = {"spatial": spatial, "short_term": short_term, "long_term": long_term}
    return nn.ModuleDict({kind: nn.ModuleDict(made) for kind, made in kinds.items()})


def _trained_copy(frozen: nn.Linear) -> nn.Linear:
    """A layer with the frozen one's weights, in float32; no randomness is used up."""
    out, dim = frozen.weight.shape
    made = nn.Linear(dim, out, bias=frozen.bias is not None, device="meta")
    for name, weight in frozen.named_parameters():
        setattr(made, name, nn.Parameter(weight.detach().to(torch.float32, copy=True)))
    return made


def _cross_attention(unet: nn.Module, config: ModelConfig) -> nn.ModuleDict:
    """Trained copies of the chosen cross-attention projections of every site."""
    kinds = (SPATIAL_LAYERS, TEMPORAL_LAYERS)
    names = {kind: trained_projections(config.cross_attention, kind) for kind in kinds}

    def copies(path: str, projections: tuple[str, ...]) -> nn.ModuleDict:
        made = {}
        for name in projections:
            inside = "to_out.0" if name == "to_out" else name
            made[name] = _trained_copy(part(unet, f"{path}.attn2.{inside}"))
        return nn.ModuleDict(made)

    def every(kind: str) -> nn.ModuleDict:
        paths = transformer_blocks(unet, kind) if names[kind] else []
        return nn.ModuleDict({_key(path): copies(path, names[kind]) for path in paths})

    return nn.ModuleDict({"spatial": every(SPATIAL_LAYERS), "temporal": every(TEMPORAL_LAYERS)})


def _key(path: str) -> str:
    """A UNet path as a name that a `ModuleDict` accepts."""
    return path.replace(".", "-")


def _path(key: str) -> str:
    return key.replace("-", ".")


SPATIAL_LAYERS, TEMPORAL_LAYERS = "transformer_blocks", "temporal_transformer_blocks"
"""diffusers' names of the two lists of transformer blocks in a spatio-temporal transformer."""
PROJECTIONS = {
    "all": ("to_q", "to_k", "to_v", "to_out"),
    "keys_values": ("to_k", "to_v"),
    "none": (),
}
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2")
TEMPORAL = (TEMPORAL_LAYERS, "temporal_res_block", "time_mixer", "time_pos_embed")
"""Parts of the names of the UNet's temporal layers."""


def part(unet: nn.Module, path: str) -> nn.Module:
    """The UNet's module at `path`.

    Raises:
        ValueError: there is none, because diffusers renamed its blocks.
    """
    try:
        return unet.get_submodule(path)
    except AttributeError:
        raise ValueError(
            f"diffusers {version('diffusers')} has no {path!r} in its SVD UNet; AID attaches "
            "there. Install a version AID was tested with: pip install 'diffusers==0.42.1'"
        ) from None


def attention_sites(unet: nn.Module) -> list[tuple[str, str]]:
    """Paths of every (residual block, spatio-temporal transformer after it): 16 in SVD."""
    blocks = [f"{side}.{i}" for side in ("down_blocks", "up_blocks") for i in indices(unet, side)]
    blocks.insert(len(indices(unet, "down_blocks")), "mid_block")
    sites = []
    for block in blocks:
        if not hasattr(part(unet, block), "attentions"):
            continue
        for i in indices(unet, f"{block}.attentions"):
            part(unet, f"{block}.resnets.{i}")
            sites.append((f"{block}.resnets.{i}", f"{block}.attentions.{i}"))
    if not sites:
        part(unet, "mid_block.attentions.0")
    return sites


def residual_blocks(unet: nn.Module) -> list[str]:
    """Paths of all residual blocks: 22 in SVD."""
    names = [name for name, _ in unet.named_modules()]
    return [name for name in names if name.split(".")[-2:-1] == ["resnets"]]


def level_blocks(unet: nn.Module, levels: int | None = None) -> list[str]:
    """Paths of the blocks of the first so many resolutions, the largest first; None takes all."""
    down, up = len(indices(unet, "down_blocks")), len(indices(unet, "up_blocks"))
    levels = down if levels is None else min(levels, down)
    paths = [f"down_blocks.{i}" for i in range(levels)]
    paths += [f"up_blocks.{up - 1 - i}" for i in range(levels)]
    return paths + ["mid_block"] * (levels == down)


def indices(unet: nn.Module, path: str) -> range:
    """Positions in the module list at `path`."""
    return range(len(part(unet, path)))


def check_sites(unet: nn.Module) -> None:
    """Fails early and by name if diffusers' UNet is not built as AID expects.

    Raises:
        ValueError: a block, a norm or a projection is missing.
    """
    for resnet, transformer in attention_sites(unet):
        part(unet, f"{resnet}.spatial_res_block")
        part(unet, f"{transformer}.time_mixer")
        for kind in (SPATIAL_LAYERS, TEMPORAL_LAYERS):
            for i in indices(unet, f"{transformer}.{kind}"):
                part(unet, f"{transformer}.{kind}.{i}.norm1")
                for attention in ("attn1", "attn2"):
                    for name in ("to_q", "to_k", "to_v", "to_out.0"):
                        part(unet, f"{transformer}.{kind}.{i}.{attention}.{name}")


def transformer_blocks(unet: nn.Module, kind: str) -> list[str]:
    """Paths of all blocks of a kind, `transformer_blocks` or `temporal_transformer_blocks`."""
    sites = [f"{transformer}.{kind}" for _, transformer in attention_sites(unet)]
    return [f"{site}.{i}" for site in sites for i in indices(unet, site)]


def trained_projections(config: CrossAttentionConfig, kind: str) -> tuple[str, ...]:
    """Which projections of cross-attention have trained copies, in blocks of a kind."""
    spatial = PROJECTIONS[config.trained]
    if kind == SPATIAL_LAYERS:
        return spatial
    # Choice: temporal cross-attention, if trained at all, in the parts the spatial one is.
    return (spatial or PROJECTIONS["all"]) if config.train_temporal else ()


def lora_sites(
    unet: nn.Module, config: LoraConfig, cross_attention: CrossAttentionConfig
) -> list[str]:
    """Paths of the frozen projections that get a low-rank update.

    Projections that have trained copies get none: the frozen ones are not read. Neither do queries
    and keys of temporal cross-attention: it reads one token, so its softmax is 1.
    """
    kinds = {"spatial": [SPATIAL_LAYERS], "temporal": [TEMPORAL_LAYERS]}
    kinds["both"] = kinds["spatial"] + kinds["temporal"]
    paths: list[str] = []
    for kind in kinds[config.blocks]:
        copied = trained_projections(cross_attention, kind)
        is_inert = ("to_q", "to_k") if kind == TEMPORAL_LAYERS else ()
        own = [f"attn1.{name}" for name in ATTENTION]
        own += [
            f"attn2.{name}"
            for name in ATTENTION
            if name.removesuffix(".0") not in copied and name not in is_inert
        ]
        own += FEED_FORWARD if config.layers == "attention_and_feed_forward" else ()
        paths += [f"{block}.{name}" for block in transformer_blocks(unet, kind) for name in own]
    return paths


def weight_names(unet: nn.Module, which: str) -> list[str]:
    """Names of the UNet's tensors that are trained: none, those of its temporal layers, or all."""
    names = [name for name, _ in unet.named_parameters()] if which != "none" else []
    if which == "temporal":
        return [name for name in names if any(kind in name for kind in TEMPORAL)]
    return names
