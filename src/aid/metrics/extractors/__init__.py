"""What turns videos into features: one small protocol, and how an extractor is chosen by name."""

import hashlib
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Extractor(Protocol):
    """Features of a batch of videos. `name` and `hash` go on every score card.

    One whose features are several descriptions of equal length, one behind the other, says how many
    in `num_blocks`; a comparison then makes them count the same (`metrics.features.Balance`).
    """

    name: str
    hash: str
    """12 hex digits of the weights."""
    side: int
    """Height and width of the frames it takes, in pixels."""
    dim: int
    """Number of features of a video."""
    kernel: tuple[int, float]
    """Degree and constant of the kernel of its kernel distance."""
    is_tuned_to: str
    """What its weights were trained on, so that nobody takes it for neutral."""

    def features(self, frames: Float[Tensor, "b f 3 s s"]) -> Float[Tensor, "b d"]:
        """Features of frames in [-1, 1]."""
        ...


def file_hash(path: Path) -> str:
    """The first 12 hex digits of a file's SHA-256.

    Raises:
        ValueError: there is no file.
    """
    if not path.is_file():
        raise ValueError(f"weights {str(path)!r} do not exist. Give the path of a file.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
