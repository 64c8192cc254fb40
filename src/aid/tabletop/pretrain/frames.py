"""Decodes videos into memory, which is large enough for data sets of 128-pixel videos."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.progress import track
from torch import Tensor

from aid.types import VideoRow
from aid.video import read_video


def load_videos(
    folder: Path,
    rows: Sequence[VideoRow],
    frames: Sequence[int] | None = None,
    show: bool = True,
) -> UInt8[Tensor, "n f 3 H W"]:
    """The decoded videos of all rows, which must have one size and number of frames.

    Args:
        frames: which frames to keep; all if None.
        show: whether to show a progress bar.
    """
    first = rows[0]
    shape = (first.num_frames, first.height, first.width)
    chosen = list(range(first.num_frames) if frames is None else frames)
    videos = torch.empty(len(rows), len(chosen), 3, *shape[1:], dtype=torch.uint8)

    def load(index: int) -> None:
        pixels = read_video(folder / rows[index].video)
        if pixels.shape[:3] != shape:
            raise ValueError(
                f"video {rows[index].video!r} has the shape {pixels.shape[:3]} (frames, height, "
                f"width), the first one {shape}. Give videos of one shape."
            )
        videos[index] = torch.from_numpy(np.moveaxis(pixels[chosen], -1, 1))

    with ThreadPoolExecutor(2) as pool:
        for _ in track(
            pool.map(load, range(len(rows))), "decode", total=len(rows), disable=not show
        ):
            pass
    return videos


def evenly_from_sets(rows: Sequence[VideoRow], number: int) -> list[VideoRow]:
    """At most `number` rows, in their order, in equal shares from the joined data sets.

    A data set with fewer rows than its share gives all, and the others share the rest. A row
    belongs to the data set that its path begins with, as `aid data join` writes it.
    """
    sets: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        sets.setdefault(Path(row.video).parts[0], []).append(index)
    chosen: list[int] = []
    for place, members in enumerate(sorted(sets.values(), key=len)):
        share = min(len(members), (number - len(chosen)) // (len(sets) - place))
        chosen += [members[i * len(members) // share] for i in range(share)]
    return [rows[index] for index in sorted(chosen)]


def held_out_of(number: int, wanted: int) -> tuple[list[int], list[int]]:
    """Indices to train on and, evenly spread over all, indices that are held out.

    Raises:
        ValueError: no more than are wanted.
    """
    if number <= wanted:
        raise ValueError(
            f"the data set holds {number} videos, but {wanted} are held out for checks. "
            "Make more scenes: aid tabletop make --scenes.play 1000"
        )
    chosen = [index * number // wanted for index in range(wanted)]
    return sorted(set(range(number)) - set(chosen)), chosen


def as_floats(videos: UInt8[Tensor, "*shape"]) -> Tensor:
    """uint8 in [0, 255] -> float in [-1, 1]."""
    return videos.float() / 127.5 - 1
