"""What preparing and reading data costs, as ratios within one run.

COMMAND  python benchmarks/data.py --part prepare --data data/tabletop/train --videos 512
         python benchmarks/data.py --part epoch --data data/tabletop/train --videos 256
         python benchmarks/data.py --part loader --rows 1000 10000 100000
HARDWARE CPU cores

Without --data it makes videos: a square that moves over a table, 64 x 64, 16 frames, H.264.

prepare: `aid prepare`, and a plain loop that decodes, encodes and saves one video after another;
         the same backbone, threads and videos.
epoch:   one epoch of batches read from the cache, and the same batches made in the training loop:
         decoded only, and decoded and encoded.
loader:  memory and time per row of the cache's loader, for each number of rows in a process of its
         own, with tensors of the table-top's sizes in random order. Memory is the process's own
         (RssAnon), without mapped pages, which the system can drop. Time is CPU time, which other
         jobs do not lengthen.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from data_made import NUM_FRAMES, make_videos, write_cache
from safetensors.torch import save_file

from aid.conditioning.encoders import encode_sentences
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig, FrameConfig
from aid.data.cache import NUM_NOISED, Cache
from aid.data.frames import read_frames
from aid.data.manifest import read_manifest
from aid.data.order import batch_indices
from aid.data.shards import SHARD
from aid.models.backbone import Backbone, load_backbone
from aid.predict import find_backbone
from aid.prepare import prepare
from aid.types import VideoRow
from aid.video import to_float

BATCH = 16
PARTS = ("vae", "image_encoder", "text_encoder", "tokenizer")
# Without these glibc keeps blocks that were freed, which would count as needed.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
NUM_WARM = 40
NUM_READ = 4000
"""Rows that the loader reads in each measurement."""


def read(data: Path, row: VideoRow) -> torch.Tensor:
    """The frames of a video, float `f 3 H W`."""
    frames = read_frames(data / row.video, row, FrameConfig(), NUM_FRAMES, row.height, row.width)
    return to_float(frames.pixels.permute(0, 2, 3, 1).numpy())


def encode(parts: Backbone, videos: torch.Tensor, words: list[str]) -> dict[str, torch.Tensor]:
    """All that a training step needs of some videos `b f 3 H W`."""
    given = videos[:, :1].contiguous()
    embedding, tokens = parts.encode_image(given[:, 0])
    sentences, mask = encode_sentences(parts.tokenizer, parts.part("text_encoder"), words)
    return {
        "latents": parts.encode(videos),
        "condition": parts.encode_condition(given, NUM_FRAMES, "grey_pixels"),
        "embedding": embedding,
        "tokens": tokens,
        "text": sentences,
        "mask": mask,
    }


def loop_prepare(data: Path, rows: list[VideoRow], out: Path, parts: Backbone) -> float:
    """Seconds of a plain loop: decode, encode, save, next."""
    out.mkdir()
    start = time.monotonic()
    for row in rows:
        made = encode(parts, read(data, row)[None], [row.instruction])
        half = {name: tensor.half().contiguous() for name, tensor in made.items()}
        save_file(half, out / f"{row.id}.safetensors")
    return time.monotonic() - start


def ours(data: Path, rows: list[VideoRow], out: Path, backbone: Path) -> float:
    """Seconds of `prepare`, loading the backbone included."""
    start = time.monotonic()
    prepare(
        data, out, backbone, condition=ConditionConfig(), num_frames=NUM_FRAMES, rows=rows,
        states=choose_state_writer("none"),
    )  # fmt: skip
    return time.monotonic() - start


def part_prepare(data: Path, rows: list[VideoRow], backbone: Path, scratch: Path) -> None:
    """Videos a second of both, each in turn and then once more the other way round."""
    parts = load_backbone(backbone, PARTS)
    loop_prepare(data, rows[:2], scratch / "warm", parts)
    seconds: dict[str, list[float]] = {"loop": [], "prepare": []}
    for turn, order in enumerate((("loop", "prepare"), ("prepare", "loop"))):
        for name in order:
            out = scratch / f"{name}{turn}"
            took = (
                loop_prepare(data, rows, out, parts)
                if name == "loop"
                else ours(data, rows, out, backbone)
            )
            seconds[name].append(took)
    for name, took in seconds.items():
        rates = ", ".join(f"{len(rows) / one:.1f}" for one in took)
        print(f"{name:<8} {rates} videos a second")
    ratio = min(seconds["loop"]) / min(seconds["prepare"])
    print(
        f"prepare is {ratio:.2f} times as fast; it makes {NUM_NOISED} noise augmentations, not one"
    )


def part_epoch(data: Path, rows: list[VideoRow], backbone: Path, scratch: Path) -> None:
    """Seconds of one epoch: from the cache, or decoded, or decoded and encoded, in the loop."""
    ours(data, rows, scratch / "cache", backbone)
    parts, cache = load_backbone(backbone, PARTS), Cache(scratch / "cache")
    number = len(rows) // BATCH
    batches = [batch_indices(len(rows), BATCH, seed=0, step=step) for step in range(number)]
    generator = torch.Generator().manual_seed(0)

    def decoded(indices: list[int]) -> torch.Tensor:
        return torch.stack([read(data, rows[index]) for index in indices])

    def encoded(indices: list[int]) -> None:
        encode(parts, decoded(indices), [rows[index].instruction for index in indices])

    ways = {
        "cache": lambda indices: cache.batch(indices, generator),
        "decoded": decoded,
        "encoded": encoded,
    }
    seconds = {}
    for name, batch in ways.items():
        batch(batches[0])
        start = time.monotonic()
        for indices in batches:
            batch(indices)
        seconds[name] = time.monotonic() - start
        print(f"{name:<8} {seconds[name]:8.2f} s, {1000 * seconds[name] / number:.1f} ms a batch")
    for name in ("decoded", "encoded"):
        ratio = seconds[name] / seconds["cache"]
        print(f"the cache is {ratio:.1f} times as fast as {name} in the loop")


def owned_memory() -> float:
    """MB that this process alone holds; files that are mapped are not counted."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise OSError("this kernel does not say how much memory is a process's own")


