"""Any image encoder as an extractor: the content of a video's frames, and their changes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from aid.metrics.distances import CUBIC

CHUNK = 64
"""Number of frames that are encoded at once."""


@dataclass(frozen=True, kw_only=True)
class FrameExtractor:
    """Features of videos from embeddings of single frames.

    Embeddings are scaled to length 1. A feature is their mean over the frames, their standard
    deviation over the frames (a change of scene raises it), and the mean of their absolute changes
    from frame to frame (a wrong order raises it; it is 0 for a still video).

    The network was trained on single images, and no published FVD was measured with it.
    """

    model: str
    """The backbone that the image encoder is of; the extractor's name is clip-frames (model)."""
    hash: str
    side: int
    """Height and width of the input frames, in pixels."""
    width: int
    """Length of an embedding."""
    embed: Callable[[Float[Tensor, "n 3 s s"]], Float[Tensor, "n d"]]
    """Embeddings of frames in [-1, 1]."""
    device: str = "cpu"
    """The device of `embed`."""
    is_tuned_to: str = "single pictures (an image encoder; there is no published FVD of it)"
    num_blocks: ClassVar[int] = 3
    kernel: ClassVar[tuple[int, float]] = CUBIC

    @property
    def name(self) -> str:
        """The name on the card."""
        return f"clip-frames ({self.model})"

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self.num_blocks * self.width

    @torch.no_grad()
    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        flat = rearrange(frames, "b f c h w -> (b f) c h w")
        parts = [self.embed(part.to(self.device)) for part in flat.split(CHUNK)]
        x = torch.cat(parts).float().cpu()
        x = x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        x = rearrange(x, "(b f) d -> b f d", b=len(frames))
        changes = x.diff(dim=1).abs() if x.shape[1] > 1 else torch.zeros_like(x)
        return torch.cat([x.mean(1), x.std(1, correction=0), changes.mean(1)], 1)
