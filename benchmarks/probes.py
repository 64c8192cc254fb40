r"""What latents, image tokens and UNet queries contain: probes that classify colour and shape.

COMMAND  python benchmarks/probes.py --cache runs/cache_of_backbone/train \
             --data data/tabletop/train --backbone runs/backbone
HARDWARE one CPU core without AMX
TIME     2 minutes for 1,200 scenes

For each object of a first frame, features of its cell (of 8 x 8 for the shipped backbone): the
image encoder's token (input of the DQFormer), the latents of the cell and around it (input of the
UNet), and the queries of spatial cross-attention at high noise, in the last frame. A linear probe
and one with a hidden layer (Alain & Bengio 2016) learn colour or shape on four fifths of the
scenes; the table shows their accuracy on the rest. A property that only the second probe finds is
present, but no key of a word can match it.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from aid.config import ConditionConfig, DQFormerConfig, ModelConfig
from aid.data.cache import Cache
from aid.data.manifest import read_manifest
from aid.models.attention import use_plain_attention
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser
from aid.optim import generator_for
from aid.predict import find_backbone
from aid.tabletop.language import OBJECTS
from aid.tabletop.pretrain.items import NOTHING, QueryReader, items_of
from aid.train.batches import conditions_of, every
from aid.train.hard_examples import by_first_frame

SIGMA, BATCH, STRIDE = 20.0, 8, 8


def features_of(
    backbone: Path, cache: Cache, indices: list[int]
) -> dict[str, Float[Tensor, "n d h w"]]:
    """By name, what each part says of the cells of every video's first frame."""
    unet = load_backbone(backbone, ("unet",), torch.float32).part("unet").eval()
    use_plain_attention(unet, 256)
    queries, made = QueryReader(unet), {}
    example = cache.batch([0])
    config = ModelConfig(
        num_frames=example.latents.shape[1],
        dqformer=DQFormerConfig(branches="none"),  # the stock UNet, which hears no word
        condition=ConditionConfig(fps=None),  # the video's own
    )
    denoiser = Denoiser(
        unet, example.instruction_tokens.shape[-1], example.image_tokens.shape[-1], config
    )
    for at in range(0, len(indices), BATCH):
        batch = every(cache.batch(indices[at : at + BATCH]), STRIDE)
        conditions = conditions_of(batch, denoiser.config.condition, STRIDE)
        noise = torch.randn(batch.latents.shape, generator=generator_for(0, at))
        level = torch.full((len(batch.fps),), SIGMA)
        given = batch.condition_latents[:, 0]
        cells = given.shape[-1] >> queries.halvings
        side = given.shape[-1] // cells
        around = F.unfold(given, side + 2 * (side // 2), padding=side // 2, stride=side)
        read = {
            "latents of the cell and around": rearrange(around, "b d (h w) -> b d h w", h=cells)
        }
        patches = batch.image_tokens[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        grid = rearrange(patches, "b (h w) d -> b d h w", h=side)
        read["image token"] = F.interpolate(grid, (cells, cells))
        denoiser.model_output(noise * SIGMA, level, conditions)
        for path, query in queries.read.items():
            each = rearrange(query, "(b f) (h w) d -> b f d h w", b=len(given), h=cells)
            read[f"queries of {path.split('.transformer')[0]}"] = each[:, -1]
        for name, values in read.items():
            made.setdefault(name, []).append(values)
    return {name: torch.cat(parts) for name, parts in made.items()}


def probe(
    seen: Float[Tensor, "n d"], names: Int[Tensor, " n"], unseen: Float[Tensor, "m d"], hidden: int
) -> Int[Tensor, " m"]:
    """What a probe that learned `names` of `seen` says of `unseen`."""
    torch.manual_seed(0)
    mean, std = seen.mean(0), seen.std(0) + 1e-4
    seen, unseen = (seen - mean) / std, (unseen - mean) / std
    dim, number = seen.shape[1], int(names.max()) + 1
    net = nn.Linear(dim, number)
    if hidden:
        net = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(0.3), nn.Linear(hidden, number)
        )
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.3 if hidden else 0.01)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for _ in range(600):
        chosen = torch.randint(len(seen), (256,))
        with torch.enable_grad():
            F.cross_entropy(net(seen[chosen]), names[chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
    return net.eval()(unseen).argmax(1)


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what the cache was made of")
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--limit", type=int, default=1200, help="scenes")
    options = parser.parse_args()
    cache, rows = Cache(options.cache), {row.id: row for row in read_manifest(options.data)}
    indices = [videos[0] for videos in by_first_frame(cache).values()][: options.limit]
    features = features_of(find_backbone(options.backbone), cache, indices)
    cells = next(iter(features.values())).shape[-1]
    items = items_of([rows[cache.rows[index]["id"]] for index in indices], cells, cells)
    is_object = (items[:, 1] != NOTHING) & (items[:, 1] < len(OBJECTS))
    is_seen = (torch.arange(len(indices)) < len(indices) * 4 // 5)[:, None, None]
    learn, ask = is_object & is_seen, is_object & ~is_seen
    print(f"{int(learn.sum())} objects to learn from, {int(ask.sum())} to test on")
    print("| | colour, linear | shape, linear | shape, hidden layer |\n| --- | --- | --- | --- |")
    for name, values in features.items():
        values = rearrange(values, "n d h w -> n h w d")
        shares = []
        for kind, hidden in ((0, 0), (1, 0), (1, 256)):
            said = probe(values[learn], items[:, kind][learn], values[ask], hidden)
            shares.append(f"{float((said == items[:, kind][ask]).float().mean()):.1%}")
        print(f"| {name} | {' | '.join(shares)} |", flush=True)
    common = items[:, 1][learn].mode().values
    share = float((items[:, 1][ask] == common).float().mean())
    print(f"| the commonest, {OBJECTS[common]} | - | {share:.1%} | - |")


if __name__ == "__main__":
    main()
