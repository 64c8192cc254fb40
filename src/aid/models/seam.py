"""What AID needs of an image-to-video backbone, as a protocol: the seam at which another fits.

`backbone.py` is Stable Video Diffusion's side of it. `prepare`, `predict` and `train` use nothing
of a backbone beyond this; docs/svd.md says what its network must offer besides.
"""

from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class VideoBackbone(Protocol):
    """Frozen encoders and decoder around a denoising network.

    Frames are in [-1, 1], latents scaled to about unit variance, and what is returned is float32.
    """

    @property
    def latent_channels(self) -> int:
        """Channels c of the latents."""

    @property
    def down_scaling(self) -> int:
        """Pixels per latent cell and side."""

    @property
    def text_dim(self) -> int:
        """Width of the text tower's tokens."""

    @property
    def image_dim(self) -> int:
        """Width of the image tower's tokens."""

    def part(self, name: str) -> nn.Module:
        """A loaded network: "unet" is the denoising one, whatever it is inside."""

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "VideoBackbone":
        """Moves every network."""

    def offload(self, device: torch.device | str) -> None:
        """Lets the networks take turns on the device."""

    def encode(self, frames: Float[Tensor, "b f 3 H W"]) -> Float[Tensor, "b f c h w"]:
        """Latents of frames."""

    def encode_condition(
        self,
        given_frames: Float[Tensor, "b k 3 H W"],
        num_frames: int,
        frame_condition: Literal["grey_pixels", "repeat_first", "zero_latents"],
    ) -> Float[Tensor, "b f c h w"]:
        """What the denoising network is told of the given frames, for every frame."""

    def decode(self, latents: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b f 3 H W"]:
        """Frames of latents."""

    def encode_image(
        self, frame: Float[Tensor, "b 3 H W"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b p image"]]:
        """The network's own context token, and tokens of the patches for the DQFormer."""
