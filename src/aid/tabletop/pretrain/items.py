"""Item heads: classify colour and shape of the items from the UNet's features in pretraining.

A UNet that only learns to move objects may pass their shapes through the skip connections and not
through its attention; then a word for a shape matches nothing there. Therefore linear heads
classify the items of the given frame from the queries of spatial cross-attention (deep supervision,
Lee et al. 2015). The heads are discarded after the training; no word ever enters the UNet.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from aid.models.insertion import part, transformer_blocks
from aid.tabletop.language import COLOURS, CONTAINERS, OBJECTS
from aid.tabletop.reader.camera import Camera
from aid.types import VideoRow

SHAPES = OBJECTS + CONTAINERS
NOTHING = -1


def items_of(rows: Sequence[VideoRow], height: int, width: int) -> Int[Tensor, "n 2 height width"]:
    """Colour and shape of the item in each cell of the first frame, or NOTHING.

    The values are indices in `COLOURS` and `SHAPES`. An item belongs to the cell of its origin. The
    later of two items in one cell counts; items outside of the image do not count. Videos of other
    worlds state no items.

    Raises:
        ValueError: no row states its items, or one has no camera or unknown colours or shapes.
    """
    colours, shapes = ({name: at for at, name in enumerate(names)} for names in (COLOURS, SHAPES))
    found = torch.full((len(rows), 2, height, width), NOTHING)
    if not any("items" in row.world for row in rows):
        raise ValueError(
            f"no video states its items and camera (the first is {rows[0].id!r}). Make the data "
            "set again with aid tabletop make, or set items_weight: 0."
        )
    for index, row in enumerate(rows):
        if "items" not in row.world:
            continue
        try:
            camera = Camera.from_world(row.world["camera"], height, width)
            for item in row.world["items"]:
                x, y = (math.floor(at) for at in camera.pixel(np.array(item["start"])))
                number = (colours[item["colour"]], shapes[item["shape"]])
                if 0 <= x < width and 0 <= y < height:
                    found[index, :, y, x] = torch.tensor(number)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"video {row.id!r} does not state the positions of its items ({error}). Make the "
                "data set again with aid tabletop make, or set items_weight: 0."
            ) from None
    return found


class QueryReader:
    """Reads the input of the spatial cross-attention's query projections at the largest resolution.

    `read` has these tensors of the latest forward pass by the block's path; `halvings` is the
    number of times that the latents were halved. `detach` removes the hooks from the UNet.

    Raises:
        ValueError: the UNet has no attention.
    """

    def __init__(self, unet: nn.Module) -> None:
        has_attention = [hasattr(block, "attentions") for block in unet.down_blocks]
        if not any(has_attention):
            raise ValueError(
                "items_weight needs attention in the UNet, and this UNet has none. Give a level "
                "heads (pretrain.unet.heads), or set items_weight: 0."
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
        """Removes the hooks."""
        for hook in self._hooks:
            hook.remove()


class ItemHeads(nn.Module):
    """Linear heads that classify colour and shape of the items in the given frames' cells.

    L = L_v + items_weight mean(-ln softmax(W q + b)[name])    over blocks, items, colour and shape

    where q is the input of a cell's query projection; each block has its own W and b.

    Args:
        queries: reads the UNet.
        items: of all videos (`items_of`), with the height and width of the queries' latents.
    """

    def __init__(self, queries: QueryReader, items: Int[Tensor, "n 2 h w"]) -> None:
        super().__init__()
        self.queries = queries
        number = len(COLOURS) + len(SHAPES)
        self.heads = nn.ModuleList(nn.Linear(queries.dim, number) for _ in queries.paths)
        self.register_buffer("items", items, persistent=False)

    def forward(
        self, chosen: Int[Tensor, " b"], kept: Bool[Tensor, " b"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, " 2"]]:
        """Mean cross-entropy in the UNet's latest pass, and the accuracies of colours and shapes.

        Args:
            chosen: the videos of that pass.
            kept: whether each kept its given frame; the others are left out. Without any item all
                results are 0.
        """
        items = self.items[chosen.to(self.items.device)]
        items = items.where(kept.to(items.device)[:, None, None, None], NOTHING)
        losses, right = [], []
        for head, path in zip(self.heads, self.queries.paths, strict=True):
            queries = self.queries.read[path]
            numbers = repeat(items, "b two h w -> two (b f) (h w)", f=len(queries) // len(items))
            is_item = numbers[0] != NOTHING
            logits = head(queries[is_item]).float().split((len(COLOURS), len(SHAPES)), dim=-1)
            for kind, wanted in zip(logits, numbers[:, is_item], strict=True):
                some = max(1, len(wanted))
                losses.append(F.cross_entropy(kind, wanted, reduction="sum") / some)
                right.append((kind.argmax(-1) == wanted).sum() / some)
        return torch.stack(losses).mean(), torch.stack(right).unflatten(0, (-1, 2)).mean(0)
