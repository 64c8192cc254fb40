"""How much codecs, filters, crops, frame order and shifts of real videos change a score.

COMMAND  python benchmarks/perturbations.py --data data/tabletop/val
HARDWARE one CPU core

Real videos are compared with changed copies of themselves; without a change the distance is 0.
The last columns compare half A, real, with half B, changed, as the floor does (a line of its
own). Prints the table of docs/experiments/video_files.md.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F

from aid.metrics.distances import (
    Moments,
    centred_kernel_distance,
    frechet_distance,
    kernel_distance,
)
from aid.metrics.extractors.choice import choose_extractor
from aid.metrics.protocol import PROTOCOLS, Protocol, Video, choose_protocol
from aid.metrics.videos import find_videos
from aid.video import read_video, to_float, to_uint8


def encoded(video: Video, crf: int) -> Video:
    """Through H.264 with halved colour planes, as most folders of videos are stored."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=4)
            stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], "yuv420p"
            stream.options = {"crf": str(crf), "preset": "veryfast"}
            stream.thread_count = 1
            for frame in video:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        return read_video(path)


def resized(video: Video, side: int, antialias: bool) -> Video:
    """Made smaller and large again."""
    frames = to_float(video)
    settings = {"mode": "bilinear", "align_corners": False}
    small = F.interpolate(frames, size=(side, side), antialias=antialias, **settings)
    return to_uint8(F.interpolate(small, size=frames.shape[-2:], **settings))


def cropped(video: Video, margin: int) -> Video:
    """Without a margin, and large again."""
    inside = to_float(video)[..., margin:-margin, margin:-margin]
    size = video.shape[1:3]
    return to_uint8(F.interpolate(inside, size=size, mode="bilinear", align_corners=False))


def shuffled(video: Video) -> Video:
    """Another order of all frames but the first."""
    order = 1 + np.random.default_rng(0).permutation(len(video) - 1)
    return np.concatenate([video[:1], video[order]])


def blended(video: Video) -> Video:
    """Every frame half the next one: what the reference's trilinear sampling does."""
    following = np.concatenate([video[1:], video[-1:]])
    return ((video.astype(np.float32) + following) / 2).round().astype(np.uint8)


CHANGES: dict[str, Callable[[Video], Video]] = {
    "nothing": lambda video: video,
    "mp4, yuv420, crf 16": lambda video: encoded(video, 16),
    "mp4, yuv420, crf 23": lambda video: encoded(video, 23),
    "mp4, yuv420, crf 35": lambda video: encoded(video, 35),
    "48 pixels and back, antialiased": lambda video: resized(video, 48, True),
    "48 pixels and back, not antialiased": lambda video: resized(video, 48, False),
    "margin of 2 pixels cut off": lambda video: cropped(video, 2),
    "margin of 4 pixels cut off": lambda video: cropped(video, 4),
    "moved by one pixel": lambda video: np.roll(video, 1, axis=2),
    "brighter by 5 of 255": lambda video: (video.astype(int) + 5).clip(0, 255).astype(np.uint8),
    "each frame half the next": blended,
    "frames shuffled": shuffled,
    "frames backwards": lambda video: video[::-1].copy(),
    "first frame, repeated": lambda video: np.repeat(video[:1], len(video), 0),
}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a split, or a folder of videos")
    parser.add_argument("--extractor", default="tabletop-r3d")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    folder = arguments.data / "videos" if (arguments.data / "videos").is_dir() else arguments.data
    found = find_videos(folder, "real videos")
    videos = [found.read(name) for name in list(found.paths)[: arguments.limit]]
    extractor = choose_extractor(arguments.extractor, arguments.weights)
    strict = choose_protocol("strict", len(videos[0]), 1)
    legacy = choose_protocol("seer-legacy", len(videos[0]), 1)

    def features(change: Callable[[Video], Video], protocol: Protocol) -> np.ndarray:
        made = []
        for start in range(0, len(videos), 16):
            batch = [change(video) for video in videos[start : start + 16]]
            frames = [protocol.compared(protocol.sampled(video)) for video in batch]
            shaped = torch.stack([protocol.resized(f, extractor.side) for f in frames])
            made.append(extractor.features(shaped).numpy())
        return np.concatenate(made).astype(np.float64)

    order = np.random.default_rng(0).permutation(len(videos))
    one, other = order[: len(videos) // 2], order[len(videos) // 2 :]
    print(f"{len(videos)} videos, {extractor.name} {extractor.hash}, protocol strict\n")
    print("| changed | Fréchet | KVD | KVD, centred | Fréchet, halves | KVD, halves |")
    print("| --- | --- | --- | --- | --- | --- |")
    real = features(CHANGES["nothing"], strict)
    for name, change in CHANGES.items():
        made = features(change, strict)
        whole, halves = (real, made), (real[one], made[other])
        print(
            f"| {name} | {frechet(*whole):.3g} | {kernel_distance(*whole):.3g} "
            f"| {centred_kernel_distance(*whole):.3g} | {frechet(*halves):.3g} "
            f"| {kernel_distance(*halves):.3g} |",
            flush=True,
        )
    # The given frame counted, as the legacy protocol does: the same change looks smaller.
    before, after = (features(CHANGES[name], legacy) for name in ("nothing", "frames backwards"))
    print(f"\n`{PROTOCOLS['seer-legacy'].name}`, frames backwards: {frechet(before, after):.3g}")


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The Fréchet distance of two sets of features."""
    return frechet_distance(Moments.of(a), Moments.of(b))


if __name__ == "__main__":
    main()
