"""Every predicted video against the real one of its name, kept in a file as it goes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from aid.metrics.pairs import motion, psnr, ssim
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet

Perceptual = Callable[[Float[Tensor, "f 3 H W"], Float[Tensor, "f 3 H W"]], Float[Tensor, " f"]]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Numbers of n pairs. Frames are all of the protocol, the given ones first.

    `psnr` in dB, `ssim` in [-1, 1], `lpips` from 0 (None without its weights); `motion` in [0, 1].
    """

    psnr: Float[np.ndarray, "n f"]
    ssim: Float[np.ndarray, "n f"]
    lpips: Float[np.ndarray, "n f"] | None
    motion: Float[np.ndarray, " n"]
    real_motion: Float[np.ndarray, " n"]


def paired(
    real: VideoSet,
    made: VideoSet,
    protocol: Protocol,
    path: Path,
    *,
    names: Sequence[str],
    perceptual: Perceptual | None = None,
    on_video: Callable[[int, int], None] | None = None,
) -> Paired:
    """The numbers of all pairs; those in the file at `path` already are not computed again.

    Args:
        real: the real videos.
        made: what is compared with them.
        protocol: which frames.
        path: of the file, a line for each pair.
        names: of the pairs, all readable.
        perceptual: LPIPS, if its weights are at hand.
        on_video: called with (pairs done, all of them).

    Raises:
        ValueError: the two videos of a pair differ in size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _known(path)
    with path.open("a", encoding="utf-8") as file:
        for count, name in enumerate(names, 1):
            stamps = [real.stamp(name), made.stamp(name), perceptual is not None]
            if name not in known or known[name]["stamps"] != stamps:
                line = {"name": name, "stamps": stamps}
                line |= _numbers(name, real, made, protocol, perceptual)
                known[name] = line
                file.write(json.dumps(line) + "\n")
                file.flush()
            if on_video is not None:
                on_video(count, len(names))
    lines = [known[name] for name in names]
    columns = {
        key: np.array([line[key] for line in lines])
        for key in ("psnr", "ssim", "motion", "real_motion")
    }
    lpips = None if perceptual is None else np.array([line["lpips"] for line in lines])
    return Paired(lpips=lpips, **columns)


def _numbers(
    name: str, real: VideoSet, made: VideoSet, protocol: Protocol, perceptual: Perceptual | None
) -> dict[str, Any]:
    a, b = protocol.sampled(real.read(name)), protocol.sampled(made.read(name))
    refuse_other_size(name, a, b)
    numbers = {
        "psnr": psnr(a, b).tolist(),
        "ssim": ssim(a, b).tolist(),
        "motion": motion(b),
        "real_motion": motion(a),
    }
    return numbers | ({"lpips": perceptual(a, b).tolist()} if perceptual else {})


def refuse_other_size(
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


def _known(path: Path) -> dict[str, dict[str, Any]]:
    known = {}
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # a kill in the middle of the line
                continue
            known[line["name"]] = line
    return known
