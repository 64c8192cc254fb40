"""PVDM (Yu et al., CVPR 2023): diffusion on three planes that stand for a video; no text.

    z = Encoder(video),   c = Encoder(first frame, repeated) or 0     planes, `pvdm_autoencoder.py`
    loss = |eps - UNet(z_t, c, t)|                                                 `pvdm_unet.py`

Two stages: the autoencoder alone, then the UNet with the autoencoder frozen.

The paper's condition is the planes of the 16 frames before. Ours: the planes of the given frame,
repeated; it is dropped (0) with probability 0.3. (The paper also trains without a condition; its
code does so in 70 % of the steps, because it also generates videos from nothing, which we do not.)
Ours: the autoencoder's loss is e^2. The paper's is 4 |e| + 4 LPIPS, then a phase with two
discriminators. LPIPS weights are not at hand; |e| without them settles on the background, from
which small things differ in few pixels; and no budget of ours reaches the second phase.
Ours: the given frame replaces the first one drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from aid.rivals.ddpm import NoiseSchedule, sample_ddim, with_guidance
from aid.rivals.method import Sizes, Videos
from aid.rivals.pvdm_autoencoder import Autoencoder, AutoencoderConfig, Planes
from aid.rivals.pvdm_unet import NORM_GROUPS, PlanesUNet, UNetConfig


@dataclass(frozen=True, kw_only=True)
class PVDMConfig:
    """Sizes and settings; the defaults are the paper's, where nothing else is said."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    condition_dropout: float = 0.3
    """Share of the training videos without a condition (ours, see above)."""
    guidance_scale: float = 1.0
    """Of the condition; 1 is none."""
    num_steps: int = 100
    """Sampling steps, a divisor of 1000."""


SMALL = PVDMConfig(
    autoencoder=AutoencoderConfig(
        width=128, depth=3, heads=4, head_dim=32, plane_depth=1, plane_hidden=256
    ),
    unet=UNetConfig(width=64, multipliers=(1, 2, 4), attention_levels=2, heads=4),
    num_steps=50,
)
"""For 64 px and 16 frames on two CPU cores (ours)."""


class PVDM:
    """PVDM as a row of the comparison.

    Args:
        sizes: of the videos.
        config: of networks and sampling.

    Raises:
        ValueError: the sizes do not fit the patches or the UNet's levels, or the widths not the
            norms' groups.
    """

    space: Literal["pixels", "latents"] = "pixels"
    reads_text = False
    title = "PVDM"
    stages: Mapping[str, float] = {"autoencoder": 0.5, "diffusion": 0.5}
    learning_rates: Mapping[str, float] = {"autoencoder": 1e-3, "diffusion": 5e-4}
    small: PVDMConfig = SMALL

    schedule = NoiseSchedule(beta_start=0.0015, beta_end=0.0195, spacing="scaled_linear", limit=1.0)
    """Its code says "linear", which means this in latent diffusion's code, from which it comes."""

    def __init__(self, sizes: Sizes, config: PVDMConfig = PVDMConfig()) -> None:
        _check(sizes, config)
        self.config, self.num_frames = config, sizes.num_frames
        self.network = nn.ModuleDict(
            {
                "autoencoder": Autoencoder(sizes, config.autoencoder),
                "diffusion": PlanesUNet(config.autoencoder.plane_channels, config.unet),
            }
        )
        patch = config.autoencoder.patch
        self.grid = sizes.num_frames, sizes.height // patch, sizes.width // patch

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """The parameters of the network that is named like the stage."""
        return dict(self.network[stage].named_parameters(prefix=stage))

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """The loss of each video: of its reconstruction, or of the prediction of noise."""
        if stage == "autoencoder":
            autoencoder: Autoencoder = self.network["autoencoder"]
            error = autoencoder.decode(autoencoder.encode(batch.videos)) - batch.videos
            return error.square().mean(dim=(1, 2, 3, 4))
        planes, condition = self._encode(batch.videos), self._condition(batch.videos[:, 0])
        device = planes.device
        timesteps = self.schedule.draw_timesteps(len(planes), generator).to(device)
        noise = torch.randn(planes.shape, generator=generator).to(device)
        keep = torch.rand(len(planes), generator=generator) >= self.config.condition_dropout
        condition = condition * keep.to(device)[:, None, None]
        noisy = self.schedule.add_noise(planes, noise, timesteps)
        return (self._predict(noisy, condition, timesteps) - noise).abs().mean(dim=(1, 2))

    @torch.no_grad()
    def draw(
        self,
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
        generator: torch.Generator,
        num_steps: int | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Videos in [-1, 1] that begin with `given`; the text is not read."""
        condition = self._condition(given)
        noise = torch.randn(condition.shape, generator=generator).to(condition)
        predict = with_guidance(
            lambda noisy, timesteps: self._predict(noisy, condition, timesteps),
            lambda noisy, timesteps: self._predict(noisy, torch.zeros_like(condition), timesteps),
            self.config.guidance_scale,
        )
        joined = sample_ddim(predict, noise, self.schedule, num_steps or self.config.num_steps)
        videos = self.network["autoencoder"].decode(Planes.split(joined, *self.grid))
        return torch.cat([given[:, None], videos[:, 1:]], dim=1)

    @torch.no_grad()
    def _encode(self, videos: Float[Tensor, "b f c h w"]) -> Float[Tensor, "b d n"]:
        return self.network["autoencoder"].encode(videos).join()

    def _condition(self, given: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d n"]:
        """The planes of the still that repeats the given frame."""
        return self._encode(repeat(given, "b c h w -> b f c h w", f=self.num_frames))

    def _predict(
        self,
        noisy: Float[Tensor, "b d n"],
        condition: Float[Tensor, "b d n"],
        timesteps: Tensor,
    ) -> Float[Tensor, "b d n"]:
        unet: PlanesUNet = self.network["diffusion"]
        noise = unet(
            Planes.split(noisy, *self.grid), Planes.split(condition, *self.grid), timesteps
        )
        return Planes(*noise).join()


def _check(sizes: Sizes, config: PVDMConfig) -> None:
    patch, smallest = config.autoencoder.patch, 2 ** (len(config.unet.multipliers) - 1)
    if sizes.height % (patch * smallest) or sizes.width % (patch * smallest):
        raise ValueError(
            f"frames of {sizes.height} x {sizes.width} do not fit patches of {patch} whose planes "
            f"are halved {len(config.unet.multipliers) - 1} times. Choose multiples of "
            f"{patch * smallest}."
        )
    if sizes.num_frames % smallest:
        raise ValueError(
            f"{sizes.num_frames} frames cannot be halved {len(config.unet.multipliers) - 1} times. "
            f"Choose a multiple of {smallest}."
        )
    if config.unet.width % NORM_GROUPS:
        raise ValueError(
            f"the UNet's width {config.unet.width} cannot be divided into {NORM_GROUPS} groups. "
            f"Choose a multiple of {NORM_GROUPS}."
        )
