"""Which words change a model's loss: the swap gap of pairs whose instructions differ in one word.

COMMAND  python benchmarks/words_heard.py --cache runs/cache_of_backbone/train --limit 8
HARDWARE one CPU core without AMX
TIME     4 minutes for 8 pairs of each kind, beside a training run

Pairs are two videos of one first frame (`train.hard_examples.hard_pairs`). The swap gap is the
loss of the first video with the second's instruction and states, minus its loss with its own; at
0 the word has no effect. The mean over the pairs is shown with its standard error (a video may be
in several pairs).
"""

import argparse
import itertools
from pathlib import Path
from statistics import mean, stdev

import torch

from aid.data.cache import Batch, Cache
from aid.models.attention import use_plain_attention
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import load_checkpoint
from aid.models.denoiser import Denoiser
from aid.optim import generator_for
from aid.predict import find_model
from aid.tabletop.language import COLOURS, OBJECTS
from aid.train.batches import conditions_of
from aid.train.hard_examples import hard_pairs

SIGMAS, BATCH = (4.0, 12.0, 40.0), 8
KINDS = {
    "colour": [", ".join(pair) for pair in itertools.combinations(COLOURS, 2)],
    "shape": [", ".join(pair) for pair in itertools.combinations(OBJECTS, 2)],
    "left, right": ["left, right"],
    "towards, away": ["towards, away from"],
}


def pairs_of(cache: Cache, exchanges: list[str], limit: int) -> list[list[int]]:
    """Some pairs that one of the exchanges tells apart; no pair for words that none has."""
    found = []
    for words in exchanges:
        try:
            found += hard_pairs(cache, {words: 1})
        except ValueError:  # the cache has no such pair
            continue
    order = torch.randperm(len(found), generator=generator_for(0, 0)).tolist()
    return [found[at] for at in order[:limit]]


def gaps(denoiser: Denoiser, own: Batch, other: Batch, sigma: float, at: int) -> list[float]:
    """The swap gap of each pair at one noise level, both losses with the same noise, the at-th."""
    noise = torch.randn(own.latents.shape, generator=generator_for(1, at))
    level = torch.full((len(noise),), sigma)
    conditions = [conditions_of(batch, denoiser.config.condition) for batch in (own, other)]
    right, wrong = (denoiser.loss(own.latents, noise, level, text) for text in conditions)
    return (wrong - right).tolist()


def shown(values: list[float]) -> str:
    """Mean and standard error, as far as there are enough values."""
    error = f" ± {stdev(values) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{error}" if values else "-"


@torch.no_grad()
def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--model", default="tabletop")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--limit", type=int, default=16, help="pairs of each kind")
    options = parser.parse_args()
    cache = Cache(options.cache)
    checkpoint, backbone = find_model(options.model, options.backbone)
    cache.require(backbone=backbone_hash(backbone))
    unet = load_backbone(backbone, ("unet",), torch.float32).part("unet")
    use_plain_attention(unet, 256)
    denoiser = load_checkpoint(checkpoint, unet, backbone_hash(backbone))[0].eval()
    print("| | pairs | " + " | ".join(f"gap at {s:g}" for s in SIGMAS) + " |")
    print("| --- " * (2 + len(SIGMAS)) + "|")
    for kind, exchanges in KINDS.items():
        pairs = pairs_of(cache, exchanges, options.limit)
        columns = [[] for _ in SIGMAS]
        for at in range(0, len(pairs), BATCH):
            mine, others = zip(*pairs[at : at + BATCH], strict=True)
            own, other = cache.batch(list(mine)), cache.batch(list(mine), text_of=list(others))
            for column, sigma in zip(columns, SIGMAS, strict=True):
                column += gaps(denoiser, own, other, sigma, at)
        print(f"| {kind} | {len(pairs)} | {' | '.join(map(shown, columns))} |", flush=True)


if __name__ == "__main__":
    main()
