"""I3D on Kinetics-400, the network of the published FVD; the user must provide its weights.

Carreira and Zisserman 2017, with the module names of the published file `i3d_pretrained_400.pt`,
so that its tensors fit one by one. Features are the mean over time of the 400 logits.
docs/evaluation.md says how to make the safetensors file.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from aid.metrics.distances import CUBIC
from aid.metrics.weights import file_hash, load_exactly

MIXED = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Input channels, and the channels of the branches: 1; 3a, 3b; 3a', 3b'; pool."""
FEWEST_FRAMES = 9


def same_padding(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """The tensor, padded with zeros as TensorFlow's "SAME" does: an odd zero goes at the end."""
    pads: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(k - (s if size % s == 0 else size % s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class Unit3D(nn.Module):
    """Convolution, normalisation and ReLU; the last layer has a bias instead of the latter two."""

    def __init__(self, width_in: int, width: int, kernel: int, stride: int = 1, last: bool = False):
        super().__init__()
        self.conv3d = nn.Conv3d(width_in, width, kernel, stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(width, eps=0.001)

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b d g i j"]:
        """The output of the unit."""
        x = self.conv3d(same_padding(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class Pool(nn.Module):
    """The largest value of each window."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c g i j"]:
        """The maxima; the zeros at the border take part, as in the published network."""
        return F.max_pool3d(same_padding(x, self.kernel, self.stride), self.kernel, self.stride)


class Mixed(nn.Module):
    """An Inception module: four branches side by side."""

    def __init__(self, width_in: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = Unit3D(width_in, widths[0], 1)
        self.b1a, self.b1b = Unit3D(width_in, widths[1], 1), Unit3D(widths[1], widths[2], 3)
        self.b2a, self.b2b = Unit3D(width_in, widths[3], 1), Unit3D(widths[3], widths[4], 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit3D(width_in, widths[5], 1)

    def forward(self, x: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b d f h w"]:
        """The branches, concatenated along the channels."""
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


class InceptionI3D(nn.Module):
    """The network: videos of 224 pixels to 400 logits.

    Args:
        num_classes: of the last layer.
    """

    def __init__(self, num_classes: int = 400) -> None:
        super().__init__()
        halve, halve_all = Pool((1, 3, 3), (1, 2, 2)), Pool((3, 3, 3), (2, 2, 2))
        layers: list[tuple[str, nn.Module]] = [
            ("Conv3d_1a_7x7", Unit3D(3, 64, 7, 2)),
            ("MaxPool3d_2a_3x3", halve),
            ("Conv3d_2b_1x1", Unit3D(64, 64, 1)),
            ("Conv3d_2c_3x3", Unit3D(64, 192, 3)),
            ("MaxPool3d_3a_3x3", halve),
        ]
        for name, (width_in, widths) in MIXED.items():
            if name == "Mixed_4b":
                layers.append(("MaxPool3d_4a_3x3", halve_all))
            if name == "Mixed_5b":
                layers.append(("MaxPool3d_5a_2x2", Pool((2, 2, 2), (2, 2, 2))))
            layers.append((name, Mixed(width_in, widths)))
        for name, layer in layers:
            self.add_module(name, layer)
        self.names = [name for name, _ in layers]
        self.logits = Unit3D(1024, num_classes, 1, last=True)

    def forward(self, x: Float[Tensor, "b 3 f 224 224"]) -> Float[Tensor, "b d"]:
        """Mean over time of the logits, for frames in [-1, 1].

        Raises:
            ValueError: fewer than 9 frames, which leave nothing to average.
        """
        if x.shape[2] < FEWEST_FRAMES:
            raise ValueError(
                f"I3D needs at least {FEWEST_FRAMES} frames, got {x.shape[2]}. Score longer "
                "videos, or use another extractor."
            )
        for name in self.names:
            x = getattr(self, name)(x)
        return self.logits(F.avg_pool3d(x, (2, 7, 7), 1))[..., 0, 0].mean(2)


class I3D:
    """The extractor of the published FVD.

    Args:
        weights: a safetensors file.
        device: where it runs.

    Raises:
        ValueError: the file is missing, damaged, or its tensors are not I3D's.
    """

    name, side, dim, kernel = "i3d-kinetics400", 224, 400, CUBIC
    is_tuned_to = "Kinetics-400"

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.hash = file_hash(weights)
        self.network, self.device = InceptionI3D(), device
        load_exactly(self.network, weights)
        self.network.eval().requires_grad_(False).to(device)

    @torch.no_grad()
    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        return self.network(frames.transpose(1, 2).to(self.device))
