"""How a model is trained and how a video is drawn."""

import math
from dataclasses import dataclass, field
from typing import Literal

from aid.config.bounds import require

Precision = Literal["float32", "bfloat16", "float16"]
"""Arithmetic of the networks; frozen weights are stored in it, too, trained ones in float32."""


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """The noise levels that training draws: ln(sigma) ~ N(mean, std)."""

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
    """First order (SVD), or second order by DPM-Solver++(2M) at the same cost. Ours."""
    image_guidance: float = 1.5
    """s_V, how far to go towards what the given frame asks. Ours."""
    text_guidance: float = 7.5
    """s_T, how far to go towards what the instruction asks. Ours (InstructPix2Pix)."""
    sigma_min: float = 0.002
    """Lowest noise level (SVD)."""
    sigma_max: float = 700.0
    """Highest noise level (SVD)."""
    rho: float = 7.0
    """Curvature of the noise schedule (Karras et al. 2022, Eq. 5)."""
    guidance_interval: tuple[float, float] = (0.0, float("inf"))
    """Noise levels (lowest, highest) at which guidance acts; outside it does not. Ours."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}. SVD uses 25.")
        require(
            self, num_steps=(1, 10_000), image_guidance=(-1000, 1000), text_guidance=(-1000, 1000),
            rho=(0.01, 1000), sigma_max=(-1e6, 1e6),
        )  # fmt: skip
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
    """Optimizer steps. Ours."""
    batch_size: int = 8
    """Videos per forward pass and process. Ours."""
    learning_rate: float = 5e-5
    """Peak rate of AdamW. Ours (SimDA)."""
    warmup_steps: int = 1000
    """Steps in which the rate rises linearly from 0. Ours."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """What the rate does after the warm-up. Ours."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW with moments in float32, or in 8 bits (bitsandbytes) for a quarter of their memory.
    Ours."""
    weight_decay: float = 1e-2
    """AdamW's weight decay. Ours."""
    beta2: float = 0.999
    """AdamW's second beta; lower forgets old gradients sooner. Ours."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm. Ours."""
    ema_decay: float = 0.999
    """Decay of the averaged weights, which are the ones shipped. Ours."""
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
            self, steps=(1, 10**9), batch_size=(1, 65_536), learning_rate=(0, 10),
            warmup_steps=(0, 10**9), weight_decay=(0, 10), beta2=(0, 0.9999999),
            max_grad_norm=(1e-9, 1e9), ema_decay=(0, 1), seed=(0, 2**63 - 1), **intervals,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TimeNoiseConfig:
    """Noise on the given frame that grows with the video's (TimeNoise, arXiv 2406.15735)."""

    max_strength: float = 0.0
    """Upper limit of that noise, in standard deviations of the given frame's latents; 0 leaves it
    out. Ours (the source: 15 to 100 for SVD at full size)."""
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
class TrainConfig(LoopConfig):
    """AID's training."""

    cross_attention_learning_rate: float = 1e-5
    """Peak rate for trained cross-attention and UNet weights, which start from pretrained ones.
    Ours."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """The noise levels drawn."""
    frame_stride: int = 1
    """Training sees every how many frames one; 2 halves a step's work, and the fps condition says
    so. A run on all frames then starts from it (`aid train --start`). Ours."""
    motion_weight: float = 0.0
    """How many times more the loss counts places that change than places that stay. Ours."""
    huber_scale: float = 0.0
    """The error of a latent cell (of v, root mean square over its channels) from which on the loss
    grows in proportion to it, no longer squared (pseudo-Huber), so that colours close to each other
    count, too; 0 squares all. Ours."""
    siblings: int = 1
    """How many videos of one first frame stand together in a batch, under the same noise, so that
    their instructions alone tell them apart. Ours."""
    emphasis: dict[str, int] = field(default_factory=dict)
    """How many times as often as others a video is drawn whose instruction has these words, such
    as {push: 3, "on top of": 6}; siblings are drawn as often as they are on average. Ours."""
    contrasts: dict[str, int] = field(default_factory=dict)
    """Pairs of words or phrases, and how many times videos of one first frame that these alone
    tell apart are drawn besides, such as {"left, right": 3}; asks for siblings: 2. Ours."""
    allow_mixed_states: bool = False
    """Whether states made from the whole video may stand beside states made without it. Ours."""
    num_workers: int | None = None
    """Worker processes that read and draw the samples of the coming steps; None: 2 beside a CUDA
    device, 0 elsewhere, where the run itself needs the cores. What a step sees does not depend on
    it. Ours."""
    redraw_noise_aug: bool = False
    """Whether the noise on the given frames is drawn anew for every sample, as SVD does, and they
    are encoded while training; by default one of the four noised versions in the cache is taken,
    which costs nothing. Ours."""
    time_noise: TimeNoiseConfig = field(default_factory=TimeNoiseConfig)
    """Noise on the given frame against videos that stop moving; off by default."""
    accumulate: int = 1
    """Forward passes per optimizer step; 2 of 4 videos are one of 8. Ours."""
    use_gradient_checkpointing: bool = False
    """Whether activations are computed again in the backward pass, to save memory."""
    use_compile: bool = False
    """Whether torch.compile makes the UNet's training steps faster, after minutes of compiling;
    checks run as written."""
    spread_frozen: bool = False
    """Whether each of several processes keeps a share of the frozen weights and gathers a block
    when it runs: less memory, more traffic. What is trained stays whole."""
    trackers: tuple[str, ...] = ()
    """Where else the log goes, through accelerate: tensorboard, trackio, wandb (each has to be
    installed). The log in the run's folder is always written."""
    checkpointed_levels: int | None = None
    """Only on the first so many resolutions, whose activations are the largest; None: on all."""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be run."""
        super().__post_init__()
        if self.num_workers is not None and not 0 <= self.num_workers <= 1024:
            raise ValueError(f"num_workers must be from 0 to 1024, got {self.num_workers}.")
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {self.accumulate}.")
        if not 0 <= self.huber_scale < math.inf:
            raise ValueError(
                f"huber_scale must be 0 (off) or more, got {self.huber_scale}. Try 0.5"
            )
        require(
            self, cross_attention_learning_rate=(0, 10), frame_stride=(1, 4096),
            motion_weight=(0, 1e6), siblings=(-math.inf, 65_536), accumulate=(1, 65_536),
            checkpointed_levels=(0, 64),
        )  # fmt: skip
        if self.siblings < 1 or self.batch_size % self.siblings:
            raise ValueError(
                f"siblings must be at least 1 and divide batch_size, got {self.siblings} and "
                f"{self.batch_size}. Try 4 and 16."
            )
        for words, times in self.emphasis.items():
            if times < 1:
                raise ValueError(
                    f"emphasis must be at least 1 for all words, got {times} for {words!r}."
                )
        for words, times in self.contrasts.items():
            pair = [word.strip() for word in words.split(",")]
            if times < 1 or len(pair) != 2 or not all(pair):
                raise ValueError(
                    f"contrasts must be two words with a comma between them and a number of 1 or "
                    f"more, such as {{'left, right': 3}}, got {{{words!r}: {times}}}."
                )
        if self.contrasts and self.siblings != 2:
            raise ValueError(
                f"contrasts are pairs of videos, but siblings is {self.siblings}. Use siblings=2."
            )
