"""What lies where: colour and shape, asked of the UNet's features while it is pretrained.

A network that only has to move things may carry their shapes past its attention, over the skip
connections; then a word for a shape finds nothing there that it could match. So linear heads name
the items of the given frame from what spatial cross-attention will ask with (deep supervision, Lee
et al. 2015). The heads end with the training; no word ever enters the UNet.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from aid.metrics.camera import Camera
from aid.models.sites import part, transformer_blocks
from aid.types import VideoRow
from aid.wording import COLOURS, CONTAINERS, OBJECTS

SHAPES = OBJECTS + CONTAINERS
NOTHING = -1


def items_of(rows: Sequence[VideoRow], cells: int) -> Int[Tensor, "n 2 cells cells"]:
    """Colour and shape of the item whose centre lies in each cell of the first frame, or NOTHING.

    The numbers are places in `COLOURS` and `SHAPES`. An object hides the container of its cell.
    """
    found = torch.full((len(rows), 2, cells, cells), NOTHING)
    for index, row in enumerate(rows):
        camera = Camera.from_world(row.world["camera"], cells, cells)
        for item in sorted(row.world["items"], key=lambda item: not item["is_container"]):
            x, y = (min(max(int(at), 0), cells - 1) for at in camera.pixel(np.array(item["start"])))
            number = (COLOURS.index(item["colour"]), SHAPES.index(item["shape"]))
            found[index, :, y, x] = torch.tensor(number)
    return found


class QueryReader:
    """Keeps what spatial cross-attention asked with, on the largest latents that have it.

    `read` holds, by the block's path, what the latest pass's queries were projected from;
    `halvings` is how often those latents were halved. `detach` takes the hooks out of the UNet.

    Raises:
        ValueError: the UNet has no attention.
    """

    def __init__(self, unet: nn.Module) -> None:
        has_attention = [hasattr(block, "attentions") for block in unet.down_blocks]
        if not any(has_attention):
            raise ValueError(
                "items_weight asks what the UNet's attention knows, and this UNet has none. Give a "
                "level heads (pretrain.unet.heads), or set items_weight: 0."
            )
        self.halvings = has_attention.index(True)
        last = len(has_attention) - 1
        own = (f"down_blocks.{self.halvings}.", f"up_blocks.{last - self.halvings}.")
        blocks = transformer_blocks(unet, "transformer_blocks")
        self.paths = [path for path in blocks if path.startswith(own)]
        self.dim = unet.config.block_out_channels[self.halvings]
        self.read: dict[str, Float[Tensor, "bf n d"]] = {}
        self._hooks = [
            part(unet, f"{path}.norm2").register_forward_hook(self._keep(path))
            for path in self.paths
        ]

    def _keep(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            self.read[path] = output

        return hook

    def detach(self) -> None:
        """Gives the UNet back as it was."""
        for hook in self._hooks:
            hook.remove()


class ItemHeads(nn.Module):
    """Linear heads that name colour and shape of what lies in the given frame's cells."""

    def __init__(self, queries: QueryReader) -> None:
        super().__init__()
        self.queries = queries
        number = len(COLOURS) + len(SHAPES)
        self.heads = nn.ModuleList(nn.Linear(queries.dim, number) for _ in queries.paths)

    def forward(
        self, items: Int[Tensor, "b 2 cells cells"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " 2"]]:
        """Of the UNet's latest pass: mean cross-entropy, and the right share of colours and shapes.

        Args:
            items: of the videos of that pass.
        """
        losses, right = [], []
        for head, path in zip(self.heads, self.queries.paths, strict=True):
            features = self.queries.read[path]
            numbers = repeat(items, "b two h w -> two (b f) (h w)", f=len(features) // len(items))
            is_item = numbers[0] != NOTHING
            logits = head(features[is_item]).float().split((len(COLOURS), len(SHAPES)), dim=-1)
            for kind, wanted in zip(logits, numbers[:, is_item], strict=True):
                losses.append(F.cross_entropy(kind, wanted))
                right.append((kind.argmax(-1) == wanted).float().mean())
        return torch.stack(losses).mean(), torch.stack(right).unflatten(0, (-1, 2)).mean(0)
