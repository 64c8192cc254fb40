"""What lies where: colour and shape, asked of the UNet's features while it is pretrained.

A network that only has to move things may carry their shapes past its attention, over the skip
connections; then a word for a shape finds nothing there that it could match. So linear heads name
the items of the given frame from what spatial cross-attention will ask with (deep supervision, Lee
et al. 2015). The heads end with the training; no word ever enters the UNet.
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
    """Colour and shape of the item that stands in each cell of the first frame, or NOTHING.

    The numbers are places in `COLOURS` and `SHAPES`. An item stands where its origin is seen.
    Of two in one cell the later counts; one outside of the picture does not.

    Raises:
        ValueError: a row does not say what lies where, or in other words than the table-top's.
    """
    colours, shapes = ({name: at for at, name in enumerate(names)} for names in (COLOURS, SHAPES))
    found = torch.full((len(rows), 2, height, width), NOTHING)
    for index, row in enumerate(rows):
        try:
            camera = Camera.from_world(row.world["camera"], height, width)
            for item in row.world["items"]:
                x, y = (math.floor(at) for at in camera.pixel(np.array(item["start"])))
                number = (colours[item["colour"]], shapes[item["shape"]])
                if 0 <= x < width and 0 <= y < height:
                    found[index, :, y, x] = torch.tensor(number)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"video {row.id!r} does not say what lies where ({error}). Make the data set again "
                "with aid tabletop, or set items_weight: 0."
            ) from None
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
    """Linear heads that name colour and shape of what lies in the given frames' cells.

    L = L_v + items_weight mean(-ln softmax(W q + b)[name])    over blocks, items, colour and shape

    where q is what a cell's query is projected from, with a W and b of each block's own.

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
        """Of the UNet's latest pass: mean cross-entropy, and the right share of colours and shapes.

        Args:
            chosen: the videos of that pass.
            kept: whether they kept their given frame; who lost it is not asked. Without a single
                item both answers are 0.
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
