"""SimVP (Gao et al., CVPR 2022): convolutions only, no text, no noise; one future per first frame.

    features_i, skip_i = Encoder(frame_i)                 for every frame by itself
    hidden = Translator(features_1 .. features_T)         frames stacked along channels
    frame'_i = Decoder(hidden_i, skip_i)                  for every frame by itself

Trained by mean squared error (`loss`). What mixes frames is the translator alone; it knows which
frame is which by the order of the channels.

The paper maps T observed frames to T future ones. Ours: T copies of the one given frame go in, and
the T frames of the video come out, the first of which is then replaced by the given one. The mean
squared error makes an uncertain future a blurred one, and the skip makes copying easy: both are
properties of the method.

Source: the paper, and OpenSTL's version of its authors' code, which differs in two places: its skip
is added (the paper's and ours is concatenated) and its activation is SiLU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from aid.rivals.method import Sizes, Videos


@dataclass(frozen=True, kw_only=True)
class SimVPConfig:
    """Sizes of the networks; the defaults are the paper's for Moving MNIST."""

    width: int = 64
    """Channels of a frame in encoder and decoder."""
    strides: tuple[int, ...] = (1, 2, 1, 2)
    """Of the encoder's layers, 1 or 2; the decoder goes back in reverse order."""
    translator_width: int = 256
    """Channels of all frames together in the translator."""
    translator_depth: int = 8
    """Inception blocks of the translator's encoder, and as many of its decoder."""
    kernels: tuple[int, ...] = (3, 5, 7, 11)
    """Kernel sizes of an Inception block's convolutions."""
    groups: int = 8
    """Groups of these convolutions and of their norms."""


SMALL = SimVPConfig(width=32, translator_width=128, translator_depth=3)
"""For 64 px and 16 frames on two CPU cores (ours)."""


