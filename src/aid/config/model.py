"""What AID's own, trained part looks like: the DQFormer, the adapters, the conditions."""

from dataclasses import dataclass, field
from typing import Literal

from aid.config.bounds import LARGEST_WIDTH, MOST_FRAMES, require


@dataclass(frozen=True, kw_only=True)
class DQFormerConfig:
    """The Dual-Query Transformer: which branches it has and how large they are."""

    branches: Literal["none", "multimodal", "decomposed", "both"] = "both"
    """Which condition tokens exist. "none" leaves the UNet its own image token (ablation rows)."""
    use_states: bool = True
    """Whether the decomposed branch reads the state tokens after the instruction tokens."""
    queries_per_frame: int = 8
    """N_t, learnable queries per frame. Ours."""
    dim: int | None = None
    """Width of the tokens inside; None takes the UNet's cross-attention width. Ours."""
    depth: int = 1
    """How many times the pair of cross-attentions is repeated in each branch. Ours."""
    num_heads: int = 8
    """Attention heads; must divide `dim`. Ours."""
    use_feed_forward: bool = False
    """Whether a GELU feed-forward follows each attention (the printed formulas have none). Ours."""
    upper_residual: bool = False
    """Whether the multimodal branch adds its query to the result (the formula does not). Ours."""
    mcondition_layout: Literal["per_frame", "global"] = "per_frame"
    """Whether frame i reads only its own queries' tokens, or each frame reads all. Ours."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self, "dqformer.", queries_per_frame=(1, 1024), dim=(1, LARGEST_WIDTH), depth=(1, 64),
            num_heads=(1, 1024),
        )  # fmt: skip

    @property
    def reads_states(self) -> bool:
        """Whether there is a branch that reads states."""
        return self.use_states and self.branches in ("decomposed", "both")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """The three adapters: which exist, how wide, where."""

    use_spatial: bool = True
    """S-Adapter beside spatial self-attention."""
    use_short_term: bool = True
    """ST-Adapter after the convolution block."""
    use_long_term: bool = True
    """LT-Adapter beside temporal self-attention."""
    ratio: float = 0.25
    """Bottleneck width of S and LT as a share of the layer's width. Ours (SimDA, AIM)."""
    short_term_ratio: float = 0.5
    """Bottleneck width of ST as a share of the layer's width. Ours (SimDA, ST-Adapter)."""
    short_term_kernel: tuple[int, int, int] = (3, 1, 1)
    """Kernel of ST's depth-wise convolution over frames, height, width. Ours (SimDA)."""
    short_term_sites: Literal["before_attention", "all"] = "before_attention"
    """ST after each residual block that precedes attention (16 in SVD), or after all 22. Ours."""
    parallel_input: Literal["normed", "raw"] = "normed"
    """Whether S and LT read what frozen attention reads, or the stream before its norm. Ours."""
    parallel_scale: float = 1.0
    """Factor on the output of S and LT. Ours (AIM)."""
    long_term_site: Literal["inside", "after_blend"] = "inside"
    """LT beside the temporal attention, or after SVD's blend of spatial and temporal. Ours."""
    long_term_heads: int = 8
    """Heads of LT's self-attention. Ours."""
    is_causal: bool = False
    """Whether LT may look only at earlier frames. Ours (SVD looks both ways)."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self, "adapter.", ratio=(1e-6, 16), short_term_ratio=(1e-6, 16),
            short_term_kernel=(1, 31), parallel_scale=(-1e6, 1e6), long_term_heads=(1, 1024),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CrossAttentionConfig:
    """Which of the UNet's cross-attention weights are trained (as copies; the backbone stays)."""

    trained: Literal["all", "keys_values", "none"] = "all"
    """Spatial cross-attention: all projections, only keys and values, or nothing. Ours."""
    train_temporal: bool = False
    """Whether the temporal blocks' cross-attention is trained too. Ours."""
    prepend_image_token: bool = True
    """Whether SVD's own image token stays the first token of the context. Ours."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank updates of frozen projections, instead of the adapters or beside them."""

    rank: int = 0
    """Inner width of each update; 0 means no LoRA. Ours (the paper has none)."""
    alpha: float | None = None
    """Updates are scaled by alpha / rank; None takes alpha = rank. Ours."""
    blocks: Literal["spatial", "temporal", "both"] = "both"
    """Which transformer blocks get updates. Ours."""
    layers: Literal["attention", "attention_and_feed_forward"] = "attention"
    """Which projections of a block: those of both attentions, or all of its matrices. Ours."""

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
    """The dropped text: the empty sentence through the trained DQFormer, or zero tokens. Ours."""
    text_dropout: float = 0.1
    """Share of samples that lose the text alone; the same share loses both, and the frame
    alone. Ours."""
    loss_on_given_frames: bool = True
    """Whether the loss counts the given frames. Ours (SVD does, Seer does not)."""
    noise_aug_mean: float = -3.0
    """Mean of ln(noise) added to the given frames while training (SVD)."""
    noise_aug_std: float = 0.5
    """Standard deviation of that ln(noise) (SVD)."""
    noise_aug_strength: float = 0.02
    """Noise added to the given frame when predicting (SVD)."""
    fps: float | None = None
    """SVD's micro-condition of that name: None tells the true rate of each video's frames, a number
    the same for all videos. Where whole episodes are squeezed into `num_frames` their rates tell
    their lengths, which may give the instruction away; windows (`frames.fps`) have one. Ours."""
    motion_bucket_id: float | None = 127.0
    """SVD's micro-condition of that name, the same for all videos. None tells each video's own, by
    how much its latents change; when predicting it is then said, or 127. Ours."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(
            self, "condition.", num_given_frames=(1, MOST_FRAMES), text_dropout=(0, 1 / 3),
            noise_aug_mean=(-20, 20), noise_aug_std=(0, 20), noise_aug_strength=(0, 1000),
            fps=(0.001, 10_000), motion_bucket_id=(0, 10_000),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that shapes AID's own, trained part."""

    num_frames: int = 16
    """N, frames of a video, the given ones included."""
    dqformer: DQFormerConfig = field(default_factory=DQFormerConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    cross_attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    unet_weights: Literal["none", "temporal", "all"] = "none"
    """Which of the UNet's own weights are trained, as copies: none, its temporal layers, all. Ours
    (for comparison; see `aid train --tuning`)."""
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
