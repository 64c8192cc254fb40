"""Time and memory of `aid.metrics.features` on many videos, and of a plain loop.

COMMAND  python benchmarks/throughput.py --data data/tabletop/train --limit 10000 --loop 500
HARDWARE one CPU core

The plain loop reads one video, calls the extractor, and keeps the row in a list. Both run in this
process, one after the other, the loop on fewer videos. Peak memory is the process's, printed
while it runs: it must not grow with the number of videos.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aid.metrics.features import features_of
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import find_videos
from aid.tabletop.r3d import TabletopR3D


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a split of a data set")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=500, help="videos of the plain loop")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    extractor = TabletopR3D(arguments.weights)
    found = find_videos(arguments.data / "videos", "real videos")
    videos = replace(found, paths=dict(list(found.paths.items())[: arguments.limit]))
    protocol = choose_protocol("strict", len(found.read(next(iter(found.paths)))), 1)

    names = list(videos.paths)[: arguments.loop]
    start, used = time.monotonic(), time.process_time()
    rows = []
    for name in names:
        frames = protocol.compared(protocol.sampled(videos.read(name)))
        rows.append(extractor.features(protocol.resized(frames, 64)[None])[0].numpy())
    seconds, used = time.monotonic() - start, time.process_time() - used
    print(f"plain loop: {len(names)} videos, {len(names) / seconds:.1f} a second, "
          f"{1000 * used / len(names):.2f} ms of one core each")  # fmt: skip

    def tell(done: int, total: int) -> None:
        if done % 2000 < 16 or done == total:
            print(f"  {done} of {total}, peak memory {peak():.0f} MB", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        start, used = time.monotonic(), time.process_time()
        kept = features_of(videos, protocol, extractor, Path(folder) / "real", on_video=tell)
        seconds, used = time.monotonic() - start, time.process_time() - used
        number = len(videos.paths)
        print(f"in batches, kept on disk: {number} videos, {number / seconds:.1f} a second, "
              f"{1000 * used / number:.2f} ms of one core each")  # fmt: skip
        assert np.allclose(kept.features[: len(rows)], np.stack(rows), atol=1e-4)
        start = time.monotonic()
        again = features_of(videos, protocol, extractor, Path(folder) / "real")
        print(f"repeated: {time.monotonic() - start:.1f} s, {len(again.names)} videos")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
