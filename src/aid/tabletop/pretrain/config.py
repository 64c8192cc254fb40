"""Settings of the embedded backbone: the sizes of its parts and their training."""

from dataclasses import dataclass, field

from aid.config.bounds import LARGEST_SIDE, LARGEST_WIDTH, require
from aid.config.run import LoopConfig, NoiseConfig


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """The embedded autoencoder: principal components of 8 x 8 patches, and a decoder."""

    image_size: int = 128
    """Height and width of the frames it is trained on."""
    channels: tuple[int, ...] = (12, 48, 96, 128)
    """Width of the decoder at the whole, a half, a quarter and an eighth of the resolution. The
    first is 12: four pixels of three colours."""
    layers_per_block: int = 2
    """Blocks of the decoder at a quarter and at an eighth of the resolution."""
    latent_channels: int = 24
    """Principal components kept of each patch; at most 192."""
    whitening: float = 0.5
    """Each component is divided by its standard deviation to this power."""
    window: int = 4
    """Number of consecutive frames in a training window of the decoder."""
    crop: int = 64
    """Height and width of the squares that the decoder is trained on, a multiple of 8."""
    num_videos: int = 3000
    """Most videos that the autoencoder reads, in equal shares from the joined data sets."""
    adversarial_weight: float = 0.005
    """Loss weight of a small discriminator, which keeps edges sharp; 0 leaves it out."""
    adversarial_from: int = 1000
    """Step at which the discriminator joins."""

    def __post_init__(self) -> None:
        """Refuses settings out of range."""
        require(
            self, "autoencoder.", image_size=(8, LARGEST_SIDE), channels=(1, LARGEST_WIDTH),
            layers_per_block=(1, 64), latent_channels=(1, 192), whitening=(0, 10),
            window=(1, 4096), crop=(8, LARGEST_SIDE), num_videos=(1, 10**9),
            adversarial_weight=(0, 10), adversarial_from=(0, 10**9),
        )  # fmt: skip
        if self.crop % 8:
            raise ValueError(f"autoencoder.crop must be a multiple of 8, got {self.crop}. Try 64.")


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """The embedded CLIP pair."""

    dim: int = 128
    """Width of both towers and of the shared space, which is the UNet's cross-attention width."""
    num_heads: int = 4
    """Attention heads of both towers."""
    text_layers: int = 3
    """Transformer layers of the text tower."""
    image_layers: int = 4
    """Transformer layers of the image tower."""
    patch_size: int = 28
    """Pixels of a patch after the stock pipeline's resize to 224."""
    max_length: int = 24
    """Tokens of the longest sentence, start and end included; the longest that is trained on has
    18. Longer ones are truncated, with a warning."""

    def __post_init__(self) -> None:
        """Refuses settings out of range."""
        require(
            self, "clip.", dim=(1, LARGEST_WIDTH), num_heads=(1, 1024), text_layers=(1, 256),
            image_layers=(1, 256), patch_size=(1, 224), max_length=(3, 4096),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The embedded image-to-video UNet: SVD's class, small."""

    latent_size: int = 16
    """Height and width of the latents it is trained on."""
    latent_channels: int = 24
    """Channels of a latent; the UNet reads twice as many (noise and condition)."""
    channels: tuple[int, ...] = (32, 96, 160)
    """Width of each level."""
    heads: tuple[int, ...] = (0, 3, 5)
    """Attention heads of each level; 0 means convolutions only."""
    layers_per_block: int = 1
    """Residual blocks per level of the encoder; the decoder has one more."""

    def __post_init__(self) -> None:
        """Refuses settings out of range."""
        require(
            self, "unet.", latent_size=(1, LARGEST_SIDE), latent_channels=(1, 1024),
            channels=(1, LARGEST_WIDTH), heads=(0, 1024), layers_per_block=(1, 64),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VideoStageConfig:
    """One stage of the UNet's pretraining: its frames, noise, loss and loop."""

    frame_stride: int = 1
    """Distance of the used frames; 2 halves a step's work and the fps condition."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """Distribution of the noise levels."""
    motion_weight: float = 0.0
    """Additional loss weight of latent cells that change, relative to cells that do not."""
    items_weight: float = 0.0
    """Loss weight of the item heads: linear classifiers of colour and shape of each cell's item
    from the queries of cross-attention. It is part of the logged loss; 0 disables the heads."""
    image_dropout: float = 0.05
    """Share of samples without the given frame, so that image guidance has its null condition."""
    noise_aug_mean: float = -3.0
    """Mean of ln(noise) added to the given frame (SVD)."""
    noise_aug_std: float = 0.5
    """Standard deviation of that ln(noise) (SVD)."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Steps, rates, intervals."""

    def __post_init__(self) -> None:
        """Refuses settings out of range."""
        if self.items_weight < 0:
            raise ValueError(
                f"items_weight must be 0 (no item heads) or more, got {self.items_weight}. Try 0.5."
            )
        require(
            self, frame_stride=(1, 4096), motion_weight=(0, 1e6), items_weight=(0, 1e6),
            image_dropout=(0, 1), noise_aug_mean=(-20, 20), noise_aug_std=(0, 20),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WordStageConfig:
    """Further training of the text tower, which separates the words for objects and directions."""

    keep_weight: float = 2.0
    """Loss weight of the drift: the squared distance of the tokens from their start, in squares of
    their length. With 0 they may drift freely."""
    loop: LoopConfig = field(default_factory=LoopConfig)
    """Steps, rates, intervals; a batch counts sentences."""

    def __post_init__(self) -> None:
        """Refuses settings out of range."""
        if self.keep_weight < 0:
            raise ValueError(
                f"keep_weight must be 0 (free drift) or more, got {self.keep_weight}. Try 2."
            )


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """The embedded backbone: its parts and their training."""

    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Sizes of the autoencoder."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """Sizes of the CLIP pair."""
    unet: UNetConfig = field(default_factory=UNetConfig)
    """Sizes of the UNet."""
    sigma_min: float = 0.02
    """Lowest noise level of the saved scheduler."""
    sigma_max: float = 60.0
    """Highest noise level of the saved scheduler; SVD's 700 is for far larger latents."""
    autoencoder_loop: LoopConfig = field(default_factory=LoopConfig)
    """The decoder's training; a batch counts windows of `window` frames."""
    clip_loop: LoopConfig = field(default_factory=LoopConfig)
    """The CLIP pair's training; a batch counts image-text pairs."""
    words: WordStageConfig = field(default_factory=WordStageConfig)
    """Further training of the text tower, which separates the words."""
    coarse: VideoStageConfig = field(default_factory=lambda: VideoStageConfig(frame_stride=2))
    """The UNet's first stage, on few frames of each video."""
    fine: VideoStageConfig = field(default_factory=VideoStageConfig)
    """The UNet's second stage, on more frames; it continues the first."""