def read_cache(folder: Path, num_read: int) -> dict[str, float]:
    """What opening a cache and reading random rows of it costs."""
    warm = Cache(folder)  # torch sets things up, and the allocator takes memory for batches
    for step in range(NUM_WARM):
        warm.batch(batch_indices(min(SHARD, len(warm)), BATCH, seed=2, step=step))
    del warm
    before, start = owned_memory(), time.monotonic()
    cache = Cache(folder)
    opened = time.monotonic() - start
    seconds, most = [], before
    for step in range(num_read // BATCH):
        indices = batch_indices(len(cache), BATCH, seed=1, step=step)
        start = time.thread_time()
        cache.batch(indices)
        seconds.append(time.thread_time() - start)
        most = max(most, owned_memory()) if step % 10 == 0 else most
    again = seconds[len(seconds) // 2 :]  # pages of the first half come from the disk
    return {
        "rows": len(cache),
        "opened_ms": 1000 * opened,
        "owned_mb": most - before,
        "us_a_row": 1e6 * float(np.median(again)) / BATCH,
    }


def part_loader(rows: list[int], backbone: Path, scratch: Path, num_read: int) -> None:
    """Memory and time per row for each number of rows."""
    found = []
    for number in rows:
        folder = scratch / f"rows-{number}"
        write_cache(folder, number, backbone)
        size = sum(path.stat().st_size for path in folder.iterdir())
        command = [sys.executable, __file__, "--read", str(folder), "--num_read", str(num_read)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ALLOCATOR
        )
        one = json.loads(done.stdout)
        found.append(one)
        print(
            f"{one['rows']:>9,} rows, {size / 1e9:6.2f} GB: opened in {one['opened_ms']:7.1f} ms, "
            f"{one['owned_mb']:6.1f} MB owned, {one['us_a_row']:7.1f} us of a core a row",
            flush=True,
        )
        for path in folder.iterdir():
            path.unlink()
    first, last = found[0], found[-1]
    times, more = last["rows"] / first["rows"], last["owned_mb"] - first["owned_mb"]
    slower = last["us_a_row"] / first["us_a_row"]
    print(f"{times:.0f} times the rows: {more:+.1f} MB, {slower:.2f} times the time per row")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["prepare", "epoch", "loader", "all"], default="all")
    parser.add_argument("--data", type=Path, help="a data set with a manifest; by default made up")
    parser.add_argument("--backbone", default="tabletop")
    parser.add_argument("--videos", type=int, default=256)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--num_read", type=int, default=NUM_READ)
    parser.add_argument("--scratch", type=Path, help="folder for what is made; by default /tmp")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read_cache(arguments.read, arguments.num_read)))
        return
    backbone = find_backbone(arguments.backbone)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as made:
        scratch = Path(made)
        if arguments.part != "loader":
            data = arguments.data or scratch / "data"
            rows = (
                read_manifest(data)[: arguments.videos]
                if arguments.data
                else make_videos(data, arguments.videos)
            )
            print(f"{len(rows)} videos of {data}, backbone {arguments.backbone}")
            if arguments.part in ("prepare", "all"):
                part_prepare(data, rows, backbone, scratch)
            if arguments.part in ("epoch", "all"):
                part_epoch(data, rows, backbone, scratch)
        if arguments.part in ("loader", "all"):
            part_loader(arguments.rows, backbone, scratch, arguments.num_read)


if __name__ == "__main__":
    main()
