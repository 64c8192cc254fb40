"""PVDM's autoencoder: a video becomes three planes of tokens, and the planes a video.

    u = TimeSformer(patches of the video)                                u: one token per f, h, w
    z_hw = tanh(W Transformer(u[:, h, w], token)[token])                 over f, for every h, w
    z_fh = tanh(W Transformer(u[f, h, :], token)[token])                 over w, for every f, h
    z_fw = tanh(W Transformer(u[f, :, w], token)[token])                 over h, for every f, w
    video = sigmoid(pixels(TimeSformer(V z_hw + V' z_fh + V'' z_fw)))    broadcast over third axes

A plane is two-dimensional, so the diffusion model needs no three-dimensional network. z_hw holds
what stays; z_fh and z_fw hold what moves.

Source: Yu et al., CVPR 2023, "Video Probabilistic Diffusion Models in Projected Latent Space", and
its authors' code, which differs in two places. It reads a plane from the first position (frame 0,
row 0, column 0) instead of the appended token, which is the last one. Its rotary embedding of
frames gives the two numbers of a pair different frequencies, so that it is no rotation.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import pack, rearrange, repeat, unpack
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from aid.rivals.method import Sizes

TOKEN_STD = 0.02
"""Of the appended tokens and positions at the start (ours). Its code takes 1, beside which what a
token reads from the video hardly counts at first."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Sizes of the autoencoder; the defaults are the paper's."""

    patch: int = 8
    """Pixels on a side of a patch; the paper takes 4 at 128 px."""
    width: int = 384
    """Width of a token."""
    depth: int = 8
    """Blocks of the encoder's TimeSformer, and of the decoder's."""
    heads: int = 8
    """Of the TimeSformers' attention."""
    head_dim: int = 64
    """Width of a head, a multiple of 4."""
    plane_channels: int = 4
    """Channels of a plane."""
    plane_depth: int = 4
    """Blocks of the transformer that shrinks an axis to one token."""
    plane_heads: int = 4
    """Of that transformer."""
    plane_hidden: int = 512
    """Width of its feed-forward layers."""


class Planes(NamedTuple):
    """The latent of a video, in [-1, 1]."""

    hw: Float[Tensor, "b c h w"]
    """One number for each place, of all frames."""
    fh: Float[Tensor, "b c f h"]
    """One for each frame and row, of all columns."""
    fw: Float[Tensor, "b c f w"]
    """One for each frame and column, of all rows."""

    def join(self) -> Float[Tensor, "b c n"]:
        """All positions in one row, as the diffusion model treats them."""
        return pack(self, "b c *")[0]

    @classmethod
    def split(
        cls, joined: Float[Tensor, "b c n"], frames: int, rows: int, columns: int
    ) -> "Planes":
        """The inverse of `join`."""
        shapes = [(rows, columns), (frames, rows), (frames, columns)]
        return cls(*unpack(joined, shapes, "b c *"))


def rotate(
    x: Float[Tensor, "... n d"], angles: Float[Tensor, "n pairs"]
) -> Float[Tensor, "... n d"]:
    """Each pair of neighbouring numbers, turned by its angle (Su et al. 2021, RoPE)."""
    first, second = rearrange(x, "... (pairs two) -> two ... pairs", two=2)
    cos, sin = angles.cos(), angles.sin()
    turned = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return rearrange(turned, "... pairs two -> ... (pairs two)")


def frame_angles(frames: int, head_dim: int) -> Float[Tensor, "f pairs"]:
    """Angle f / 10000^(2 i / d) of pair i at frame f."""
    rates = 10000 ** (-torch.arange(0, head_dim, 2) / head_dim)
    return torch.arange(frames)[:, None] * rates


def place_angles(rows: int, columns: int, head_dim: int) -> Float[Tensor, "places pairs"]:
    """Angles of a place: half of the pairs turn with its row, half with its column.

    Frequencies lie between 1 and 5 half turns per image, evenly by their logarithm.
    """
    rates = math.pi * 2 ** torch.linspace(0, math.log2(5), head_dim // 4)
    row_angles = torch.linspace(-1, 1, rows)[:, None] * rates
    column_angles = torch.linspace(-1, 1, columns)[:, None] * rates
    return torch.cat(
        [
            repeat(row_angles, "h r -> (h w) r", w=columns),
            repeat(column_angles, "w r -> (h w) r", h=rows),
        ],
        dim=-1,
    )


class Attention(nn.Module):
    """Self-attention of pre-normalized tokens; queries and keys may be rotated."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, width)

    def forward(
        self, x: Float[Tensor, "b n d"], angles: Float[Tensor, "n pairs"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """What the tokens learn from each other, to be added to them."""
        qkv = self.to_qkv(self.norm(x))
        q, k, v = rearrange(qkv, "b n (three m e) -> three b m n e", three=3, m=self.heads)
        if angles is not None:
            q, k = rotate(q, angles.to(q)), rotate(k, angles.to(k))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(rearrange(out, "b m n e -> b n (m e)"))


class GatedFeedForward(nn.Module):
    """W2 (a * GELU(b)),   (a, b) = W1 LayerNorm(x)                       (Shazeer 2020, GEGLU)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.to_hidden = nn.Linear(width, 8 * width)
        self.to_out = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "*shape d"]) -> Float[Tensor, "*shape d"]:
        """The update of each token, to be added to it."""
        value, gate = self.to_hidden(self.norm(x)).chunk(2, dim=-1)
        return self.to_out(value * F.gelu(gate))


