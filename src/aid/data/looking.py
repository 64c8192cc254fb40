"""What the frames of one video show: whether it can be read, stands still, has red for blue.

Called by `data.inspection`, with the frames that a model would see. Thresholds are Ours.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from aid.config import FrameConfig
from aid.data.frames import read_frames
from aid.data.shards import video_digest
from aid.types import VideoRow
from aid.video import Note

NUM_BLOCKS = 16
"""Of a frame's height and width: means over blocks hardly see a codec's noise."""
STILL_BELOW = 2.0
"""Of 255: by how much the mean of a block must change in a video that moves."""
COLOURED_ABOVE = 40.0
"""Of 255: by how much red and blue differ in a block that counts as warm or cold."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What was seen of a video; `reason` says why it could not be read, and is empty if it could.

    `warm` and `cold` are shares of its area: red above green above blue, and the other way round.
    `digest` is of the file's bytes.
    """

    digest: str
    reason: str = ""
    is_still: bool = False
    warm: float = 0.0
    cold: float = 0.0
    frames: UInt8[np.ndarray, "f H W 3"] | None = None
    notes: tuple[Note, ...] = ()


def glance(
    path: Path,
    row: VideoRow,
    frames: FrameConfig,
    num_frames: int,
    height: int,
    width: int,
    is_digested: bool = True,
) -> Glance:
    """Decodes what a cache would hold of a row, and looks at it.

    Args:
        path: where the row's video is.
        is_digested: whether all bytes of the file are read for its digest, which is "" otherwise.
    """
    digest = video_digest(path) if is_digested else ""
    asked = replace(row, fps=row.fps or 1.0)  # whoever lacks a rate can still be looked at
    try:
        seen = read_frames(path, asked, replace(frames, sampling="uniform_index"), num_frames,
                           height, width)  # fmt: skip
    except ValueError as error:
        return Glance(digest=digest, reason=str(error))
    blocks = block_means(seen.pixels)
    warm, cold = warm_and_cold(blocks)
    return Glance(
        digest=digest,
        is_still=is_still(blocks),
        warm=warm,
        cold=cold,
        frames=seen.pixels.permute(0, 2, 3, 1).numpy(),
        notes=seen.notes,
    )


def block_means(pixels: UInt8[Tensor, "f 3 H W"]) -> Float[Tensor, "f 3 n n"]:
    """Mean colours of a frame's blocks, in [0, 255]."""
    return adaptive_avg_pool2d(pixels.float(), NUM_BLOCKS)


def is_still(blocks: Float[Tensor, "f 3 n n"]) -> bool:
    """Whether no block ever looks otherwise than in the first frame."""
    return (blocks - blocks[:1]).abs().max().item() < STILL_BELOW


def warm_and_cold(blocks: Float[Tensor, "f 3 n n"]) -> tuple[float, float]:
    """Shares of blocks in the colours of skin and wood, and in those that swapping makes of them.

    Rooms, hands and tables are red above green above blue far more often than the other way round;
    in a video with red and blue swapped it is the other way round.
    """
    red, green, blue = blocks.unbind(1)
    warm = (red >= green) & (green >= blue) & (red - blue > COLOURED_ABOVE)
    cold = (blue >= green) & (green >= red) & (blue - red > COLOURED_ABOVE)
    return warm.float().mean().item(), cold.float().mean().item()
