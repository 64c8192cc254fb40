"""Trivial predictions, made from the real videos: a model that scores no better is useless."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet
from aid.video import to_uint8

Video = UInt8[np.ndarray, "f H W 3"]
COPIED, BLENDED, MEAN = "first frame, repeated", "oracle blend", "mean video"


def copied(video: Video) -> Video:
    """The first frame in place of every frame."""
    return np.repeat(video[:1], len(video), 0)


def blended(video: Video) -> Video:
    """A cross-fade from the first frame to the last: an oracle, because it reads the last frame."""
    share = np.linspace(0, 1, len(video))[:, None, None, None]
    return ((1 - share) * video[:1] + share * video[-1:]).round().astype(np.uint8)


def baselines(
    real: VideoSet, protocol: Protocol, *, mean: Video | None = None, leave_one_out: bool = False
) -> tuple[list[VideoSet], dict[str, str]]:
    """The trivial sets, and the reason for each that is missing.

    Args:
        real: the real videos.
        protocol: which frames are compared.
        mean: the mean video; None computes it from the real videos.
        leave_one_out: whether the mean for each video is the mean of all others.
    """

    def derive(title: str, derived: Callable[[Video], Video], derived_from: str = "") -> VideoSet:
        return replace(real, title=title, derived=derived, derived_from=derived_from)

    sets = [derive(COPIED, copied), derive(BLENDED, blended)]
    try:
        if mean is None:
            total, number = _sum(real, protocol)
            if leave_one_out:
                mean_of_others = _mean_of_others(total, number, protocol)
                return [*sets, derive(MEAN, mean_of_others, _digest(total.numpy()))], {}
            mean = to_uint8((total / number).to(torch.float32))
    except ValueError as error:
        return sets, {MEAN: str(error)}
    return [*sets, derive(MEAN, lambda _: mean, _digest(mean))], {}


def _sum(videos: VideoSet, protocol: Protocol) -> tuple[Float[Tensor, "f 3 H W"], int]:
    """The sum of all readable videos, frame by frame, and their number.

    Raises:
        ValueError: the videos differ in size, or none can be read.
    """
    total, number = None, 0
    for name in videos.paths:
        try:
            frames = protocol.sampled(videos.read(name)).double()
        except ValueError:
            continue  # the card names unreadable videos
        if total is not None and total.shape != frames.shape:
            raise ValueError("the videos differ in size, so they have no mean")
        total, number = frames if total is None else total + frames, number + 1
    if total is None:
        raise ValueError("no video can be read")
    return total, number


def _mean_of_others(
    total: Float[Tensor, "f 3 H W"], number: int, protocol: Protocol
) -> Callable[[Video], Video]:
    if number < 2:
        raise ValueError("there is no other video to take the mean of")

    def mean_of_others(video: Video) -> Video:
        own = protocol.sampled(video).double()
        return to_uint8(((total - own) / (number - 1)).float())

    return mean_of_others


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()