class SpatialLayer(nn.Module):
    """LeakyReLU(GroupNorm(conv3(x))), at half the size, the same, or twice the size."""

    def __init__(self, in_width: int, width: int, *, down: int = 1, up: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width * up**2, 3, stride=down, padding=1)
        self.shuffle = nn.PixelShuffle(up)
        self.norm = nn.GroupNorm(2, width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Features, the size changed by `up / down`."""
        return nn.functional.leaky_relu(self.norm(self.shuffle(self.conv(x))), 0.2)


class Encoder(nn.Module):
    """A frame's features, and the output of the first layer for the skip."""

    def __init__(self, channels: int, config: SimVPConfig) -> None:
        super().__init__()
        widths = [channels] + len(config.strides) * [config.width]
        self.layers = nn.ModuleList(
            SpatialLayer(before, width, down=stride)
            for (before, width), stride in zip(pairwise(widths), config.strides, strict=True)
        )

    def forward(
        self, frames: Float[Tensor, "n c H W"]
    ) -> tuple[Float[Tensor, "n d h w"], Float[Tensor, "n d H W"]]:
        """The last layer's output and the first one's."""
        skip = x = self.layers[0](frames)
        for layer in self.layers[1:]:
            x = layer(x)
        return x, skip


class Decoder(nn.Module):
    """The encoder's mirror image; its last layer also reads the encoder's first one."""

    def __init__(self, channels: int, config: SimVPConfig) -> None:
        super().__init__()
        width, ups = config.width, config.strides[::-1]
        self.layers = nn.ModuleList(SpatialLayer(width, width, up=up) for up in ups[:-1])
        self.last = SpatialLayer(2 * width, width, up=ups[-1])
        self.readout = nn.Conv2d(width, channels, 1)

    def forward(
        self, hidden: Float[Tensor, "n d h w"], skip: Float[Tensor, "n d H W"]
    ) -> Float[Tensor, "n c H W"]:
        """Frames, not limited to [-1, 1]."""
        for layer in self.layers:
            hidden = layer(hidden)
        return self.readout(self.last(torch.cat([hidden, skip], dim=1)))


class InceptionBlock(nn.Module):
    """y = sum_k LeakyReLU(GroupNorm(conv_k(conv_1 x))),   k = 3, 5, 7, 11."""

    def __init__(self, in_width: int, width: int, config: SimVPConfig) -> None:
        super().__init__()
        half, groups = config.translator_width // 2, config.groups
        self.reduce = nn.Conv2d(in_width, half, 1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(half, width, kernel, padding=kernel // 2, groups=groups),
                nn.GroupNorm(groups, width),
                nn.LeakyReLU(0.2),
            )
            for kernel in config.kernels
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h w"]:
        """Features of the same size."""
        x = self.reduce(x)
        return sum(branch(x) for branch in self.branches)


class Translator(nn.Module):
    """A U-Net of Inception blocks at one resolution, with concatenated skips."""

    def __init__(self, channels: int, config: SimVPConfig) -> None:
        super().__init__()
        width, depth = config.translator_width, config.translator_depth
        self.encoder = nn.ModuleList(
            InceptionBlock(channels if i == 0 else width, width, config) for i in range(depth)
        )
        self.decoder = nn.ModuleList(
            InceptionBlock(
                width if i == 0 else 2 * width, channels if i == depth - 1 else width, config
            )
            for i in range(depth)
        )

    def forward(self, x: Float[Tensor, "b fd h w"]) -> Float[Tensor, "b fd h w"]:
        """Features of all frames, mixed."""
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.decoder[0](skips.pop())
        for block in self.decoder[1:]:
            x = block(torch.cat([x, skips.pop()], dim=1))
        return x


class SimVPNetwork(nn.Module):
    """T frames in, T frames out."""

    def __init__(self, sizes: Sizes, config: SimVPConfig) -> None:
        super().__init__()
        self.encoder = Encoder(sizes.channels, config)
        self.translator = Translator(sizes.num_frames * config.width, config)
        self.decoder = Decoder(sizes.channels, config)

    def forward(self, videos: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f c h w"]:
        """As many frames as it reads."""
        num_frames = videos.shape[1]
        features, skip = self.encoder(rearrange(videos, "b f c h w -> (b f) c h w"))
        hidden = self.translator(rearrange(features, "(b f) d h w -> b (f d) h w", f=num_frames))
        hidden = rearrange(hidden, "b (f d) h w -> (b f) d h w", f=num_frames)
        return rearrange(self.decoder(hidden, skip), "(b f) c h w -> b f c h w", f=num_frames)


class SimVP:
    """SimVP as a row of the comparison.

    Args:
        sizes: of the videos.
        config: of the networks.

    Raises:
        ValueError: the sizes do not fit the strides, or the widths not the groups.
    """

    space: Literal["pixels", "latents"] = "pixels"
    reads_text = False
    title = "SimVP"
    stages: Mapping[str, float] = {"video": 1.0}
    learning_rates: Mapping[str, float] = {"video": 1e-3}
    small: SimVPConfig = SMALL

    def __init__(self, sizes: Sizes, config: SimVPConfig = SimVPConfig()) -> None:
        _check(sizes, config)
        self.num_frames = sizes.num_frames
        network = SimVPNetwork(sizes, config)
        self.network = network.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """All parameters."""
        return dict(self.network.named_parameters())

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Mean squared error of every video, all frames alike; nothing is random."""
        error = self._predict(batch.videos[:, 0]) - batch.videos
        return error.square().mean(dim=(1, 2, 3, 4))

    @torch.no_grad()
    def draw(
        self,
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
        generator: torch.Generator,
        num_steps: int | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """The one video that each first frame leads to, in [-1, 1]; only `given` counts."""
        videos = self._predict(given).clamp(-1, 1)
        return torch.cat([given[:, None], videos[:, 1:]], dim=1)

    def _predict(self, given: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f c h w"]:
        return self.network(repeat(given, "b c h w -> b f c h w", f=self.num_frames))


def _check(sizes: Sizes, config: SimVPConfig) -> None:
    shrinks = 1
    for stride in config.strides:
        shrinks *= stride
    if sizes.height % shrinks or sizes.width % shrinks:
        raise ValueError(
            f"frames of {sizes.height} x {sizes.width} cannot be halved evenly by strides "
            f"{config.strides}. Choose multiples of {shrinks}."
        )
    widths: Sequence[int] = (
        config.translator_width // 2,
        config.translator_width,
        sizes.num_frames * config.width,
    )
    if any(width % config.groups for width in widths):
        raise ValueError(
            f"channels {tuple(widths)} of SimVP's translator cannot be divided into "
            f"{config.groups} groups. Change `groups`, `translator_width` or `width`."
        )
