"""Probes: real videos with a known fault, which test whether a figure detects the fault.

A person distinguishes every probe from the real videos at a glance, except the light ones. Probes
are made from the compared frames at the extractor's input size, so they are the same for every data
set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

VERSION = 1
"""Increased when a probe changes, so that stored features of the old probe are not used."""
Frames = Float[Tensor, "f 3 H W"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One fault. `name` completes "the extractor cannot distinguish ... from real ones"."""

    name: str
    make: Callable[[Frames, Frames, torch.Generator], Frames]
    """Makes the probe from a video, another real video and a random generator."""
    is_light: bool = False
    """Whether a person may miss it. A light probe is measured but not required."""


def blurred(frames: Float[Tensor, "*b 3 H W"], share: float) -> Float[Tensor, "*b 3 H W"]:
    """Every frame with a Gaussian blur whose sigma is this share of the short side."""
    height, width = frames.shape[-2:]
    sigma = share * min(height, width)
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, device=frames.device, dtype=frames.dtype)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    planes = frames.reshape(-1, 1, height, width)
    planes = F.pad(planes, (reach, reach, 0, 0), mode="replicate")
    planes = F.conv2d(planes, weights[None, None, None])
    planes = F.pad(planes, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(planes, weights[None, None, :, None]).reshape(frames.shape)


def noisy(frames: Frames, share: float, generator: torch.Generator) -> Frames:
    """Every value with Gaussian noise whose deviation is this share of the grey range."""
    noise = torch.randn(frames.shape, generator=generator).to(frames)
    return (frames + 2 * share * noise).clamp(-1, 1)


def smeared(frames: Frames, generator: torch.Generator) -> Frames:
    """The typical output of an untrained model: an eighth of the detail, pale, with blots.

    The blots do not move, so that only the pictures are wrong and not the motion.
    """
    height, width = frames.shape[-2:]
    size = (max(height // 8, 4), max(width // 8, 4))
    small = F.interpolate(frames, size=size, mode="bilinear", antialias=True)
    small = 0.7 * small + 0.12 * torch.randn(small.shape[1:], generator=generator).to(small)
    return F.interpolate(small, size=(height, width), mode="bicubic").clamp(-1, 1)


def shuffled(frames: Frames, generator: torch.Generator) -> Frames:
    """The frames in a random order."""
    return frames[torch.randperm(len(frames), generator=generator).to(frames.device)]


def spliced(frames: Frames, other: Frames) -> Frames:
    """The first half of this video, followed by the second half of another."""
    half = len(frames) // 2
    return torch.cat([frames[:half], other[half:]])


def still(frames: Frames) -> Frames:
    """The first frame in place of every frame."""
    return frames[:1].expand_as(frames)


def halved(frames: Frames) -> Frames:
    """Every frame reduced to half its size and enlarged again: a slight loss of detail."""
    size = frames.shape[-2:]
    small = F.interpolate(
        frames, size=[max(s // 2, 1) for s in size], mode="bilinear", antialias=True
    )
    return F.interpolate(small, size=size, mode="bilinear")


PROBES = (
    Probe(name="blurred videos", make=lambda v, o, g: blurred(v, 1 / 32)),
    Probe(name="strongly blurred videos", make=lambda v, o, g: blurred(v, 1 / 16)),
    Probe(name="noisy videos", make=lambda v, o, g: noisy(v, 0.1, g)),
    Probe(name="illegible videos", make=lambda v, o, g: smeared(v, g)),
    Probe(name="videos with shuffled frames", make=lambda v, o, g: shuffled(v, g)),
    Probe(name="videos that change into another video", make=lambda v, o, g: spliced(v, o)),
    Probe(name="still videos", make=lambda v, o, g: still(v)),
    Probe(name="slightly blurred videos", make=lambda v, o, g: blurred(v, 1 / 64), is_light=True),
    Probe(name="slightly noisy videos", make=lambda v, o, g: noisy(v, 0.05, g), is_light=True),
)
"""The probes of the extractor test. Blur is given as sigma, a share of the short side; noise as its
standard deviation, a share of the grey range."""
ILLEGIBLE, STILL = "illegible videos", "still videos"


def seed_of(frames: Frames) -> int:
    """A seed that depends on the video alone, so that the order of reading has no effect."""
    levels = ((frames + 1) * 127.5).round().to(torch.int64).flatten()
    places = torch.arange(len(levels), device=levels.device) % 65521 + 1
    return int((levels * places).sum())


def probed(
    frames: Float[Tensor, "b f 3 s s"], others: Sequence[Frames]
) -> dict[str, Float[Tensor, "b f 3 s s"]]:
    """Every probe of some videos.

    Args:
        frames: in [-1, 1].
        others: real videos of the same shape, for the second halves; for each video at least one
            must differ from it.
    """
    made: dict[str, list[Frames]] = {probe.name: [] for probe in PROBES}
    for video in frames:
        seed = seed_of(video)
        different = [other for other in others if not torch.equal(other.to(video), video)]
        other = different[seed % len(different)].to(video)
        for number, probe in enumerate(PROBES):
            generator = torch.Generator().manual_seed(seed + number)
            made[probe.name].append(probe.make(video, other, generator))
    return {name: torch.stack(videos) for name, videos in made.items()}
