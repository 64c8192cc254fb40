"""The distance between two samples of one distribution (the floor), by their number.

COMMAND  python benchmarks/floors.py --out docs/floors.svg --features FILE.f32 --dim 128
HARDWARE one CPU core

Gaussians of 400 dimensions (as I3D has) with a flat and a 1/k spectrum, scaled to a trace of 400;
with `--features` also real videos, from the features that `aid score` keeps. Prints the table of
docs/experiments/distance_floor.md. Needs matplotlib (extra `report`).
"""

import argparse
from pathlib import Path

import numpy as np

from aid.metrics.distances import (
    Moments,
    centred_kernel_distance,
    frechet_distance,
    kernel_distance,
)
from aid.video import whole_file

NUMBERS = (64, 128, 256, 512, 1024, 2048, 4096)
DIM = 400


def gaussian(spectrum: np.ndarray, num: int, generator: np.random.Generator) -> np.ndarray:
    """`num` features with these variances."""
    return generator.normal(size=(num, len(spectrum))) * np.sqrt(spectrum)


def floors(name: str, pairs: dict[int, list[tuple[np.ndarray, np.ndarray]]]) -> list[list[float]]:
    """Rows of (number, Fréchet, KVD): means over the pairs of samples."""
    rows = []
    for num, samples in pairs.items():
        frechet = [frechet_distance(Moments.of(a), Moments.of(b)) for a, b in samples]
        kernel = [kernel_distance(a, b) for a, b in samples]
        rows.append([num, float(np.mean(frechet)), float(np.mean(kernel)), float(np.std(kernel))])
        print(f"| {name} | {num} | {rows[-1][1]:.4g} | {rows[-1][2]:.2g} ± {rows[-1][3]:.2g} |")
    return rows


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("floors.svg"))
    parser.add_argument("--features", type=Path, help="a .f32 file that `aid score` wrote")
    parser.add_argument("--dim", type=int, default=128, help="numbers of a video in that file")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    spectra = {"flat spectrum": np.ones(DIM), "1/k spectrum": 1 / np.arange(1, DIM + 1)}
    print("| features | videos in each set | Fréchet | KVD |\n| --- | --- | --- | --- |")
    curves = {}
    for name, spectrum in spectra.items():
        spectrum = spectrum / spectrum.sum() * DIM
        pairs = {
            num: [tuple(gaussian(spectrum, num, generator) for _ in range(2))
                  for _ in range(arguments.repeats)]
            for num in NUMBERS
        }  # fmt: skip
        curves[name] = floors(name, pairs)
        # One set moved by half a standard deviation of every feature.
        a, b = (gaussian(spectrum, 1024, generator) for _ in range(2))
        moved = b + 0.5 * np.sqrt(spectrum)
        print(
            f"| {name}, mean moved by 0.5 | 1024 | "
            f"{frechet_distance(Moments.of(a), Moments.of(moved)):.4g} | "
            f"{kernel_distance(a, moved):.3g}, centred {centred_kernel_distance(a, moved):.2g} |"
        )
    if arguments.features is not None:
        real = np.fromfile(arguments.features, "<f4").reshape(-1, arguments.dim)
        pairs = {}
        for num in [n for n in NUMBERS if 2 * n <= len(real)]:
            orders = [generator.permutation(len(real)) for _ in range(arguments.repeats)]
            pairs[num] = [(real[o[:num]], real[o[num : 2 * num]]) for o in orders]
        curves["real table-top videos"] = floors("real table-top videos", pairs)
    draw(arguments.out, curves)


def draw(path: Path, curves: dict[str, list[list[float]]]) -> None:
    """The Fréchet floors as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, rows in curves.items():
        axis.loglog([row[0] for row in rows], [row[1] for row in rows], "o-", label=name)
    axis.set_xlabel("videos in each set")
    axis.set_ylabel("Fréchet distance of one distribution to itself")
    axis.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="svg")
    print(path)


if __name__ == "__main__":
    main()
