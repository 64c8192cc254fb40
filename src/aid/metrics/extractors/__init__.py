"""The protocol of a feature extractor; `choice` selects one by name."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Extractor(Protocol):
    """Maps a batch of videos to features. `name` and `hash` stand on every score card.

    If the features are several blocks of equal length, the extractor has an attribute `num_blocks`;
    a comparison then gives the blocks equal weight (`metrics.features.Balance`).
    """

    name: str
    hash: str
    """12 hex digits of the weights."""
    side: int
    """Height and width of its input frames, in pixels."""
    dim: int
    """Number of features of a video."""
    kernel: tuple[int, float]
    """Degree and constant of the kernel of its kernel distance."""
    is_tuned_to: str
    """The data that its weights were trained on, because it favours such data."""

    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        ...
