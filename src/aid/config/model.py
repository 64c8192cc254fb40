"""The trained part: DQFormer, adapters, what they are compared with, and the conditions."""

from dataclasses import dataclass, field
from typing import Literal

from aid.config.bounds import LARGEST_WIDTH, MOST_FRAMES, require


@dataclass(frozen=True, kw_only=True)
class DQFormerConfig:
    """The Dual-Query Transformer: which branches it has and how large they are."""

    branches: Literal["none", "multimodal", "decomposed", "both"] = "both"
    """Which condition tokens exist. With "none" the UNet reads its own image token (ablations)."""
    use_states: bool = True
    """Whether the decomposed branch reads the state tokens after the instruction tokens."""
    queries_per_frame: int = 8
    """N_t, learnable queries per frame. Not in the paper."""
    dim: int | None = None
    """Width of the tokens inside; None takes the UNet's cross-attention width. Not in the
    paper."""
    depth: int = 1
    """How many times the pair of cross-attentions is repeated in each branch. Not in the paper
    (one formula is printed)."""
    num_heads: int = 8
    """Attention heads; must divide `dim`. Not in the paper."""
    use_feed_forward: bool = False
    """Whether a GELU feed-forward follows each attention. Not in the paper: its formulas have
    none."""
    upper_residual: bool = False
    """Whether the multimodal branch adds its query to the result. Not in the paper: its formula
    does not."""
    mcondition_layout: Literal["per_frame", "global"] = "per_frame"
    """Whether frame i reads only its own queries' tokens, or each frame reads all. Not in the
    paper."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self,
            "dqformer.",
            queries_per_frame=(1, 1024),
            dim=(1, LARGEST_WIDTH),
            depth=(1, 64),
            num_heads=(1, 1024),
        )

    @property
    def reads_states(self) -> bool:
        """Whether there is a branch that reads states."""
        return self.use_states and self.branches in ("decomposed", "both")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The three adapters: which of them exist, their widths and sites."""

    use_spatial: bool = True
    """S-Adapter beside spatial self-attention."""
    use_short_term: bool = True
    """ST-Adapter after the convolution block."""
    use_long_term: bool = True
    """LT-Adapter beside temporal self-attention."""
    ratio: float = 0.25
    """Bottleneck width of S and LT as a share of the layer's width. Not in the paper; the default
    of SimDA and AIM."""
    short_term_ratio: float = 0.5
    """Bottleneck width of ST as a share of the layer's width. Not in the paper; the default of
    SimDA and ST-Adapter."""
    short_term_kernel: tuple[int, int, int] = (3, 1, 1)
    """Kernel of ST's depth-wise convolution over frames, height, width. Not in the paper;
    SimDA's default."""
    short_term_sites: Literal["before_attention", "all"] = "before_attention"
    """ST after each residual block that precedes attention (16 in SVD), or after all 22. Not
    in the paper; SimDA's default."""
    parallel_input: Literal["normed", "raw"] = "normed"
    """Whether S and LT read what frozen attention reads, or the features before its
    norm. Not in the paper."""
    parallel_scale: float = 1.0
    """Factor on the output of S and LT. Not in the paper; AIM's default."""
    long_term_site: Literal["inside", "after_blend"] = "inside"
    """LT beside the temporal attention, or after SVD's blend of spatial and temporal
    features. Not in the paper."""
    long_term_heads: int = 8
    """Heads of LT's self-attention. Not in the paper."""
    is_causal: bool = False
    """Whether LT attends to earlier frames only. Not in the paper; SVD attends to all."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self,
            "adapter.",
            ratio=(1e-6, 16),
            short_term_ratio=(1e-6, 16),
            short_term_kernel=(1, 31),
            parallel_scale=(-1e6, 1e6),
            long_term_heads=(1, 1024),
        )


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Which of the UNet's cross-attention weights are trained, as copies."""

    trained: Literal["all", "keys_values", "none"] = "all"
    """Spatial cross-attention: all projections, only keys and values, or nothing. Not in the
    paper: its figure marks cross-attention as trained."""
    train_temporal: bool = False
    """Whether the temporal blocks' cross-attention is trained, too. Not in the paper."""
    prepend_image_token: bool = True
    """Whether SVD's own image token stays the first token of the context. Not in the paper: without
    it the frozen queries would read a context that they do not know."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank updates of frozen projections, instead of the adapters or beside them."""

    rank: int = 0
    """Inner width of each update; 0 means no LoRA. Not in the paper."""
    alpha: float | None = None
    """Updates are scaled by alpha / rank; None takes alpha = rank. Not in the paper."""
    blocks: Literal["spatial", "temporal", "both"] = "both"
    """Which transformer blocks get updates. Not in the paper."""
    layers: Literal["attention", "attention_and_feed_forward"] = "attention"
    """Which projections of a block: those of both attentions, or all of its matrices. Not in
    the paper."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        if self.rank < 0:
            raise ValueError(f"lora.rank must be 0 (no LoRA) or more, got {self.rank}. Try 16.")
        if self.alpha is not None and self.alpha <= 0:
            raise ValueError(f"lora.alpha must be above 0, got {self.alpha}. Try the rank.")
        require(self, "lora.", rank=(0, LARGEST_WIDTH), alpha=(0, 1e6))


@dataclass(frozen=True, kw_only=True)
class ConditionConfig:
    """How the given frames, the micro-conditions and the dropped conditions are made."""

    num_given_frames: int = 1
    """K, observed frames at the start of the video."""
    frame_condition: Literal["grey_pixels", "repeat_first", "zero_latents"] = "grey_pixels"
    """What stands in for the unknown frames: grey (AID's figure), the first frame (SVD), zeros."""
    null_text: Literal["empty", "zeros"] = "empty"
    """The dropped text: the empty sentence through the trained DQFormer, or zero tokens. Not in
    the paper."""
    text_dropout: float = 0.1
    """Share of samples that lose the text alone; the same share loses both, and the
    same share the frame alone. Not in the paper; InstructPix2Pix's scheme."""
    loss_on_given_frames: bool = True
    """Whether the loss counts the given frames. Not in the paper: SVD's does, Seer's does not."""
    noise_aug_mean: float = -3.0
    """Mean of ln(noise) added to the given frames while training (SVD)."""
    noise_aug_std: float = 0.5
    """Standard deviation of that ln(noise) (SVD)."""
    noise_aug_strength: float = 0.02
    """Noise added to the given frame when predicting (SVD)."""
    fps: float | None = None
    """SVD's micro-condition of that name: None takes the true rate of each video's frames, a number
    holds for all videos. Where whole episodes are sampled to `num_frames`, their rates contain
    their lengths, which may reveal the instruction; windows (`frames.fps`) have one. Not in the
    paper."""
    motion_bucket_id: float | None = 127.0
    """SVD's micro-condition of that name, the same for all videos. None takes each video's own,
    from the change of its latents; for predicting it is then given, or 127. Not in the paper; SVD's
    default."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self,
            "condition.",
            num_given_frames=(1, MOST_FRAMES),
            text_dropout=(0, 1 / 3),
            noise_aug_mean=(-20, 20),
            noise_aug_std=(0, 20),
            noise_aug_strength=(0, 1000),
            fps=(0.001, 10_000),
            motion_bucket_id=(0, 10_000),
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that shapes the trained part."""

    num_frames: int = 16
    """N, frames of a video, the given ones included."""
    dqformer: DQFormerConfig = field(default_factory=DQFormerConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    cross_attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    unet_weights: Literal["none", "temporal", "all"] = "none"
    """Which of the UNet's own weights are trained, as copies: none, its temporal layers, all. Not
    in the paper; for comparison (`aid train --tuning`)."""
    condition: ConditionConfig = field(default_factory=ConditionConfig)

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(self, num_frames=(1, MOST_FRAMES))
        if self.unet_weights != "none" and (
            self.lora.rank or self.cross_attention.trained != "none"
        ):
            raise ValueError(
                f"unet_weights={self.unet_weights!r} trains weights that LoRA and trained "
                "cross-attention replace. Use lora.rank=0 and cross_attention.trained='none', or "
                "aid train --tuning, which sets all of them."
            )
