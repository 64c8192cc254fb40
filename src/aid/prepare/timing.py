"""Estimates how long encoding takes on this machine: times the frozen encoders on noise.

Called by `aid data inspect`. A small picture is timed and the time is scaled by the number of
pixels, so that the estimate takes seconds at any size.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from aid.config import ConditionConfig
from aid.data.cache import NUM_NOISED
from aid.models.backbone import load_backbone
from aid.models.devices import choose_device, dtype_of

NUM_TIMED = 2
"""Runs of each encoder that are timed."""
SIDE = 128
"""Pixels; larger pictures are scaled down to the area of a square of this side for timing."""


def encoding_seconds(
    backbone: Path,
    condition: ConditionConfig,
    num_frames: int,
    height: int,
    width: int,
    device: str | None = "cpu",
    precision: str = "float32",
) -> tuple[float, float]:
    """Seconds for the latents of a video, and for a distinct first frame; text is negligible.

    It underestimates the autoencoder's attention, which grows with the square of the pixels.

    Raises:
        ValueError: the backbone is incomplete, or the device does not exist.
    """
    place, dtype = choose_device(device), dtype_of(precision)
    parts = load_backbone(backbone, ("vae", "image_encoder"))
    if (place.type, dtype) != ("cpu", torch.float32):
        parts.to(place, dtype)
    generator = torch.Generator().manual_seed(0)
    scale = min(1.0, SIDE / (height * width) ** 0.5)
    small = [max(64, round(side * scale / 64) * 64) if scale < 1 else side
             for side in (height, width)]  # fmt: skip
    ratio = height * width / (small[0] * small[1])
    num_given = condition.num_given_frames
    frame = torch.randn(1, num_given, 3, *small, generator=generator).to(place)
    latents = _seconds(place, lambda: parts.encode(frame[:, :1]))
    given = _seconds(place, lambda: parts.encode_condition(frame, num_given, "zero_latents"))
    image = _seconds(place, lambda: parts.encode_image(frame[:, 0]))
    return ratio * num_frames * latents, ratio * NUM_NOISED * given + image


def _seconds(place: torch.device, work: Callable[[], object]) -> float:
    """Mean seconds of a run; one more run before, for setting up, is not timed."""

    def wait() -> None:
        if place.type != "cpu":
            torch.accelerator.synchronize(place)

    work(), wait()
    start = time.monotonic()
    for _ in range(NUM_TIMED):
        work()
    wait()
    return (time.monotonic() - start) / NUM_TIMED
