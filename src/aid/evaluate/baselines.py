"""Trivial videos as rows of the card: whoever is no better has learned nothing."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from aid.data.frames import floats, read_frames
from aid.data.store import Store
from aid.evaluate.kept import KeptVideos, Wanted
from aid.evaluate.questions import Question
from aid.evaluate.real import FrameSettings, Video
from aid.metrics.baselines import BLENDED, COPIED, MEAN, blended, copied
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet
from aid.types import VideoRow
from aid.video import to_uint8

ENCODED = "encoded and decoded"
"""The real video through the backbone's autoencoder: the best that the backbone can show."""
Autoencode = Callable[[list[Video]], list[Video]]


def encoded_videos(
    folder: Path, autoencode: Autoencode, batch: Sequence[Question], real: list[Video], by: str
) -> list[Video]:
    """The real videos of a batch after encoding and decoding; kept in `folder`.

    Args:
        folder: of the kept files.
        autoencode: encodes and decodes.
        batch: the questions.
        real: their real videos.
        by: names the autoencoder; videos of another one are made again.
    """
    wanted = [
        Wanted(
            name=question.real.name,
            made_from={"real": hashlib.sha256(video.tobytes()).hexdigest()[:32], "by": by},
            fps=question.real.fps,
            row_id=question.row.id,
        )
        for question, video in zip(batch, real, strict=True)
    ]
    return KeptVideos(folder).ensure(wanted, lambda places: autoencode([real[n] for n in places]))


def trivial_videos(
    real: VideoSet, protocol: Protocol, mean: Video | None
) -> tuple[list[VideoSet], dict[str, str]]:
    """The first frame repeated, the oracle blend and the mean video; why one is missing.

    Args:
        real: the real videos, all readable.
        protocol: which frames are compared.
        mean: the mean of the training videos; None takes, for each row, that of all other rows.
    """
    sets = [replace(real, title=COPIED, derived=copied)]
    sets.append(replace(real, title=BLENDED, derived=blended))
    if mean is not None:
        digest = hashlib.sha256(mean.tobytes()).hexdigest()
        sets.append(replace(real, title=MEAN, derived=lambda _: mean, derived_from=digest))
        return sets, {}
    if len(real.paths) < 2:
        return sets, {MEAN: "there is no other video to take the mean of"}
    total: Float[np.ndarray, "f 3 H W"] | None = None
    for name in real.paths:
        frames = protocol.sampled(real.read(name)).double().numpy()
        if total is not None and total.shape != frames.shape:
            return sets, {MEAN: "the videos differ in size, so they have no mean"}
        total = frames if total is None else total + frames

    def of_others(video: Video) -> Video:
        own = protocol.sampled(video).double().numpy()
        return to_uint8(torch.from_numpy((total - own) / (len(real.paths) - 1)).float())

    digest = hashlib.sha256(total.tobytes()).hexdigest()
    return [*sets, replace(real, title=MEAN, derived=of_others, derived_from=digest)], {}


def mean_of(
    place: Path | str, rows: Sequence[VideoRow], settings: FrameSettings
) -> tuple[Video | None, int]:
    """The mean of some videos, frame by frame, and of how many; unreadable ones do not count."""
    total, number = None, 0
    with Store(place).local([row.video for row in rows]) as paths:
        for row in rows:
            try:
                read = read_frames(
                    paths[row.video], row, settings.frames, settings.num_frames,
                    settings.height, settings.width,
                )  # fmt: skip
            except ValueError:
                continue
            frames = floats(read.pixels).double()
            total, number = frames if total is None else total + frames, number + 1
    return (None if total is None else to_uint8((total / number).float())), number
