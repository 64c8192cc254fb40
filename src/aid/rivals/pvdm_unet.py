"""PVDM's denoiser: one two-dimensional UNet for all three planes, which meet in attention.

    after every block:   planes = Block(plane, t) for every plane by itself, with the same weights
                         planes = planes + SelfAttention(all positions of all planes)

The condition's planes are concatenated to the noisy ones along channels. The blocks are those of
Dhariwal and Nichol 2021: the time step scales and shifts the normalized features, and residual
blocks change the resolution.

Source: Yu et al., CVPR 2023, and its authors' code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.embeddings import get_timestep_embedding
from einops import pack, rearrange, unpack
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

NORM_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Sizes of the UNet; the defaults are the paper's."""

    width: int = 256
    """Channels at the first level, a multiple of 32."""
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    """Of the channels, a level each; a level has half the resolution of the one before."""
    blocks: int = 2
    """Residual blocks of a level; one more on the way up."""
    attention_levels: int = 3
    """So many levels, from the first on, have attention inside each plane, too."""
    heads: int = 8
    """Of every attention."""


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all weights 0, so that a residual branch starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class SelfAttention(nn.Module):
    """x + W Attention(GroupNorm(x)), W = 0 at the start."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(NORM_GROUPS, width)
        self.to_qkv = nn.Conv1d(width, 3 * width, 1)
        self.to_out = zeroed(nn.Conv1d(width, width, 1))

    def forward(self, x: Float[Tensor, "b d n"]) -> Float[Tensor, "b d n"]:
        """The positions, updated."""
        qkv = self.to_qkv(self.norm(x))
        q, k, v = rearrange(qkv, "b (m three e) n -> three b m n e", m=self.heads, three=3)
        out = F.scaled_dot_product_attention(q, k, v)
        return x + self.to_out(rearrange(out, "b m n e -> b (m e) n"))


class ResidualBlock(nn.Module):
    """h = conv(SiLU(norm(x))),   skip(x) + conv(SiLU((1 + a_t) norm(h) + b_t)).

    `resize` (2 or 1/2) resizes x and what goes into the first convolution alike.
    """

    def __init__(self, in_width: int, width: int, time_dim: int, resize: float = 1.0) -> None:
        super().__init__()
        self.resize = resize
        self.norm_in = nn.GroupNorm(NORM_GROUPS, in_width)
        self.conv_in = nn.Conv2d(in_width, width, 3, padding=1)
        self.from_time = nn.Linear(time_dim, 2 * width)
        self.norm_out = nn.GroupNorm(NORM_GROUPS, width)
        self.conv_out = zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.skip = nn.Identity() if in_width == width else nn.Conv2d(in_width, width, 1)

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b c2 h2 w2"]:
        """Features at the same resolution, half or twice that."""
        h = self.conv_in(self._resized(F.silu(self.norm_in(x))))
        scale, shift = self.from_time(F.silu(time))[:, :, None, None].chunk(2, dim=1)
        h = self.conv_out(F.silu(self.norm_out(h) * (1 + scale) + shift))
        return self.skip(self._resized(x)) + h

    def _resized(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if self.resize < 1:
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resize > 1 else x


class InPlane(nn.Module):
    """Self-attention inside one plane."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)

    def forward(self, x: Float[Tensor, "b d h w"], time: Tensor) -> Float[Tensor, "b d h w"]:
        """The positions of the plane, updated; the time is not read."""
        flat, shape = pack([x], "b d *")
        return unpack(self.attention(flat), shape, "b d *")[0]


class Stage(nn.Module):
    """Layers that each plane passes by itself, then attention over the positions of all planes."""

    def __init__(self, layers: Sequence[nn.Module], width: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.joint = SelfAttention(width, heads)

    def forward(
        self, planes: Sequence[Float[Tensor, "b c _ _"]], time: Float[Tensor, "b t"]
    ) -> list[Float[Tensor, "b d _ _"]]:
        """The three planes, updated."""
        for layer in self.layers:
            planes = [layer(plane, time) for plane in planes]
        joined, shapes = pack(planes, "b d *")
        return unpack(self.joint(joined), shapes, "b d *")


class PlanesUNet(nn.Module):
    """Predicts the noise of three planes."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        self.width = config.width
        time_dim, heads = 4 * config.width, config.heads
        widths = [config.width * multiplier for multiplier in config.multipliers]
        last = len(widths) - 1

        def block(in_width: int, width: int, level: int) -> list[nn.Module]:
            residual = ResidualBlock(in_width, width, time_dim)
            inside = level < config.attention_levels
            return [residual, InPlane(width, heads)] if inside else [residual]

        self.embed_time = nn.Sequential(
            nn.Linear(config.width, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim)
        )
        self.stem = nn.Conv2d(2 * channels, config.width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        now, skips = config.width, [config.width]
        for level, width in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(Stage(block(now, width, level), width, heads))
                skips.append(width)
                now = width
            if level < last:
                halve = ResidualBlock(width, width, time_dim, resize=0.5)
                self.down.append(Stage([halve], width, heads))
                skips.append(width)
        middle = [
            ResidualBlock(now, now, time_dim),
            InPlane(now, heads),
            ResidualBlock(now, now, time_dim),
        ]
        self.middle = Stage(middle, now, heads)
        for level, width in reversed(list(enumerate(widths))):
            for index in range(config.blocks + 1):
                layers = block(now + skips.pop(), width, level)
                if level > 0 and index == config.blocks:
                    layers.append(ResidualBlock(width, width, time_dim, resize=2.0))
                self.up.append(Stage(layers, width, heads))
                now = width
        self.norm = nn.GroupNorm(NORM_GROUPS, now)
        self.readout = zeroed(nn.Conv2d(now, channels, 3, padding=1))

    def forward(
        self,
        noisy: Sequence[Float[Tensor, "b c _ _"]],
        condition: Sequence[Float[Tensor, "b c _ _"]],
        timesteps: Int[Tensor, " b"],
    ) -> list[Float[Tensor, "b c _ _"]]:
        """The noise of every plane, given the condition's planes of the same shapes."""
        time = self.embed_time(
            get_timestep_embedding(
                timesteps, self.width, flip_sin_to_cos=True, downscale_freq_shift=0
            )
        )
        planes = [self.stem(torch.cat(pair, dim=1)) for pair in zip(noisy, condition, strict=True)]
        skips = [planes]
        for stage in self.down:
            planes = stage(planes, time)
            skips.append(planes)
        planes = self.middle(planes, time)
        for stage in self.up:
            pairs = zip(planes, skips.pop(), strict=True)
            planes = stage([torch.cat(pair, dim=1) for pair in pairs], time)
        return [self.readout(F.silu(self.norm(plane))) for plane in planes]
