"""How measures of sharpness and flicker respond to known changes of real videos.

COMMAND  python benchmarks/steadiness_measures.py --data data/tabletop/val --limit 32
HARDWARE one CPU core
TIME     one minute

A measure of sharpness should fall under blur, and change little under noise, a shift, or another
video of the same scene. A measure of flicker should be 0 for another real video, which does not
flicker but moves other things.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from aid.data.manifest import read_manifest
from aid.metrics.probes import blurred
from aid.metrics.steadiness import flicker, gradient_energy, static_places
from aid.video import read_video, to_float

Frames = Float[Tensor, "f 3 H W"]


def laplacian(frames: Frames) -> float:
    """Energy of the second derivative, the "variance of the Laplacian"."""
    filter_ = frames.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return float(F.conv2d(frames.reshape(-1, 1, *frames.shape[-2:]), filter_).square().mean())


def differences(frames: Frames) -> float:
    """Sum of absolute differences of neighbours, the gradient of Mathieu et al. (2016)."""
    return float(frames.diff(dim=-1).abs().mean() + frames.diff(dim=-2).abs().mean())


SHARPNESS: dict[str, Callable[[Frames], float]] = {
    "root of the gradient energy (Tenengrad)": lambda v: float(gradient_energy(v).mean()),
    "root of the Laplacian's energy": laplacian,
    "absolute differences": differences,
}


def changes(seed: int) -> dict[str, Callable[[Frames, Frames], Frames]]:
    """By name: makes a changed video from one and another video of the same scene."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(frames: Frames, levels: float) -> Frames:
        noise = torch.randn(frames.shape, generator=generator)
        return (frames + levels / 127.5 * noise).clamp(-1, 1)

    def blur(frames: Frames, pixels: float) -> Frames:
        return blurred(frames, pixels / min(frames.shape[-2:]))

    return {
        "blur .5": lambda v, o: blur(v, 0.5),
        "blur .7": lambda v, o: blur(v, 0.7),
        "blur 1": lambda v, o: blur(v, 1),
        "noise 3": lambda v, o: noisy(v, 3),
        "noise 8": lambda v, o: noisy(v, 8),
        "shifted by 1": lambda v, o: torch.roll(v, (1, 1), (-2, -1)),
        "another video": lambda v, o: o,
    }


def mean_change(frames: Frames, places: Tensor) -> float:
    """Flicker with the mean over time instead of the median, in grey levels."""
    return float(127.5 * (frames[1:] - frames[:-1]).abs().mean((0, 1))[places].mean())


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="val")
    parser.add_argument("--limit", type=int, default=32)
    options = parser.parse_args()
    rows = read_manifest(options.data)[: options.limit]
    videos = [to_float(read_video(options.data / row.video)) for row in rows]
    scene = [row.world["scene"] for row in rows]
    others = [
        next(v for n, v in enumerate(videos) if scene[n] == scene[k] and n != k)
        for k in range(len(videos))
    ]
    names = list(changes(0))
    print(f"| sharpness / real | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for title, measure in SHARPNESS.items():
        cells = []
        for name in names:
            pairs = [
                (measure(v), measure(changes(k)[name](v, o)))
                for k, (v, o) in enumerate(zip(videos, others, strict=True))
            ]
            ratio = sum(made for _, made in pairs) / sum(real for real, _ in pairs)
            cells.append(f"{ratio ** (0.5 if title.startswith('root') else 1):.2f}")
        print(f"| {title} | {' | '.join(cells)} |")
    print("\n| static flicker, grey levels | median over time | mean over time |")
    print("| --- | --- | --- |")
    for title, made in (("real", videos), ("another video", others)):
        found = [
            (flicker(m[1:], places := static_places(v)), mean_change(m[1:], places))
            for v, m in zip(videos, made, strict=True)
        ]
        cells = [f"{sum(column) / len(column):.2f}" for column in zip(*found, strict=True)]
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
