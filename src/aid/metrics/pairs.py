"""Compares each predicted video with the real video of the same name, frame by frame."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aid.metrics.protocol import Protocol
from aid.metrics.steadiness import flicker, gradient_energy, static_places
from aid.metrics.videos import VideoSet

VERSION = 2
"""Increased when a figure is added or changed, so that stored lines are measured again."""
LARGEST_PSNR = 100.0
"""PSNR of equal frames, in dB; without a bound one equal frame makes every mean infinite."""
Perceptual = Callable[[Float[Tensor, "f 3 H W"], Float[Tensor, "f 3 H W"]], Float[Tensor, " f"]]
"""A perceptual distance of every frame, such as LPIPS; smaller is better."""


def psnr(a: Float[Tensor, "f 3 H W"], b: Float[Tensor, "f 3 H W"]) -> Float[Tensor, " f"]:
    """Peak signal-to-noise ratio of every frame, in dB, for frames in [-1, 1]."""
    error = ((a - b) / 2).square().mean((1, 2, 3))
    return (-10 * torch.log10(error.clamp(min=1e-12))).clamp(max=LARGEST_PSNR)


def ssim(a: Float[Tensor, "f 3 H W"], b: Float[Tensor, "f 3 H W"]) -> Float[Tensor, " f"]:
    """Structural similarity of every frame (Wang et al. 2004), the mean over channels and pixels.

    The window is Gaussian, 11 pixels wide, with sigma 1.5. Pixels whose window crosses the border
    are left out. Variances are those of the window, without the n - 1 correction.

    Raises:
        ValueError: the frames are smaller than the window.
    """
    if min(a.shape[-2:]) < 11:
        raise ValueError(
            f"SSIM needs frames of at least 11 pixels, got {a.shape[-1]}x{a.shape[-2]}."
        )
    down, across = _window(a.shape[-2]), _window(a.shape[-1])

    def mean(x: Tensor) -> Tensor:
        return down @ x @ across.T

    x, y = (a.double() + 1) / 2, (b.double() + 1) / 2
    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    value = value / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return value.mean((1, 2, 3)).float()


def _window(size: int) -> Float[Tensor, "m n"]:
    """The matrix that takes Gaussian means of 11 neighbours along an axis of this size."""
    steps = torch.arange(11, dtype=torch.float64) - 5
    weights = torch.exp(-(steps**2) / (2 * 1.5**2))
    rows = torch.zeros(size - 10, size, dtype=torch.float64)
    for row in range(size - 10):
        rows[row, row : row + 11] = weights / weights.sum()
    return rows


def motion(frames: Float[Tensor, "b f 3 H W"]) -> Float[Tensor, " b"]:
    """Mean absolute change from a frame to the next, in [0, 2] for frames in [-1, 1]."""
    return (frames[:, 1:] - frames[:, :-1]).abs().mean(dim=(1, 2, 3, 4))


def motion_ratio(predicted: Float[Tensor, "b f 3 H W"], real: Float[Tensor, "b f 3 H W"]) -> float:
    """Motion of the predicted videos over that of the real ones; 1 is right, 0 is a still.

    It shows conditional image leakage: a model that repeats the given frame.
    """
    return float(motion(predicted).sum() / motion(real).sum().clamp(min=1e-8))


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """Figures of n pairs. Frames are all of the protocol, the given ones first.

    `psnr` in dB, `ssim` in [-1, 1], `lpips` from 0 (None without its weights); `motion` and
    `real_motion` in [0, 1]. The figures below are of the compared frames; `static_share` is the
    share of the picture that does not move in the real video. `flicker` is in grey levels, NaN if
    the real video has no static place. `energy` is the gradient energy, that of static places and
    that of all others; their sum is the whole picture's.
    """

    psnr: Float[np.ndarray, "n f"]
    ssim: Float[np.ndarray, "n f"]
    lpips: Float[np.ndarray, "n f"] | None
    motion: Float[np.ndarray, " n"]
    real_motion: Float[np.ndarray, " n"]
    static_share: Float[np.ndarray, " n"]
    flicker: Float[np.ndarray, " n"]
    real_flicker: Float[np.ndarray, " n"]
    energy: Float[np.ndarray, "n 2"]
    real_energy: Float[np.ndarray, "n 2"]


def compare_pairs(
    real: VideoSet,
    made: VideoSet,
    protocol: Protocol,
    path: Path,
    *,
    names: Sequence[str],
    perceptual: Perceptual | None = None,
    on_video: Callable[[int, int], None] | None = None,
) -> PairFigures:
    """The figures of all pairs; those in the file at `path` are not computed again.

    Args:
        real: the real videos.
        made: the videos to compare with them.
        protocol: which frames are compared.
        path: JSON lines, one line for each pair.
        names: the pairs; both videos of each must be readable.
        perceptual: LPIPS, if its weights were given.
        on_video: called with (pairs done, number of pairs).

    Raises:
        ValueError: the two videos of a pair differ in size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _read_lines(path)
    with path.open("a", encoding="utf-8") as file:
        for count, name in enumerate(names, 1):
            stamps = [real.stamp(name), made.stamp(name), perceptual is not None, VERSION]
            if name not in known or known[name]["stamps"] != stamps:
                line = {"name": name, "stamps": stamps}
                line |= _figures(name, real, made, protocol, perceptual)
                known[name] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
            if on_video is not None:
                on_video(count, len(names))
    lines = [known[name] for name in names]
    columns = {
        field.name: np.array([line[field.name] for line in lines], dtype=float)  # null: NaN
        for field in fields(PairFigures)
        if field.name != "lpips"
    }
    lpips = None if perceptual is None else np.array([line["lpips"] for line in lines])
    return PairFigures(lpips=lpips, **columns)