class TimeSformerBlock(nn.Module):
    """Attention over the frames of each place, over the places of each frame, feed-forward."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.over_frames = Attention(config.width, config.heads, config.head_dim)
        self.over_places = Attention(config.width, config.heads, config.head_dim)
        self.feed_forward = GatedFeedForward(config.width)

    def forward(
        self,
        x: Float[Tensor, "b f p d"],
        frame_angles: Float[Tensor, "f pairs"],
        place_angles: Float[Tensor, "p pairs"],
    ) -> Float[Tensor, "b f p d"]:
        """The tokens, updated."""
        b, f, p, _ = x.shape
        along_frames = rearrange(x, "b f p d -> (b p) f d")
        x = x + rearrange(
            self.over_frames(along_frames, frame_angles), "(b p) f d -> b f p d", b=b, p=p
        )
        along_places = rearrange(x, "b f p d -> (b f) p d")
        x = x + rearrange(
            self.over_places(along_places, place_angles), "(b f) p d -> b f p d", b=b, f=f
        )
        return x + self.feed_forward(x)


class TimeSformer(nn.Module):
    """Blocks with divided attention and rotary positions   (Bertasius et al. 2021)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.blocks = nn.ModuleList(TimeSformerBlock(config) for _ in range(config.depth))

    def forward(self, x: Float[Tensor, "b f h w d"]) -> Float[Tensor, "b f h w d"]:
        """The tokens of all frames and places, mixed."""
        _, frames, rows, columns, _ = x.shape
        angles = (
            frame_angles(frames, self.head_dim).to(x.device),
            place_angles(rows, columns, self.head_dim).to(x.device),
        )
        x = rearrange(x, "b f h w d -> b f (h w) d")
        for block in self.blocks:
            x = block(x, *angles)
        return rearrange(x, "b f (h w) d -> b f h w d", h=rows)


class Projection(nn.Module):
    """Shrinks an axis of n tokens to one: a token is appended, attends, and is kept alone."""

    def __init__(self, length: int, config: AutoencoderConfig) -> None:
        super().__init__()
        width = config.width
        self.token = nn.Parameter(TOKEN_STD * torch.randn(width))
        self.positions = nn.Parameter(TOKEN_STD * torch.randn(length + 1, width))
        self.attentions = nn.ModuleList(
            Attention(width, config.plane_heads, width // 8) for _ in range(config.plane_depth)
        )
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, config.plane_hidden),
                nn.GELU(),
                nn.Linear(config.plane_hidden, width),
            )
            for _ in range(config.plane_depth)
        )
        self.to_plane = nn.Linear(width, config.plane_channels)

    def forward(self, x: Float[Tensor, "b i j n d"]) -> Float[Tensor, "b c i j"]:
        """The plane of axes i and j, in [-1, 1]."""
        b, i, j, _, _ = x.shape
        x = rearrange(x, "b i j n d -> (b i j) n d")
        x = torch.cat([x, self.token.expand(len(x), 1, -1)], dim=1) + self.positions
        for attention, feed_forward in zip(self.attentions, self.feed_forwards, strict=True):
            x = x + attention(x)
            x = x + feed_forward(x)
        plane = self.to_plane(x[:, -1]).tanh()
        return rearrange(plane, "(b i j) c -> b c i j", b=b, i=i, j=j)


class Autoencoder(nn.Module):
    """Videos to planes and back."""

    def __init__(self, sizes: Sizes, config: AutoencoderConfig) -> None:
        super().__init__()
        self.patch, self.frames = config.patch, sizes.num_frames
        self.rows, self.columns = sizes.height // config.patch, sizes.width // config.patch
        patch_dim = sizes.channels * config.patch**2
        self.from_patches = nn.Linear(patch_dim, config.width)
        self.encoder = TimeSformer(config)
        self.over_frames = Projection(self.frames, config)
        self.over_rows = Projection(self.rows, config)
        self.over_columns = Projection(self.columns, config)
        self.from_hw = nn.Conv2d(config.plane_channels, config.width, 1)
        self.from_fh = nn.Conv2d(config.plane_channels, config.width, 1)
        self.from_fw = nn.Conv2d(config.plane_channels, config.width, 1)
        self.decoder = TimeSformer(config)
        self.to_patches = nn.Linear(config.width, patch_dim)

    def encode(self, videos: Float[Tensor, "b f c H W"]) -> Planes:
        """The planes of videos in [-1, 1]."""
        patches = rearrange(
            videos, "b f c (h p) (w q) -> b f h w (p q c)", p=self.patch, q=self.patch
        )
        x = self.encoder(self.from_patches(patches))
        return Planes(
            hw=self.over_frames(rearrange(x, "b f h w d -> b h w f d")),
            fh=self.over_columns(x),
            fw=self.over_rows(rearrange(x, "b f h w d -> b f w h d")),
        )

    def decode(self, planes: Planes) -> Float[Tensor, "b f c H W"]:
        """Videos in [-1, 1]."""
        x = self.decoder(self.broadcast(planes))
        return rearrange(
            2 * self.to_patches(x).sigmoid() - 1,
            "b f h w (p q c) -> b f c (h p) (w q)",
            p=self.patch,
            q=self.patch,
        )

    def broadcast(self, planes: Planes) -> Float[Tensor, "b f h w d"]:
        """The sum of the planes: a token at f, h, w is V z_hw + V' z_fh + V'' z_fw."""
        return (
            rearrange(self.from_hw(planes.hw), "b d h w -> b 1 h w d")
            + rearrange(self.from_fh(planes.fh), "b d f h -> b f h 1 d")
            + rearrange(self.from_fw(planes.fw), "b d f w -> b f 1 w d")
        )
