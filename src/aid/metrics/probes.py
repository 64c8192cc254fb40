"""Real videos with a known fault, to test whether a figure notices the fault.

A person tells every one of these from the real videos at a glance, except the light ones. They are
made from the frames that are compared, at the size at which the extractor sees them, so the same
probes serve every data set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

VERSION = 1
"""Counted up when a probe changes, so that kept features are not used for another one."""
Clip = Float[Tensor, "f 3 H W"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One fault. `name` completes the sentence "the extractor cannot tell ... from real ones"."""

    name: str
    make: Callable[[Clip, Clip, torch.Generator], Clip]
    """Of a video, another real video, and a source of noise."""
    is_light: bool = False
    """Whether a person may miss it: it is measured, but nothing depends on it."""


def blurred(frames: Float[Tensor, "*b 3 H W"], share: float) -> Float[Tensor, "*b 3 H W"]:
    """Gaussian blur of every frame; sigma is this share of the short side."""
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


def noisy(frames: Clip, share: float, generator: torch.Generator) -> Clip:
    """Gaussian noise on every value; its standard deviation is this share of the grey range."""
    noise = torch.randn(frames.shape, generator=generator).to(frames)
    return (frames + 2 * share * noise).clamp(-1, 1)


def smeared(frames: Clip, generator: torch.Generator) -> Clip:
    """What a model shows that has not learnt the data: an eighth of the detail, pale, with blots.

    The blots stay where they are, so that it is the picture that is wrong and not the motion.
    """
    height, width = frames.shape[-2:]
    size = (max(height // 8, 4), max(width // 8, 4))
    small = F.interpolate(frames, size=size, mode="bilinear", antialias=True)
    small = 0.7 * small + 0.12 * torch.randn(small.shape[1:], generator=generator).to(small)
    return F.interpolate(small, size=(height, width), mode="bicubic").clamp(-1, 1)


def shuffled(frames: Clip, generator: torch.Generator) -> Clip:
    """The frames in a random order."""
    return frames[torch.randperm(len(frames), generator=generator).to(frames.device)]


def spliced(frames: Clip, other: Clip) -> Clip:
    """The second half of another video behind the first half of this one."""
    half = len(frames) // 2
    return torch.cat([frames[:half], other[half:]])


def still(frames: Clip) -> Clip:
    """The first frame, again and again."""
    return frames[:1].expand_as(frames)


def halved(frames: Clip) -> Clip:
    """Every frame at half its size and back: a person sees a slight loss of detail."""
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
    Probe(name="videos that go over into another video", make=lambda v, o, g: spliced(v, o)),
    Probe(name="still videos", make=lambda v, o, g: still(v)),
    Probe(name="slightly blurred videos", make=lambda v, o, g: blurred(v, 1 / 64), is_light=True),
    Probe(name="slightly noisy videos", make=lambda v, o, g: noisy(v, 0.05, g), is_light=True),
)
"""What an extractor is tested with. Blur is sigma as a share of the short side, noise its standard
deviation as a share of the grey range."""
ILLEGIBLE, STILL = "illegible videos", "still videos"


def seed_of(frames: Clip) -> int:
    """A seed that depends on the video alone, so that the order of reading changes nothing."""
    levels = ((frames + 1) * 127.5).round().to(torch.int64).flatten()
    places = torch.arange(len(levels), device=levels.device) % 65521 + 1
    return int((levels * places).sum())


def probed(
    frames: Float[Tensor, "b f 3 s s"], others: Sequence[Clip]
) -> dict[str, Float[Tensor, "b f 3 s s"]]:
    """Every probe of some videos.

    Args:
        frames: in [-1, 1].
        others: real videos of the same shape, from which the second halves come; for each video at
            least one must differ from it.
    """
    made: dict[str, list[Clip]] = {probe.name: [] for probe in PROBES}
    for clip in frames:
        seed = seed_of(clip)
        different = [other for other in others if not torch.equal(other.to(clip), clip)]
        other = different[seed % len(different)].to(clip)
        for number, probe in enumerate(PROBES):
            generator = torch.Generator().manual_seed(seed + number)
            made[probe.name].append(probe.make(clip, other, generator))
    return {name: torch.stack(clips) for name, clips in made.items()}
