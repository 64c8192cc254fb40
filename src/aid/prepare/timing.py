"""About how long encoding takes on this machine: the frozen encoders timed on a little noise.

Called by the command that inspects a data set, before `prepare` spends that time. A small picture
is timed and the time is multiplied by the pixels, so that it takes seconds at any size.
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
"""How often each is timed."""
SIDE = 128
"""Pixels; a larger picture is timed at the size of a square of this side, in its own shape."""


def encoding_seconds(
    backbone: Path,
    condition: ConditionConfig,
    num_frames: int,
    height: int,
    width: int,
    device: str | None = "cpu",
    precision: str = "float32",
) -> tuple[float, float]:
    """Seconds for the latents of a video, and for a distinct first frame; text takes next to none.

    An estimate: the autoencoder's attention, which grows with the square of the pixels, is counted
    in proportion to them.

    Raises:
        ValueError: the backbone is not whole, or the device is not there.
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
    """Of one run; the first of all, which sets things up, is not timed."""

    def wait() -> None:
        if place.type != "cpu":
            torch.accelerator.synchronize(place)

    work(), wait()
    start = time.monotonic()
    for _ in range(NUM_TIMED):
        work()
    wait()
    return (time.monotonic() - start) / NUM_TIMED
