"""Any image encoder as an extractor: what the frames of a video show, and how they change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from aid.metrics.distances import CUBIC

CHUNK = 64
"""Frames that are encoded at once."""


@dataclass(frozen=True, kw_only=True)
class FrameExtractor:
    """Features of videos from embeddings of single frames.

    Embeddings are scaled to length 1. A feature is their mean over the frames, their standard
    deviation over the frames (another scene in the middle raises it), and the mean of their
    absolute changes from frame to frame (a wrong order raises it, a still video has none).

    A network for pictures was not trained to see motion, and no published FVD was measured with it.
    """

    model: str
    """Whose image encoder it is; the extractor is called clip-frames (model)."""
    hash: str
    side: int
    """Height and width of the frames that it takes, in pixels."""
    width: int
    """Numbers in an embedding."""
    embed: Callable[[Float[Tensor, "n 3 s s"]], Float[Tensor, "n d"]]
    """Embeddings of frames in [-1, 1]."""
    device: str = "cpu"
    """Where `embed` wants the frames."""
    is_tuned_to: str = "single pictures (an image encoder; there is no published FVD of it)"
    num_blocks: ClassVar[int] = 3
    kernel: ClassVar[tuple[int, float]] = CUBIC

    @property
    def name(self) -> str:
        """As the card says it."""
        return f"clip-frames ({self.model})"

    @property
    def dim(self) -> int:
        """Numbers in a feature."""
        return self.num_blocks * self.width

    @torch.no_grad()
    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        flat = rearrange(frames, "b f c h w -> (b f) c h w")
        parts = [self.embed(part.to(self.device)) for part in flat.split(CHUNK)]
        seen = torch.cat(parts).float().cpu()
        seen = seen / seen.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        seen = rearrange(seen, "(b f) d -> b f d", b=len(frames))
        changes = seen.diff(dim=1).abs() if seen.shape[1] > 1 else torch.zeros_like(seen)
        return torch.cat([seen.mean(1), seen.std(1, correction=0), changes.mean(1)], 1)
