"""An autoencoder whose latents are principal components of 8 x 8 patches.

    encode:  z = S^-1 W (patch - m)                     linear, set from data, never trained
    decode:  x = W^T S z + m + correction(z, W^T S z + m)

W holds orthonormal rows, the most important components first; m is the mean patch; S is diagonal,
the components' standard deviations to a power ("whitening"). The correction is a small network that
begins at zero, so an untrained decoder is the linear inverse. Both halves work on patches, so
they treat every place of a picture alike and carry over to worlds that were not trained on.

It has the interface of SVD's `AutoencoderKLTemporalDecoder`, so diffusers' pipelines run with it.
The latents are not random: the returned distribution has a variance of e^-12.

Reference: principal components as an encoder are ours. The correction is a residual network with
temporal convolutions as in SVD's decoder (Blattmann et al. 2023) and sub-pixel upsampling (Shi et
al. 2016).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

LOG_VARIANCE = -12.0


class SpatioTemporalBlock(nn.Module):
    """x + conv(act(conv(x))) over the picture, then x + conv(act(x)) over time.

    Without normalisation (as EDSR, Lim et al. 2017): what is corrected at one place then does not
    depend on the rest of the picture. The convolution over time begins at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        nn.init.zeros_(self.time_conv.weight)
        nn.init.zeros_(self.time_conv.bias)

    def forward(self, x: Float[Tensor, "n c h w"], num_frames: int) -> Float[Tensor, "n c h w"]:
        """The frames of one video follow each other."""
        x = x + self.conv2(F.silu(self.conv1(x)))
        videos = rearrange(F.silu(x), "(b f) c h w -> b c f h w", f=num_frames)
        return x + rearrange(self.time_conv(videos), "b c f h w -> (b f) c h w")


class Correction(nn.Module):
    """What the linear inverse misses, from the latents and from the linear inverse itself.

    z --conv--> blocks --2x--> (+ linear inverse) blocks --2x--> block --2x--> pixels

    Args:
        latent_channels: of z.
        widths: channels at a half, a quarter and an eighth of the picture's resolution.
        num_blocks: blocks at an eighth and at a quarter.
    """

    def __init__(self, latent_channels: int, widths: Sequence[int], num_blocks: int) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.conv_in = nn.Conv2d(latent_channels, eighth, 3, padding=1)
        self.at_eighth = nn.ModuleList(SpatioTemporalBlock(eighth) for _ in range(num_blocks))
        self.up1 = nn.Conv2d(eighth, 4 * quarter, 1)
        self.pixels_in = nn.Conv2d(3 * 4**2, quarter, 3, padding=1)
        self.at_quarter = nn.ModuleList(SpatioTemporalBlock(quarter) for _ in range(num_blocks))
        self.up2 = nn.Conv2d(quarter, 4 * half, 1)
        self.at_half = SpatioTemporalBlock(half)
        self.conv_out = nn.Conv2d(half, 3 * 2**2, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(
        self, z: Float[Tensor, "n c h w"], linear: Float[Tensor, "n 3 H W"], num_frames: int
    ) -> Float[Tensor, "n 3 H W"]:
        """The difference from the linear inverse."""
        h = self.conv_in(z)
        for block in self.at_eighth:
            h = block(h, num_frames)
        h = F.pixel_shuffle(self.up1(h), 2) + self.pixels_in(F.pixel_unshuffle(linear, 4))
        for block in self.at_quarter:
            h = block(h, num_frames)
        h = self.at_half(F.pixel_shuffle(self.up2(h), 2), num_frames)
        return F.pixel_shuffle(self.conv_out(F.silu(h)), 2)


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Linear encoder of patches and a decoder that corrects its inverse.

    Args:
        latent_channels: components of each patch.
        block_out_channels: pixels of a 2 x 2 block times colours (12), then the correction's widths
            at a half, a quarter and an eighth of the resolution. Their number says, as in SVD's
            autoencoder, that a latent cell has 2^3 pixels a side.
        layers_per_block: blocks of the correction at an eighth and at a quarter.
        sample_size: height and width of the frames that it was trained on.
        scaling_factor: latents times this have about unit variance.
        force_upcast: whether a VAE of 16 bits encodes in float32.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 24,
        block_out_channels: Sequence[int] = (12, 48, 96, 128),
        layers_per_block: int = 2,
        sample_size: int = 128,
        scaling_factor: float = 1.0,
        force_upcast: bool = True,
    ) -> None:
        super().__init__()
        if len(block_out_channels) != 4 or block_out_channels[0] != 12:
            raise ValueError(
                "block_out_channels must be 12 and three widths, got "
                f"{tuple(block_out_channels)}. Try [12, 48, 96, 128]."
            )
        side = 2 ** (len(block_out_channels) - 1)
        self.encoder = nn.Conv2d(3, latent_channels, side, stride=side)
        self.inverse = nn.ConvTranspose2d(latent_channels, 3, side, stride=side, bias=False)
        self.mean = nn.Parameter(torch.zeros(3, side, side))
        self.correction = Correction(
            latent_channels, tuple(block_out_channels[1:]), layers_per_block
        )

    @torch.no_grad()
    def set_components(
        self,
        weights: Float[Tensor, "k d"],
        mean: Float[Tensor, " d"],
        scale: Float[Tensor, " k"],
    ) -> None:
        """Sets W, m and the diagonal of S; d counts a patch's numbers as (y x colour)."""
        side = self.mean.shape[-1]
        as_kernel = "k (y x c) -> k c y x"
        rows = rearrange(weights / scale[:, None], as_kernel, y=side, x=side)
        self.encoder.weight.copy_(rows)
        self.encoder.bias.copy_(-(weights / scale[:, None]) @ mean)
        self.inverse.weight.copy_(rearrange(weights * scale[:, None], as_kernel, y=side, x=side))
        self.mean.copy_(rearrange(mean, "(y x c) -> c y x", y=side, x=side))

    def linear_inverse(self, z: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """W^T S z + m: the best linear reconstruction."""
        return self.inverse(z) + self.mean.repeat(1, *z.shape[-2:])

    def encode(
        self, x: Float[Tensor, "n 3 H W"], return_dict: bool = True
    ) -> AutoencoderKLOutput | tuple[DiagonalGaussianDistribution]:
        """The distribution of the latents of frames in [-1, 1].

        Raises:
            ValueError: height or width is not a multiple of 8.
        """
        side = self.mean.shape[-1]
        if x.shape[-2] % side or x.shape[-1] % side:
            raise ValueError(
                f"frames of {x.shape[-2]} x {x.shape[-1]} pixels cannot be encoded: height and "
                f"width must be multiples of {side}. Crop or resize them."
            )
        z = self.encoder(x)
        moments = torch.cat([z, torch.full_like(z, LOG_VARIANCE)], dim=1)
        posterior = DiagonalGaussianDistribution(moments)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(
        self, z: Float[Tensor, "n c h w"], num_frames: int = 1, return_dict: bool = True
    ) -> DecoderOutput | tuple[Float[Tensor, "n 3 H W"]]:
        """Frames of latents that are not scaled; `num_frames` of each video follow each other."""
        linear = self.linear_inverse(z)
        frames = linear + self.correction(z, linear, num_frames)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def forward(
        self, sample: Float[Tensor, "n 3 H W"], num_frames: int = 1
    ) -> Float[Tensor, "n 3 H W"]:
        """The reconstruction of frames."""
        return self.decode(self.encode(sample).latent_dist.mode(), num_frames).sample
