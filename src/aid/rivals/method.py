"""What a method of the comparison must offer: networks, stages of training with a loss, samples.

A method is trained and drawn from by `aid.ablate`, which gives every method the same videos, text
tokens, seeds and budget, and decodes and scores all results alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the data that a method reads, which fix the sizes of its inputs and outputs."""

    num_frames: int
    """Frames f of a video, the given frame included."""
    channels: int
    """3 for pixels, otherwise the channels of a latent."""
    height: int
    """Rows, in pixels or latent cells."""
    width: int
    """Columns, in pixels or latent cells."""
    text_dim: int
    """Width d of a text token."""
    text_length: int
    """Tokens n of an instruction, padding included."""


@dataclass(frozen=True, kw_only=True)
class Videos:
    """A batch of videos; frame 0 is the given one.

    Pixels are in [-1, 1]; latents are scaled to about unit variance.
    """

    videos: Float[Tensor, "b f c h w"]
    text: Float[Tensor, "b n d"]
    text_mask: Bool[Tensor, "b n"]


@runtime_checkable
class Method(Protocol):
    """One row of the comparison: a class that is made from the `Sizes` of its data alone.

    It is made after torch's global generator was seeded, which its first weights may use. Buffers
    of its network may not change while it is trained: a saved state holds the trained parameters.

    Two more attributes may be there. `learning_rates` is the peak rate of AdamW in each stage (a
    mapping like `stages`); without it a stage has 1e-3. `title` is the name in tables.
    """

    space: Literal["pixels", "latents"]
    """What `Videos.videos` holds. Latents are those of the shared autoencoder. An attribute of the
    class, because the sizes depend on it."""
    reads_text: bool
    """Whether the instruction changes what is drawn."""
    stages: Mapping[str, float]
    """The stages of training, in their order, with their shares of the budget (sum 1)."""
    network: nn.Module
    """Everything that is trained or needed for drawing."""

    def trained(self, stage: str) -> dict[str, nn.Parameter]:
        """The parameters that a stage trains, by name."""

    def loss(self, stage: str, batch: Videos, generator: torch.Generator) -> Float[Tensor, " b"]:
        """The loss of each video. All randomness comes from `generator`, which is on the CPU."""

    def draw(
        self,
        given: Float[Tensor, "b c h w"],
        text: Float[Tensor, "b n d"],
        text_mask: Bool[Tensor, "b n"],
        generator: torch.Generator,
        num_steps: int | None = None,
    ) -> Float[Tensor, "b f c h w"]:
        """Videos that begin with the given frames.

        Args:
            given: the first frames.
            text: the instructions' tokens; ignored unless `reads_text`.
            text_mask: True at tokens, False at padding.
            generator: on the CPU; the same generator state gives the same videos.
            num_steps: sampling steps; None takes the method's own number.
        """
