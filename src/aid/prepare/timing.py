"""How long encoding takes on this machine: the frozen encoders at work on noise, timed.

Called by the command that inspects a data set, before `prepare` spends that time.
"""

import time
from pathlib import Path

import torch

from aid.config import ConditionConfig
from aid.data.forecast import NUM_NOISED
from aid.models.backbone import load_backbone

NUM_TIMED = 2


def encoding_seconds(
    backbone: Path, condition: ConditionConfig, num_frames: int, height: int, width: int
) -> tuple[float, float]:
    """Seconds for the latents of a video, and for a distinct first frame; text takes next to none.

    Raises:
        ValueError: the backbone is not whole.
    """
    parts = load_backbone(backbone, ("vae", "image_encoder"))
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(NUM_TIMED, num_frames, 3, height, width, generator=generator)
    given = frames[:, : condition.num_given_frames].contiguous()

    def encode_first() -> None:
        for _ in range(NUM_NOISED):
            parts.encode_condition(given, condition.num_given_frames, "zero_latents")
        parts.encode_image(given[:, 0])

    parts.encode(frames[:1, :1])  # the first call of all sets things up
    start = time.monotonic()
    parts.encode(frames)
    between = time.monotonic()
    encode_first()
    return (between - start) / NUM_TIMED, (time.monotonic() - between) / NUM_TIMED
