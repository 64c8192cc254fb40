"""LoRA by peft's three products or by one with the sum: time of a layer, forward and backward.

COMMAND  python benchmarks/lora.py
HARDWARE a CPU; one thread
TIME     about two minutes

`src/aid/models/lora.py` takes the sum up to a size, `WORTH`; this is where the value comes from.
Prints a table for docs/performance.md: milliseconds of the processor for 4,096 tokens, which a busy
machine does not lengthen; the best of several.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import peft
import torch
from torch import nn

from aid.models import lora

TOKENS, TRIES = 4096, 7
SIZES = (
    (32, 32), (96, 96), (768, 96), (96, 384), (128, 128), (1024, 128), (128, 512), (192, 192),
    (256, 256), (320, 320), (640, 640), (1280, 1280),
)  # fmt: skip


class One(nn.Module):
    """A projection, for peft to find."""

    def __init__(self, out: int, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, out).requires_grad_(False)


def updated(out: int, dim: int, rank: int) -> nn.Module:
    """A frozen projection with a LoRA of peft's around it."""
    host = One(out, dim)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["layer"])
    peft.inject_adapter_in_model(config, host, adapter_name=lora.NAME)
    return host.layer


def milliseconds(forward: Callable, x: torch.Tensor, is_half: bool) -> float:
    """The best time of a pass there and back."""
    best = float("inf")
    for _ in range(TRIES):
        begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16) if is_half else nullcontext():
            said = forward(x)
        said.backward(torch.ones_like(said))
        best = min(best, time.process_time() - begun)
    return 1000 * best


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    print("| out, in | rank | out in / (rank (out + in)) | float32: peft, sum | bf16: peft, sum |")
    print("|---|---|---|---|---|")
    for out, dim in SIZES:
        for rank in (16, 32):
            layer = updated(out, dim, rank)
            x = torch.randn(TOKENS, dim, requires_grad=True)
            ways = (layer.forward, partial(lora.multiply_by_the_sum, layer))
            times = [
                ", ".join(f"{milliseconds(way, x, is_half):.2f}" for way in ways)
                for is_half in (False, True)
            ]
            worth = out * dim / (rank * (out + dim))
            print(f"| {out}, {dim} | {rank} | {worth:.1f} | {times[0]} | {times[1]} |", flush=True)


if __name__ == "__main__":
    main()
