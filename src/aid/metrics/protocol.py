"""The protocol: which frames of a video are compared, at which size; with a name and a hash."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

Video = UInt8[np.ndarray, "f H W 3"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which frames of a file are compared, and how they are resized.

    Only scores of one protocol can be compared, so every card states it.
    """

    name: str
    num_frames: int
    """Frames of a video, the given ones included."""
    num_given_frames: int
    """Number of frames that the model was given."""
    counts_given_frames: bool
    """Whether given frames are compared, too. This improves scores, because they are equal."""
    sampling: Literal["index", "trilinear"]
    """Frames are selected by index, or blended from neighbours."""
    is_sorted: bool = True
    """Whether the images of a folder are read by name, or as the file system lists them."""
    antialias: bool = True
    """Whether images are smoothed before they are reduced."""

    def __post_init__(self) -> None:
        """Refuses a protocol that compares nothing."""
        if not 0 <= self.num_given_frames < self.num_frames:
            raise ValueError(
                f"num_given_frames must be below num_frames = {self.num_frames}, got "
                f"{self.num_given_frames}."
            )

    def sampled(self, pixels: Video) -> Float[Tensor, "n 3 H W"]:
        """All `num_frames` frames of a video in [-1, 1].

        Raises:
            ValueError: it is too short to pick frames from.
        """
        frames = rearrange(torch.from_numpy(np.ascontiguousarray(pixels)), "f h w c -> f c h w")
        if self.sampling == "index":
            if len(frames) < self.num_frames:
                raise ValueError(
                    f"it has {len(frames)} frames, the protocol compares {self.num_frames}"
                )
            at = np.linspace(0, len(frames) - 1, self.num_frames).round().astype(int)
            return frames[torch.from_numpy(at)].float() / 127.5 - 1
        whole = frames.float() / 127.5 - 1
        if len(whole) < self.num_frames:  # the reference appends grey frames
            grey = whole.new_zeros(self.num_frames - len(whole), *whole.shape[1:])
            return torch.cat([whole, grey])
        size = (self.num_frames, *whole.shape[2:])
        blended = F.interpolate(whole.transpose(0, 1)[None], size=size, mode="trilinear")[0]
        blended = ((blended.transpose(0, 1) + 1) * 127.5).clamp(0, 255)
        # The reference truncates to whole grey levels; 1e-3 keeps rounding errors from losing one.
        return (blended + 1e-3).floor() / 127.5 - 1

    def compared(self, sampled: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "m 3 H W"]:
        """The frames that are compared."""
        return sampled if self.counts_given_frames else sampled[self.num_given_frames :]

    def resized(self, frames: Float[Tensor, "m 3 H W"], side: int) -> Float[Tensor, "m 3 s s"]:
        """Frames whose short side is resized to `side` pixels, cropped to the centre square."""
        height, width = frames.shape[-2:]
        if (height, width) == (side, side):
            return frames
        scale = side / min(height, width)
        size = (max(side, round(height * scale)), max(side, round(width * scale)))
        small = F.interpolate(
            frames, size=size, mode="bilinear", antialias=self.antialias, align_corners=False
        )
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        return small[..., top : top + side, left : left + side].clamp(-1, 1)

    def hash(self, **facts: Any) -> str:
        """12 hex digits of the protocol and of all other facts that a score depends on."""
        text = json.dumps({**asdict(self), **facts}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


PROTOCOLS = {
    "strict": Protocol(
        name="strict",
        num_frames=16,
        num_given_frames=1,
        counts_given_frames=False,
        sampling="index",
    ),
    "seer-legacy": Protocol(
        name="seer-legacy",
        num_frames=16,
        num_given_frames=1,
        counts_given_frames=True,
        sampling="trilinear",
        is_sorted=False,
        antialias=False,
    ),
}
"""`strict` is recommended; `seer-legacy` repeats the protocol of published numbers."""


def choose_protocol(name: str, num_frames: int, num_given_frames: int) -> Protocol:
    """A protocol by name, for videos of this many frames.

    Raises:
        ValueError: the name is unknown, or no frame is left to compare.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r} is unknown. Protocols: {', '.join(PROTOCOLS)}.")
    return replace(PROTOCOLS[name], num_frames=num_frames, num_given_frames=num_given_frames)
