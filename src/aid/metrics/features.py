"""Features of many videos in one file, computed once and in constant memory.

Each set has two files: `.f32` with a row of float32 for each video, and `.jsonl` with the name of
each row's video, or the reason why a video has none. A killed run loses one batch at most.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from aid.metrics.extractors import Extractor
from aid.metrics.protocol import Protocol
from aid.metrics.videos import VideoSet
from aid.video import Note


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """Features of a set, in the order of `names`; `features` is read from disk on access."""

    features: Float[np.ndarray, "n d"]
    names: list[str]
    unreadable: dict[str, str]
    """The videos without features, with the reasons."""

    def only(self, names: list[str]) -> Float[np.ndarray, "n d"]:
        """The features of these videos, in memory."""
        at = {name: index for index, name in enumerate(self.names)}
        return self.features[[at[name] for name in names]]


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Gives the blocks of a feature equal weight: subtracts the mean and divides by a scale.

    An extractor with `num_blocks` concatenates several descriptions of a video, such as the content
    of its frames and their changes. Their scales differ, so the largest would dominate. Means and
    scales are those of the real videos.
    """

    mean: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "n d"], num_blocks: int) -> "Balance":
        """The balance of the real videos' features; d is a multiple of `num_blocks`."""
        mean = np.asarray(features, np.float64).mean(0)
        variances = np.asarray(features, np.float64).var(0).reshape(num_blocks, -1)
        scale = np.sqrt(variances.mean(1))
        scale[scale == 0] = 1  # a block in which all videos agree has no scale
        return cls(mean=mean, scale=scale.repeat(variances.shape[1]))

    def __call__(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The balanced features of any set, in memory."""
        return (np.asarray(features, np.float64) - self.mean) / self.scale


def features_of(
    videos: VideoSet,
    protocol: Protocol,
    extractor: Extractor | None,
    path: Path,
    *,
    batch_size: int = 16,
    on_video: Callable[[int, int], None] | None = None,
) -> FeatureFile:
    """The features of every readable video of a set.

    Args:
        videos: read one batch at a time.
        protocol: which frames are compared.
        extractor: computes the features; None only tests which videos can be read.
        path: of the files, without suffix. Existing rows are not computed again, so the path must
            identify protocol and extractor.
        batch_size: number of videos in memory.
        on_video: called with (videos done, number of videos).
    """
    rows, index = path.with_suffix(".f32"), path.with_suffix(".jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    known = _known(index, videos)
    num_rows = sum(line["reason"] is None for line in known)
    dim = 0 if extractor is None else extractor.dim
    width = dim * 4
    if not rows.exists() or rows.stat().st_size < num_rows * width:
        known, num_rows = [], 0  # the rows are missing, or belong to other features
    with rows.open("ab") as file:
        file.truncate(num_rows * width)
    with index.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in known)
    done = {line["name"] for line in known}
    todo = [name for name in videos.paths if name not in done]
    count = len(known)
    for batch, lines in _batches(videos, todo, protocol, extractor, batch_size):
        if batch and extractor is not None:
            made = extractor.features(torch.stack(batch)).float().cpu().numpy()
            with rows.open("ab") as file:
                file.write(made.astype("<f4").tobytes())
        with index.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        known += lines
        count += len(lines)
        if on_video is not None:
            on_video(count, len(videos.paths))
    names = [line["name"] for line in known if line["reason"] is None]
    shape, is_empty = (len(names), dim), not names or not dim
    features = np.zeros(shape, np.float32) if is_empty else np.memmap(rows, "<f4", "r", shape=shape)
    reasons = {line["name"]: line["reason"] for line in known if line["reason"] is not None}
    return FeatureFile(features=features, names=names, unreadable=reasons)


def _known(index: Path, videos: VideoSet) -> list[dict]:
    """The leading lines of an index whose videos are unchanged; later rows are computed again."""
    lines: list[dict] = []
    if not index.is_file():
        return lines
    for text in index.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the run was killed while it wrote the line
            break
        name = line["name"]
        if name not in videos.paths or line["stamp"] != videos.stamp(name):
            break
        videos.notes[name] = tuple(Note(*one) for one in line.get("notes", []))
        lines.append(line)
    return lines


def _batches(
    videos: VideoSet,
    names: list[str],
    protocol: Protocol,
    extractor: Extractor | None,
    batch_size: int,
) -> Iterator[tuple[list[torch.Tensor], list[dict]]]:
    """The frames of each batch, and their lines of the index."""
    batch: list[torch.Tensor] = []
    lines: list[dict] = []
    for name in names:
        line: dict = {"name": name, "stamp": videos.stamp(name), "reason": None}
        try:
            frames = protocol.compared(protocol.sampled(videos.read(name)))
            if extractor is not None:
                batch.append(protocol.resized(frames, extractor.side))
        except ValueError as error:
            line["reason"] = str(error)
        if notes := videos.notes.get(name):
            line["notes"] = [[note.text, note.number] for note in notes]
        lines.append(line)
        if len(lines) == batch_size:
            yield batch, lines
            batch, lines = [], []
    if lines:
        yield batch, lines
