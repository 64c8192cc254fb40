"""Fits how the shapes of the table-top look in a first frame, and counts how often they are read.

COMMAND  python benchmarks/items.py --out src/aid/tabletop/assets/items.json
HARDWARE one CPU core, about two minutes

Renders first frames of scenes that no data set has (seeds of their own), fits the distributions of
`tabletop.reader.items` on some and reads the others. Prints the numbers of
docs/experiments/free_speech.md. Without --out it reads only.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from aid.tabletop.reader.items import fit_shapes, items_in
from aid.tabletop.world.render import Renderer, choose_gl_library
from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.simulate import Simulator
from aid.video import whole_file


def first_frames(first_seed: int, number: int, size: int) -> tuple[list[np.ndarray], list]:
    """First frames of scenes, and the names of their items."""
    renderer = Renderer(size)
    scenes = [sample_scene(seed) for seed in range(first_seed, first_seed + number)]
    frames = [Simulator(scene, renderer).first_frame() for scene in scenes]
    renderer.close()
    return frames, [[item.name for item in scene.items] for scene in scenes]


def read(frames: list[np.ndarray], names: list[list[str]]) -> dict[str, int]:
    """How many frames are read, and how many of them rightly."""
    told = {"frames": len(frames), "read": 0, "all right": 0, "an item ruled out": 0}
    for frame, shown in zip(frames, names, strict=True):
        if (items := items_in(frame)) is None:
            continue
        told["read"] += 1
        told["all right"] += sorted(one[0] for one in items) == sorted(shown)
        possible = {name for one in items for name in one}
        told["an item ruled out"] += not set(shown) <= possible
    return told


def main() -> None:
    """Fits, if asked to, and reads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the distributions")
    out = parser.parse_args().out
    choose_gl_library()
    if out is not None:
        small, large = first_frames(9_000_000_000, 600, 64), first_frames(9_100_000_000, 100, 128)
        fitted = fit_shapes(small[0] + large[0], small[1] + large[1])
        lines = [f" {json.dumps(shape)}: {json.dumps(told)}" for shape, told in fitted.items()]
        with whole_file(out) as temporary:
            temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    for size, number in ((64, 400), (128, 200)):
        print(f"{size} pixels:", read(*first_frames(9_200_000_000 + size, number, size)))


if __name__ == "__main__":
    main()
