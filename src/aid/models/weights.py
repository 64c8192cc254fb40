"""Copies of the UNet's own weights that are trained: the costly alternative to adapters.

`insertion.py` is the only caller. While attached, the copies stand in the UNet's modules where the
frozen tensors stood, under the same names; detached, the frozen tensors are back, untouched.
"""

from torch import Tensor, nn

from aid.models.sites import part

TEMPORAL = ("temporal_transformer_blocks", "temporal_res_block", "time_mixer", "time_pos_embed")


def weight_names(unet: nn.Module, which: str) -> list[str]:
    """Names of the UNet's tensors that are trained: none, those of its temporal layers, or all."""
    names = [name for name, _ in unet.named_parameters()] if which != "none" else []
    if which == "temporal":
        return [name for name in names if any(kind in name for kind in TEMPORAL)]
    return names


class TrainedWeights:
    """Trained copies of some of one UNet's tensors, in float32, named after what they replace."""

    def __init__(self, unet: nn.Module, which: str) -> None:
        self.unet = unet
        self._frozen: dict[str, Tensor] = {}
        self._copies: dict[str, nn.Parameter] = {}
        for name in weight_names(unet, which):
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


def _put(unet: nn.Module, name: str, tensor: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(part(unet, path) if path else unet, leaf, tensor)
