"""The seam: where AID's trained parts meet the frozen UNet, and the only file that knows.

`Insertion` builds the adapters and the trained copies of cross-attention for a UNet and joins them
by forward hooks and attention processors (`joins.py`), and LoRA by peft (`lora.py`). The UNet's own
tensors stay exactly diffusers'; `detach()` gives it back as it was. `denoiser.py` alone calls it.

Reference: AID, pipeline figure; SVD's blocks run residual block -> spatial (self-attention,
cross-attention, feed-forward) -> temporal (the same) -> blend, an order the frozen weights need.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from aid.config import AdapterConfig, ModelConfig
from aid.models.adapters import LongTermAdapter, ShortTermAdapter, SpatialAdapter
from aid.models.dqformer import Context
from aid.models.joins import (
    CrossAttention,
    LongTermAfterBlend,
    ParallelAdapter,
    Seam,
    SequentialShortTerm,
)
from aid.models.lora import LowRankUpdates
from aid.models.sites import (
    attention_sites,
    check_seams,
    level_blocks,
    part,
    residual_blocks,
    trained_projections,
    transformer_blocks,
)
from aid.models.weights import TrainedWeights


def _key(path: str) -> str:
    """A UNet path as a name that a `ModuleDict` accepts."""
    return path.replace(".", "-")


def _path(key: str) -> str:
    return key.replace("-", ".")


class Insertion:
    """AID's trained parts inside one UNet, and the join itself.

    `adapters`, `cross_attention` and `lora.trained` hold every trained tensor, named after its site
    in the UNet.

    Raises:
        ValueError: the UNet is not built as expected, or already carries another insertion.
    """

    def __init__(self, unet: nn.Module, config: ModelConfig):
        check_seams(unet)
        self.unet, self.config, self.seam = unet, config, Seam()
        self.adapters = _adapters(unet, config.adapter)
        self.cross_attention = _cross_attention(unet, config)
        self.lora = LowRankUpdates(unet, config.lora, config.cross_attention)
        self.weights = TrainedWeights(unet, config.unet_weights)
        self._handles = []
        self._processors: dict[str, object] = {}
        self.attach()

    def attach(self) -> None:
        """Joins the parts to the UNet."""
        self.weights.attach()
        self.lora.attach()
        for room, kind in (("spatial", ""), ("temporal", "temporal_")):
            trained = dict(self.cross_attention[room].items())
            for path in transformer_blocks(self.unet, f"{kind}transformer_blocks"):
                self._replace_attention(path, trained.get(_key(path)), room == "spatial")
        config = self.config.adapter
        for kind in ("spatial", "long_term"):
            for key, adapter in self.adapters[kind].items():
                module = part(self.unet, _path(key))
                if key.endswith("time_mixer"):
                    hook = LongTermAfterBlend(adapter, config)
                    self._handles.append(module.register_forward_hook(hook, with_kwargs=True))
                    continue
                hook = ParallelAdapter(adapter, config)
                self._handles.append(module.attn1.register_forward_hook(hook))
                if config.parallel_input == "raw":
                    before = module.norm1.register_forward_pre_hook(hook.remember_stream)
                    self._handles.append(before)
        for key, adapter in self.adapters["short_term"].items():
            hook = SequentialShortTerm(adapter)
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
        self.lora.detach()
        self.weights.detach()

    def _replace_attention(
        self, block: str, trained: nn.ModuleDict | None, reads_context: bool
    ) -> None:
        attention = part(self.unet, f"{block}.attn2")
        if isinstance(attention.processor, CrossAttention):
            raise ValueError(
                "this UNet already carries AID's parts. Call detach() on the other denoiser's "
                "insertion, or load the backbone again."
            )
        self._processors[f"{block}.attn2"] = attention.processor
        attention.set_processor(CrossAttention(trained, self.seam, reads_context))

    @contextmanager
    def reading(self, context: Context | None) -> Iterator[None]:
        """While it lasts, spatial cross-attention reads `context`; None: SVD's image token."""
        before, self.seam.context = self.seam.context, context
        try:
            yield
        finally:
            self.seam.context = before

    def enable_gradient_checkpointing(self, levels: int | None = None) -> None:
        """Trades time for memory in the UNet. Use this, not diffusers' own switch.

        diffusers runs residual and spatial blocks again; temporal blocks, which it leaves out, are
        added here. The backward pass runs them after `reading` has ended, so each block has to
        carry its context along.

        Args:
            levels: only the first so many resolutions, the largest first; None takes all.

        Raises:
            ValueError: `levels` is below 1.
        """
        if levels is not None and levels < 1:
            raise ValueError(f"checkpointed levels must be at least 1, got {levels}.")

        def run_again_later(block: Callable, *args: object, **kwargs: object) -> object:
            context = self.seam.context

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
        for path in transformer_blocks(self.unet, "temporal_transformer_blocks"):
            block = part(self.unet, path)
            vars(block).pop("forward", None)  # an earlier call's
            if any(path.startswith(f"{own}.") for own in chosen):
                block.forward = partial(temporal, block.forward)


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


def _trained_copy(frozen: nn.Linear) -> nn.Linear:
    """A layer with the frozen one's weights, in float32; no randomness is used up."""
    out, dim = frozen.weight.shape
    made = nn.Linear(dim, out, bias=frozen.bias is not None, device="meta")
    for name, weight in frozen.named_parameters():
        setattr(made, name, nn.Parameter(weight.detach().to(torch.float32, copy=True)))
    return made


def _cross_attention(unet: nn.Module, config: ModelConfig) -> nn.ModuleDict:
    """Trained copies of the chosen cross-attention projections of every site."""
    kinds = ("transformer_blocks", "temporal_transformer_blocks")
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

    return nn.ModuleDict(
        {"spatial": every("transformer_blocks"), "temporal": every("temporal_transformer_blocks")}
    )
