"""LPIPS (Zhang et al. 2018, version 0.1 on AlexNet); the user must provide its weights.

The network is small and defined here, so that the metric needs neither torchvision nor a download.
One safetensors file holds both public parts under their own names: AlexNet's `features.*` and the
linear heads `lin0.model.1.weight` ... `lin4.model.1.weight` (docs/evaluation.md says how to make
it).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aid.metrics.weights import load_exactly

LAYERS = {0: (3, 64, 11, 4, 2), 3: (64, 192, 5, 1, 2), 6: (192, 384, 3, 1, 1),
          8: (384, 256, 3, 1, 1), 10: (256, 256, 3, 1, 1)}  # fmt: skip
"""AlexNet's convolutions by index: channels in and out, kernel, stride, padding."""
SMALLEST_SIDE = 31  # smaller frames have no pixel left at AlexNet's last layer


class Lpips(nn.Module):
    """Perceptual distance of two images in [-1, 1]; 0 for equal ones."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Identity()] * 12
        for number, (width_in, width, kernel, stride, padding) in LAYERS.items():
            layers[number] = nn.Conv2d(width_in, width, kernel, stride, padding)
            layers[number + 1] = nn.ReLU()
        layers[2] = layers[5] = nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(*layers)
        for number, (_, width, *_) in enumerate(LAYERS.values()):
            head = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))
            self.add_module(f"lin{number}", nn.ModuleDict({"model": head}))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]), persistent=False)

    def layers(self, frames: Float[Tensor, "f 3 H W"]) -> list[Float[Tensor, "f _ _ _"]]:
        """Activations of the five layers, scaled to length 1 at every position."""
        x = (frames - self.shift[:, None, None]) / self.scale[:, None, None]
        activations = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number - 1 in LAYERS:
                activations.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return activations

    @torch.no_grad()
    def forward(
        self, a: Float[Tensor, "f 3 H W"], b: Float[Tensor, "f 3 H W"]
    ) -> Float[Tensor, " f"]:
        """The distance of every frame of `a` from that of `b`.

        Raises:
            ValueError: the frames are too small for the network.
        """
        if min(a.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs frames of at least {SMALLEST_SIDE} pixels, got {a.shape[-1]}x"
                f"{a.shape[-2]}. Leave out --lpips."
            )
        total = torch.zeros(len(a))
        for number, (x, y) in enumerate(zip(self.layers(a), self.layers(b), strict=True)):
            head = getattr(self, f"lin{number}")["model"][1].weight
            total += F.conv2d((x - y).square(), head).mean((1, 2, 3))
        return total


def load_lpips(path: Path) -> Lpips:
    """LPIPS with the weights of a safetensors file.

    Raises:
        ValueError: there is no such file, or its names or shapes are not LPIPS's.
    """
    network = Lpips()
    load_exactly(network, path)
    return network.eval().requires_grad_(False)
