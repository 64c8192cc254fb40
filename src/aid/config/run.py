"""How a model is trained and how a video is drawn."""

from dataclasses import dataclass, field
from typing import Literal

from aid.config.bounds import require

Precision = Literal["float32", "bfloat16", "float16"]
"""Of the networks' arithmetic and the frozen weights; trained weights are float32."""


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """The noise levels that training draws: ln(sigma) ~ N(mean, std^2)."""

    mean: float = 0.7
    """Mean of ln(sigma) (SVD's image-to-video training, as publicly reported)."""
    std: float = 1.6
    """Standard deviation of ln(sigma) (same source)."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(self, "noise.", mean=(-20, 20), std=(0, 20))


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How a video is drawn."""

    num_steps: int = 25
    """Steps of the solver, one UNet evaluation of up to three conditions each."""
    solver: Literal["euler", "dpmpp_2m"] = "euler"
    """First order (SVD), or second order by DPM-Solver++(2M) at the same cost. Not in the
    paper."""
    image_guidance: float = 1.5
    """s_V, the guidance scale of the given frame. Not in the paper."""
    text_guidance: float = 7.5
    """s_T, the guidance scale of the instruction. Not in the paper; InstructPix2Pix's default."""
    sigma_min: float = 0.002
    """Lowest noise level (SVD)."""
    sigma_max: float = 700.0
    """Highest noise level (SVD)."""
    rho: float = 7.0
    """Curvature of the noise schedule (Karras et al. 2022, Eq. 5)."""
    guidance_interval: tuple[float, float] = (0.0, float("inf"))
    """The lowest and the highest noise level at which guidance acts. Not in the paper."""
    static_threshold: float = 0.0
    """Where no frame's latents depart by this from the given frame's (root mean square over
    channels), the given frame's own pixels are shown (`predict.static`); 0: nowhere. For cameras
    that stand still. Not in the paper."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}. SVD uses 25.")
        require(
            self,
            num_steps=(1, 10_000),
            image_guidance=(-1000, 1000),
            text_guidance=(-1000, 1000),
            rho=(0.01, 1000),
            sigma_max=(-1e6, 1e6),
            static_threshold=(0, 1000),
        )
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min and sigma_max must satisfy 0 < min < max, got {self.sigma_min} and "
                f"{self.sigma_max}. SVD uses 0.002 and 700."
            )
        low, high = self.guidance_interval
        if not 0 <= low <= high:
            raise ValueError(
                f"guidance_interval must be 0 <= lowest <= highest, got {low:g} and {high:g}. "
                "Guidance at all noise levels is [0, .inf]."
            )

    @property
    def guided_at(self) -> str:
        """The guidance interval in words."""
        low, high = self.guidance_interval
        if high == float("inf"):
            return f"sigma {low:g} and above" if low else "all noise levels"
        return f"sigma {low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """One training loop: how long, how fast, what is written when."""

    steps: int = 20_000
    """Optimizer steps. Not in the paper."""
    batch_size: int = 8
    """Videos per forward pass and process. Not in the paper."""
    learning_rate: float = 5e-5
    """Peak rate of AdamW. Not in the paper; SimDA's default."""
    warmup_steps: int = 1000
    """Steps in which the rate rises linearly from 0. Not in the paper."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """The rate after the warm-up. Not in the paper."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW with moments in float32, or in 8 bits (bitsandbytes) for a quarter of their memory.
    Not in the paper."""
    weight_decay: float = 1e-2
    """AdamW's weight decay. Not in the paper; SimDA's default."""
    beta2: float = 0.999
    """AdamW's second beta; lower forgets old gradients sooner. Not in the paper; SimDA's
    default."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm. Not in the paper; SimDA's default."""
    ema_decay: float = 0.999
    """Decay of the averaged weights, which are the ones saved in the checkpoint. Not in the
    paper."""
    seed: int = 0
    """All randomness is a function of (seed, step)."""
    log_every: int = 50
    """Steps between lines of the log."""
    check_every: int = 1000
    """Steps between checks on held-out videos, with pictures."""
    save_every: int = 1000
    """Steps between saved states, from which a run goes on exactly."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        for name in ("steps", "batch_size", "log_every", "check_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        intervals = dict.fromkeys(("log_every", "check_every", "save_every"), (1, 10**9))
        require(
            self,
            steps=(1, 10**9),
            batch_size=(1, 65_536),
            learning_rate=(0, 10),
            warmup_steps=(0, 10**9),
            weight_decay=(0, 10),
            beta2=(0, 0.9999999),
            max_grad_norm=(1e-9, 1e9),
            ema_decay=(0, 1),
            seed=(0, 2**63 - 1),
            **intervals,
        )


@dataclass(frozen=True, kw_only=True)
class TimeNoiseConfig:
    """Noise on the given frame that grows with the video's (TimeNoise, arXiv 2406.15735)."""

    max_strength: float = 0.0
    """Upper limit of that noise, in standard deviations of the given frame's latents; 0: none. Not
    in the paper (Zhao et al. 2024 use 15 to 100 for SVD at full size)."""
    exponent: float = 5.0
    """a: the higher, the later in the noise the given frame loses its sharpness (source: 5)."""
    std: float = 1.0
    """Spread of the strength at one noise level, before the limit is applied (source: 1)."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        if self.max_strength < 0:
            raise ValueError(
                f"time_noise.max_strength must be 0 (off) or more, got {self.max_strength}."
            )
        require(self, "time_noise.", max_strength=(0, 1e6), exponent=(-100, 100), std=(0, 100))


@dataclass(frozen=True, kw_only=True)
class HardExampleConfig:
    """Hard-example sampling: similar videos in one batch, and difficult ones more often.

    Words are whole words of an instruction, in any of its wordings.
    """

    group_size: int = 1
    """Videos of one first frame that are drawn together, with the same noise, so that only their
    instructions distinguish them. Not in the paper."""
    oversample: dict[str, int] = field(default_factory=dict)
    """How many times as often as others a video is drawn whose instruction contains these words,
    such as {push: 3, "on top of": 6}. A group is drawn as often as the mean of its videos. Not in
    the paper."""
    hard_pairs: dict[str, int] = field(default_factory=dict)
    """Pairs of words, and how many times in addition two videos of one first frame are drawn whose
    instructions differ in these words only, such as {"left, right": 3}; needs group_size 2. Not in
    the paper."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        require(self, "hard_examples.", group_size=(1, 65_536))
        for words, times in self.oversample.items():
            if times < 1:
                raise ValueError(
                    f"hard_examples.oversample must be at least 1, got {times} for {words!r}."
                )
        for words, times in self.hard_pairs.items():
            pair = [word.strip() for word in words.split(",")]
            if times < 1 or len(pair) != 2 or not all(pair):
                raise ValueError(
                    "hard_examples.hard_pairs must be two words with a comma between them and a "
                    f"number of 1 or more, such as {{'left, right': 3}}, got "
                    f"{{{words!r}: {times}}}."
                )
        if self.hard_pairs and self.group_size != 2:
            raise ValueError(
                "hard_examples.hard_pairs draws two videos together, but group_size is "
                f"{self.group_size}. Set hard_examples.group_size to 2."
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    """The training of AID."""

    cross_attention_learning_rate: float = 1e-5
    """Peak rate for trained cross-attention and UNet weights, which start from pretrained ones.
    Not in the paper."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """The noise levels drawn."""
    frame_stride: int = 1
    """Training uses one frame of so many; 2 halves the work of a step, and the fps condition is
    halved. A run on all frames then starts from it (`aid train --start`). Not in the paper."""
    motion_weight: float = 0.0
    """How many times more the loss counts latent cells that change. Not in the paper."""
    huber_scale: float = 0.0
    """The error of a latent cell (of v, root mean square over its channels) above which the loss
    grows linearly instead of quadratically (pseudo-Huber); 0: quadratically everywhere. Small
    errors, such as those between similar colours, then count more. Not in the paper."""
    hard_examples: HardExampleConfig = field(default_factory=HardExampleConfig)
    """Hard-example sampling; by default every video is drawn alone and equally often."""
    allow_mixed_states: bool = False
    """Whether states written from the whole video may be mixed with states written without it. Not
    in the paper."""
    num_workers: int | None = None
    """Worker processes that load the samples of the coming steps; None: 2 with a CUDA device, else
    0, because the run itself needs the cores. Changes no sample. Not in the paper."""
    redraw_noise_aug: bool = False
    """Whether the noise on the given frames is drawn anew for every sample, as in SVD, and they are
    encoded while training. By default one of the four noised versions in the cache is taken, which
    costs nothing. Not in the paper."""
    time_noise: TimeNoiseConfig = field(default_factory=TimeNoiseConfig)
    """Noise on the given frame against videos that stop moving; off by default."""
    accumulate: int = 1
    """Forward passes per optimizer step; 2 of 4 videos are one of 8. Not in the paper."""
    use_gradient_checkpointing: bool = False
    """Whether the backward pass recomputes activations, to save memory."""
    checkpointed_levels: int | None = None
    """Checkpoint only the first so many resolutions, whose activations are the largest; None:
    all."""
    use_compile: bool = False
    """Whether torch.compile makes the UNet's training steps faster, after minutes of compiling;
    checks run without it."""
    spread_frozen: bool = False
    """Whether each of several processes keeps a shard of the frozen weights and gathers a block
    when it runs (FSDP): less memory, more communication. Trained weights stay whole."""
    trackers: tuple[str, ...] = ()
    """Where else the log goes, through accelerate: tensorboard, trackio, wandb (each has to be
    installed). The log in the run's folder is always written."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        super().__post_init__()
        require(
            self,
            num_workers=(0, 1024),
            accumulate=(1, 65_536),
            frame_stride=(1, 4096),
            cross_attention_learning_rate=(0, 10),
            motion_weight=(0, 1e6),
            huber_scale=(0, 1e6),
            checkpointed_levels=(0, 64),
        )
        if self.batch_size % self.hard_examples.group_size:
            raise ValueError(
                f"hard_examples.group_size must divide batch_size, got "
                f"{self.hard_examples.group_size} and {self.batch_size}. Try 4 and 16."
            )
