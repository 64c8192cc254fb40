"""Synthetic videos and caches for `benchmarks/data.py`, which calls this file."""

import functools
import json
from pathlib import Path

import numpy as np
import torch

from aid.data.cache import NUM_NOISED, OFFSETS, ROWS, SETTINGS
from aid.data.manifest import write_manifest
from aid.data.shards import FORMAT, SHARD
from aid.data.store import Store
from aid.models.sizes import backbone_sizes
from aid.types import VideoRow
from aid.video import write_mp4

NUM_FRAMES = 16


def make_videos(folder: Path, number: int, size: int = 64) -> list[VideoRow]:
    """A data set of moving squares; one in four begins a new scene."""
    (folder / "videos").mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for index in range(number):
        if index % 4 == 0:
            table = rng.integers(60, 200, (size, size, 3), dtype=np.uint8)
        pixels = np.stack([table] * NUM_FRAMES)
        for frame in range(NUM_FRAMES):
            left = 4 + frame * (1 + index % 4) * size // 128
            pixels[frame, 20:32, left : left + 12] = (200, 30, 30)
        write_mp4(folder / f"videos/{index}.mp4", pixels, fps=8.0)
        rows.append(
            VideoRow(
                id=str(index),
                video=f"videos/{index}.mp4",
                num_frames=NUM_FRAMES,
                fps=8.0,
                instruction=f"push square {index % 40} to the right",
                height=size,
                width=size,
            )
        )
    write_manifest(folder, rows)
    return rows


def write_cache(folder: Path, number: int, backbone: Path) -> None:
    """A cache of random tensors in the table-top's sizes; four videos share a first frame."""
    sizes, store = backbone_sizes(backbone), Store(folder)
    store.make()
    generator = torch.Generator().manual_seed(0)
    side = 64 // sizes.down_scaling

    @functools.cache  # the same numbers in every shard: what they are costs nothing to read
    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).half()

    listed: dict[str, list] = {"videos": [], "first_frames": [], "sentences": []}

    def shard(kind: str, count: int, tensors: dict[str, torch.Tensor]) -> None:
        name = f"{kind}-{len(listed[kind]):024d}.safetensors"
        store.write_tensors(name, tensors)
        listed[kind].append([name, count])

    latent = (sizes.latent_channels, side, side)
    for start in range(0, number, SHARD):
        n = min(SHARD, number - start)
        firsts = torch.arange(n, dtype=torch.int32) // 4
        given = torch.zeros(int(firsts[-1]) + 1, 1, 3, 64, 64, dtype=torch.uint8)
        latents = random(n, NUM_FRAMES, *latent)
        shard("videos", n, {"latents": latents, "given_frames": given, "given_of": firsts})
    num_firsts = -(-number // 4)
    for start in range(0, num_firsts, SHARD):
        n = min(SHARD, num_firsts - start)
        image = (sizes.num_image_tokens, sizes.image_dim)
        shard("first_frames", n, {
            "given_latents": random(n, NUM_NOISED, 1, *latent),
            "noise_aug_strength": random(n, NUM_NOISED).abs(),
            "image_embedding": random(n, 1, sizes.image_embedding_dim),
            "image_tokens": random(n, *image),
        })  # fmt: skip
    num_sentences = max(2, number // 4)
    for start in range(0, num_sentences, SHARD):
        n = min(SHARD, num_sentences - start)
        starts = torch.arange(n + 1) * 10
        shard("sentences", n, {"tokens": random(10 * n, sizes.text_dim), "starts": starts})
    starts = [0]
    with (folder / ROWS).open("wb") as file:
        for index in range(number):
            line = {
                "id": str(index), "first_frame": index // 4, "fps": 8.0,
                "instructions": [index % num_sentences], "states": [(index + 1) % num_sentences],
            }  # fmt: skip
            file.write(json.dumps(line).encode() + b"\n")
            starts.append(file.tell())
    store.write_tensors(OFFSETS, {"starts": torch.tensor(starts)})
    fingerprint = {"num_videos": number, "states_see": []}
    store.write_json(SETTINGS, {
        "format": FORMAT, "fingerprint": fingerprint, "num_videos": number, "filling": None,
        "sentence_length": sizes.num_text_tokens, "text_dim": sizes.text_dim, **listed,
    })  # fmt: skip
