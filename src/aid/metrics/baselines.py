"""Trivial predictions, made from the real videos: whoever is no better has done nothing."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import UInt8

from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet
from aid.video import to_uint8

Video = UInt8[np.ndarray, "f H W 3"]
COPIED, BLENDED, MEAN = "first frame, repeated", "oracle blend", "mean video"


def copied(video: Video) -> Video:
    """Its first frame, again and again."""
    return np.repeat(video[:1], len(video), 0)


def blended(video: Video) -> Video:
    """From its first frame to its last by cross-fading: an oracle, for it has seen the end."""
    share = np.linspace(0, 1, len(video))[:, None, None, None]
    return ((1 - share) * video[:1] + share * video[-1:]).round().astype(np.uint8)


def mean_video(videos: VideoSet, protocol: Protocol) -> Video:
    """The mean of all readable videos, frame by frame.

    Raises:
        ValueError: they differ in size, so that there is no mean, or none can be read.
    """
    total, count = None, 0
    for name in videos.paths:
        try:
            frames = protocol.sampled(videos.read(name)).double()
        except ValueError:
            continue  # named with the features
        if total is not None and total.shape != frames.shape:
            raise ValueError("the videos differ in size, so they have no mean")
        total, count = frames if total is None else total + frames, count + 1
    if total is None:
        raise ValueError("no video can be read")
    return to_uint8((total / count).to(torch.float32))


def baselines(real: VideoSet, protocol: Protocol) -> tuple[list[VideoSet], dict[str, str]]:
    """The trivial sets, and the reasons why some are missing."""

    def made(title: str, derived: Callable[[Video], Video], derived_from: str = "") -> VideoSet:
        return replace(real, title=title, derived=derived, derived_from=derived_from)

    sets, missing = [made(COPIED, copied), made(BLENDED, blended)], {}
    try:
        mean = mean_video(real, protocol)
        sets.append(made(MEAN, lambda _: mean, hashlib.sha256(mean.tobytes()).hexdigest()))
    except ValueError as error:
        missing[MEAN] = str(error)
    return sets, missing