def _figures(
    name: str, real: VideoSet, made: VideoSet, protocol: Protocol, perceptual: Perceptual | None
) -> dict[str, Any]:
    a, b = protocol.sampled(real.read(name)), protocol.sampled(made.read(name))
    require_equal_size(name, a, b)
    figures = {
        "psnr": psnr(a, b).tolist(),
        "ssim": ssim(a, b).tolist(),
        "motion": float(motion(b[None])) / 2,
        "real_motion": float(motion(a[None])) / 2,
    }
    figures |= _steadiness(a, protocol.compared(a), protocol.compared(b))
    return figures | ({"lpips": perceptual(a, b).tolist()} if perceptual else {})


def _steadiness(
    whole: Float[Tensor, "n 3 H W"], real: Float[Tensor, "m 3 H W"], made: Float[Tensor, "m 3 H W"]
) -> dict[str, Any]:
    """Flicker and gradient energy of the compared frames, at the whole real video's places."""
    places = static_places(whole)
    inner = places[1:-1, 1:-1]

    def energy(frames: Float[Tensor, "m 3 H W"]) -> list[float]:
        map_ = gradient_energy(frames)
        return [float((map_ * chosen).mean()) for chosen in (inner, ~inner)]

    return {
        "static_share": float(places.float().mean()),
        "flicker": flicker(made, places),
        "real_flicker": flicker(real, places),
        "energy": energy(made),
        "real_energy": energy(real),
    }


def require_equal_size(
    name: str, real: Float[Tensor, "n 3 H W"], made: Float[Tensor, "n 3 h w"]
) -> None:
    """Refuses a pair whose frames cannot be compared pixel by pixel.

    Raises:
        ValueError: the two videos of this name differ in size.
    """
    if real.shape != made.shape:
        sizes = " and ".join(f"{x.shape[3]}x{x.shape[2]}" for x in (real, made))
        raise ValueError(
            f"the two videos named {name!r} are {sizes} pixels. Frames can only be compared at one "
            "size; resize one set, or rename its videos to compare them as sets only."
        )


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of a file of pairs, by the pair's name."""
    lines = {}
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the run was killed while it wrote the line
                continue
            lines[line["name"]] = line
    return lines
