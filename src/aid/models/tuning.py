"""What AID's adapters are compared with or combined with: LoRA, and trained weights of the UNet.

`insertion.py` is the only caller. While attached, both stand in the UNet where the frozen layers
stood; detached, the frozen layers are back, bit for bit. This is the only file that knows peft.

LoRA adds low-rank updates to frozen projections:

    W x + (alpha / rank) W_up W_down x                                           (Hu et al. 2021)

W_up starts at zero, so new updates change nothing. peft multiplies the tokens by W, by W_down and
by W_up. Where it is cheaper, they are multiplied once here, by the sum, which is the same up to
rounding:

    (W + (alpha / rank) W_up W_down) x
"""

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aid.config import LoraConfig
from aid.models.memory import has_storage, with_storage

NAME = "aid"
MAX_COST_RATIO = 10
"""Of the sum against peft's products. Measured on a CPU: `python benchmarks/lora.py`,
docs/performance.md."""


def in_float32(trained: nn.Module, is_counted: bool = False) -> nn.Module:
    """The module with float32 weights, even where the frozen ones it came from have less.

    While memory is counted (`memory.counting`), its weights have no storage from here on.
    """
    # Not `Module.float`: it cannot do so with tensors without storage.
    for module in trained.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            made = torch.empty(parameter.shape) if is_counted else parameter.detach().float()
            setattr(module, name, nn.Parameter(made))
    return trained


def sum_is_cheaper(frozen: Float[Tensor, "out dim"], rank: int) -> bool:
    """Whether one product with W + W_up W_down beats three, in training.

    For each token the sum takes 2 out dim operations more, for the gradient of a whole matrix; peft
    takes 6 rank (out + dim) more, and several passes over what it reads and writes.

    Choice: half-precision weights are left to peft. Rounded to 8 bits the sum would swallow small
    updates; in float32 (autocast around it or not) it is what `merge` predicts with.
    """
    out, dim = frozen.shape
    return frozen.dtype == torch.float32 and out * dim <= MAX_COST_RATIO * rank * (out + dim)


def multiply_by_the_sum(layer: nn.Module, x: Float[Tensor, "*b dim"]) -> Float[Tensor, "*b out"]:
    """The output of peft's layer, up to rounding; its `forward` where `sum_is_cheaper`."""
    base = layer.get_base_layer()
    if layer.merged or layer.disable_adapters:
        return base(x)
    with torch.autocast(x.device.type, enabled=False):  # else the update would be rounded twice
        weight = base.weight + layer.get_delta_weight(NAME)
    return F.linear(x, weight, base.bias)


class LowRankUpdates:
    """The updates of the frozen projections at `paths` of one UNet.

    `trained` holds their tensors, `down` (W_down) and `up` (W_up), named after the site.
    """

    def __init__(self, unet: nn.Module, paths: list[str], config: LoraConfig) -> None:
        self.unet = unet
        self.layers: dict[str, nn.Module] = {}
        self._frozen: dict[str, Tensor] = {}
        if paths:
            self._make(paths, config)
        self.trained = nn.ModuleDict(
            {
                path.replace(".", "-"): nn.ModuleDict(
                    {"down": layer.lora_A[NAME], "up": layer.lora_B[NAME]}
                )
                for path, layer in self.layers.items()
            }
        )

    def _make(self, paths: list[str], config: LoraConfig) -> None:
        import peft  # seconds that only LoRA has to pay

        alpha = config.rank if config.alpha is None else config.alpha
        settings = peft.LoraConfig(r=config.rank, lora_alpha=alpha, target_modules=paths)
        with with_storage():  # peft moves what it makes, which nothing without storage can be
            peft.inject_adapter_in_model(settings, self.unet, adapter_name=NAME)
        self.layers = {path: self.unet.get_submodule(path) for path in paths}
        for layer in self.layers.values():
            is_counted = not has_storage(layer.get_base_layer().weight)
            in_float32(layer.lora_A, is_counted), in_float32(layer.lora_B, is_counted)
            if sum_is_cheaper(layer.get_base_layer().weight, config.rank):
                layer.forward = partial(multiply_by_the_sum, layer)

    def attach(self) -> None:
        """Puts peft's layers where the frozen projections are."""
        for path, layer in self.layers.items():
            _put(self.unet, path, layer)

    def detach(self) -> None:
        """Puts the frozen projections back, with their own weights."""
        self.unmerge()
        for path, layer in self.layers.items():
            _put(self.unet, path, layer.get_base_layer())
        self.unet.__dict__.pop("peft_config", None)  # or peft warns of the next one's updates

    @property
    def is_merged(self) -> bool:
        """Whether the frozen weights carry the updates at present."""
        return bool(self._frozen)

    def merge(self) -> None:
        """Adds the updates to the weights, so that predicting costs no more than the bare UNet.

        Equal up to rounding in the weights' own precision. The frozen weights are kept aside.
        """
        if self.is_merged:
            return
        for path, layer in self.layers.items():
            self._frozen[path] = layer.get_base_layer().weight.detach().clone()
            layer.merge()

    @torch.no_grad()
    def unmerge(self) -> None:
        """Takes the updates out again; the frozen weights come back bit for bit."""
        for path, weight in self._frozen.items():
            layer = self.layers[path]
            layer.unmerge()
            layer.get_base_layer().weight.copy_(weight)  # subtraction alone leaves rounding behind
        self._frozen.clear()


class TrainedWeights:
    """Trained copies of some of one UNet's tensors, in float32, named after what they replace."""

    def __init__(self, unet: nn.Module, names: list[str]) -> None:
        self.unet = unet
        self._frozen: dict[str, Tensor] = {}
        self._copies: dict[str, nn.Parameter] = {}
        for name in names:
            self._copies[name] = nn.Parameter(unet.get_parameter(name).detach().clone().float())
        named = {name.replace(".", "-"): copied for name, copied in self._copies.items()}
        self.trained = nn.ParameterDict(named)

    def attach(self) -> None:
        """Puts the copies where the frozen tensors are."""
        for name, copied in self._copies.items():
            self._frozen[name] = self.unet.get_parameter(name)
            _put(self.unet, name, copied)

    def detach(self) -> None:
        """Puts the frozen tensors back."""
        for name, frozen in self._frozen.items():
            _put(self.unet, name, frozen)
        self._frozen.clear()


def _put(unet: nn.Module, path: str, part: nn.Module | nn.Parameter) -> None:
    parent, _, name = path.rpartition(".")
    setattr(unet.get_submodule(parent), name, part)
