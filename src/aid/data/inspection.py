"""Inspects a data set before it is encoded: counts all rows, decodes some videos.

Called by the command line. Rows go into a database on disk (`Statistics`) and videos are decoded a
few at a time, so memory does not grow with the data set. The caller brings the tokenizer; no model
is needed. The thresholds are not in the paper.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from aid.config import FrameConfig
from aid.data.frames import read_frames
from aid.data.shards import pieces, video_digest
from aid.data.sources import Listing
from aid.data.statistics import MAX_NAMED, Look, Statistics
from aid.data.store import is_url
from aid.data.windows import window_report
from aid.types import VideoRow
from aid.video import NoteCounter

AT_ONCE = 32
"""Videos that are unpacked or fetched at once."""
NUM_SHOWN, SHOWN_SIDE = 12, 96
"""Videos on the contact sheet, and the greatest height of a frame there, in pixels."""
SIDE, MAX_SIDE = 256, 4096
"""Height and width in pixels if no video gives its size, and at most."""
COLD_FROM, COLD_RATIO = 0.03, 3.0
"""Red and blue seem swapped if at least this share of the area is cold, and it is at least so many
times the warm share."""
NUM_BLOCKS = 16
"""Blocks along a frame's height and width: their means are hardly affected by a codec's noise."""
STILL_BELOW = 2.0
"""Of 255: by how much the mean of some block changes, at least, in a video with motion."""
COLOURED_ABOVE = 40.0
"""Of 255: the least difference of red and blue in a block that counts as warm or cold."""

CountTokens = Callable[[list[str]], list[int]]
OnStep = Callable[[str, int, int | None], None]
Shown = tuple[str, UInt8[np.ndarray, "n h w 3"]]


def inspect(
    listing: Listing,
    *,
    frames: FrameConfig,
    num_frames: int,
    sample: int | None = None,
    seconds: float | None = None,
    count_tokens: CountTokens | None = None,
    max_tokens: int = 77,
    num_threads: int = 2,
    on_step: OnStep = lambda step, done, total: None,
) -> tuple[dict[str, Any], list[Shown]]:
    """Counts all rows of a data set and decodes some of its videos.

    Args:
        listing: the data set; its rows are iterated.
        frames: the size at which videos are decoded; None in it takes the first one's.
        num_frames: decoded of each video, evenly from first to last.
        sample: number of videos that are decoded, drawn by digests of their ids; None is all.
        seconds: after which no more videos are decoded; None decodes the whole sample.
        count_tokens: returns the numbers of tokens of sentences, with start and end.
        max_tokens: that the text encoder reads.
        num_threads: for decoding.
        on_step: called with the step, how much is done and the total (None: unknown).

    Returns:
        The report as JSON values (docs/data.md explains them), and captions and frames of some
        videos for a contact sheet.

    Raises:
        ValueError: a list or an archive of the data set is malformed, or it holds no video.
    """
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be at least 1, or all, got {sample}.")
    with closing(Statistics()) as found:
        for number, row in enumerate(listing.rows, start=1):
            found.add_row(row)
            if number % 10 == 0:
                on_step("reading lists", number, None)
        num_rows = found.num_rows()
        total = min(sample or num_rows, num_rows)
        is_digested = len(found.numbers_of("split")) > 1
        spread = total if seconds is None else min(total, NUM_SHOWN)
        decoder = _Decoder(frames, num_frames, num_threads, spread, is_digested)
        at_once = AT_ONCE if seconds is None else num_threads
        for piece in _pieces(found.chosen(sample, is_by_draw=seconds is not None), at_once):
            if seconds is not None and decoder.number and decoder.seconds >= seconds:
                break
            for place, row, look in decoder.decode(listing, piece):
                found.add_look(place, row, look)
            on_step("decoding videos", decoder.number, total)
        compared = _compare_bytes(found, listing, num_threads, on_step)
        report = {
            "source": listing.place,
            "format": listing.format.name,
            "notes": [*listing.notes, *listing.issues.notes(), *decoder.notes.lines()],
            **_counts(found),
            "windows": window_report(found.lengths(), frames, num_frames),
            "instructions": _instructions(found, count_tokens, max_tokens, on_step),
            "looked_at": {
                "number": decoder.number,
                "drawn": _drawn(decoder.number, total, num_rows, seconds),
                **decoder.report(),
            },
            **_findings(found, compared),
        }
        return report, [shown for _, shown in sorted(decoder.shown, key=lambda pair: pair[0])]


def _pieces(
    chosen: Iterator[list[tuple[int, VideoRow]]], size: int
) -> Iterator[list[tuple[int, VideoRow]]]:
    return (piece for some in chosen for piece in pieces(some, size))


def _drawn(number: int, total: int, num_rows: int, seconds: float | None) -> str:
    if number == num_rows:
        return "all"
    allowed = f", as many as {seconds:g} s allowed" if number < total else ""
    return f"by digests of the ids{allowed}"


class _Decoder:
    """Decodes videos, all at one size, and keeps a few for the contact sheet."""

    def __init__(
        self,
        frames: FrameConfig,
        num_frames: int,
        num_threads: int,
        total: int,
        is_digested: bool,
    ) -> None:
        self.frames, self.num_frames, self.num_threads = frames, num_frames, num_threads
        self.is_digested = is_digested
        self.height, self.width = frames.height or 0, frames.width or 0
        self.number, self.total, self.seconds = 0, total, 0.0
        self.shown: list[tuple[int, Shown]] = []
        self.notes = NoteCounter()

    def decode(
        self, listing: Listing, piece: list[tuple[int, VideoRow]]
    ) -> Iterator[tuple[int, VideoRow, Look]]:
        """Place, row with the facts of its header, and look of each video."""
        start = time.monotonic()
        with (
            listing.local_videos([row for _, row in piece]) as (paths, rows),
            ThreadPoolExecutor(self.num_threads) as pool,
        ):
            self._settle_size(rows)
            one = partial(
                look_at, frames=self.frames, num_frames=self.num_frames,
                height=self.height, width=self.width, is_digested=self.is_digested,
            )  # fmt: skip
            looks = list(pool.map(one, [paths[row.video] for row in rows], rows))
        self.seconds += time.monotonic() - start
        for (place, _), row, look in zip(piece, rows, looks, strict=True):
            self.number += 1
            self.notes.add(row.id, look.notes)
            is_due = len(self.shown) * self.total < self.number * NUM_SHOWN
            if is_due and look.frames is not None and len(self.shown) < NUM_SHOWN:
                self.shown.append((place, _small(row, look.frames)))
            yield place, row, look

    def _settle_size(self, rows: list[VideoRow]) -> None:
        """The size of the first video that gives one, in multiples of 8."""
        known = next(((r.height, r.width) for r in rows if r.height and r.width), (SIDE, SIDE))
        height, width = (min(max(8, side // 8 * 8), MAX_SIDE) for side in known)
        self.height, self.width = self.height or height, self.width or width

    def report(self) -> dict[str, Any]:
        """How videos were decoded, and how long it took."""
        return {
            "num_frames": self.num_frames,
            "height": self.height,
            "width": self.width,
            "seconds": self.seconds,
            "num_threads": self.num_threads,
        }


def _small(row: VideoRow, frames: UInt8[np.ndarray, "f H W 3"]) -> Shown:
    """A line of the contact sheet."""
    height, width = frames.shape[1:3]
    scale = min(1.0, SHOWN_SIDE / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    some = frames[np.linspace(0, len(frames) - 1, 8).round().astype(int)]
    small = np.stack([np.array(Image.fromarray(frame).resize(size)) for frame in some])
    caption = " ".join(f"{row.id}: {row.instruction or '(no instruction)'}".split())
    return caption[:200], small


def _compare_bytes(found: Statistics, listing: Listing, num_threads: int, on_step: OnStep) -> str:
    """Adds digests of possible duplicates; returns of which videos the bytes are compared."""
    if len(found.numbers_of("split")) < 2:
        return "no video: there is only one split"
    if is_url(listing.place):
        return "the decoded videos"
    folder, done = Path(listing.place), 0
    total = found.measure(folder)
    with ThreadPoolExecutor(num_threads) as pool:
        for some in found.possible_duplicates():
            digests = pool.map(video_digest, [folder / video for video in some])
            found.add_digests(zip(some, digests, strict=True))
            done += len(some)
            on_step("comparing splits", done, total)
    return "the decoded videos" if found.has_packed() else "all videos"


def _counts(found: Statistics) -> dict[str, Any]:
    return {
        "num_videos": found.num_rows(),
        "num_scenes": found.num_scenes(),
        "splits": found.numbers_of("split"),
        "cameras": found.numbers_of("camera"),
        "lengths": found.spread("num_frames"),
        "seconds": found.spread("CASE WHEN fps > 0 THEN num_frames / fps END"),
        "rates": found.groups("ROUND(fps, 3)"),
        "sizes": found.sizes(),
    }


def _instructions(
    found: Statistics, count_tokens: CountTokens | None, max_tokens: int, on_step: OnStep
) -> dict[str, Any]:
    """Number and length of instructions; tokens of all sentences together."""
    distinct, empty = found.num_instructions()
    sentences = found.num_sentences()
    counted: dict[str, Any] = {"longest": None, "words": "", "too_long": None, "tokens": None}
    if count_tokens is not None:
        counted |= {"longest": 0, "too_long": 0, "tokens": sum(count_tokens([""]))}
        for some in found.instructions():
            lengths = count_tokens(some)
            longest = max(range(len(some)), key=lengths.__getitem__)
            if lengths[longest] > counted["longest"]:
                counted |= {"longest": lengths[longest], "words": some[longest][:1000]}
            counted["too_long"] += sum(length > max_tokens for length in lengths)
        done = 0
        for some in found.sentences():
            counted["tokens"] += sum(min(length, max_tokens) for length in count_tokens(some))
            done += len(some)
            on_step("counting tokens", done, sentences)
    return {
        "distinct": distinct, "empty": empty, "sentences": sentences, "max_tokens": max_tokens,
        **counted,
    }  # fmt: skip


def _findings(found: Statistics, compared: str) -> dict[str, Any]:
    num_corrupt, corrupt = found.corrupt()
    num_still, still = found.still()
    num_across, across = found.across_splits()
    colours = found.colours()
    swapped = [
        camera
        for camera, (warm, cold) in colours.items()
        if cold >= COLD_FROM and cold >= COLD_RATIO * warm
    ]
    return {
        "repeated_ids": found.repeated_ids(),
        "corrupt": {"number": num_corrupt, "videos": corrupt},
        "still": {"number": num_still, "videos": still},
        "colours": {
            camera: {"warm": round(warm, 4), "cold": round(cold, 4)}
            for camera, (warm, cold) in colours.items()
        },
        "suspected_bgr": swapped,
        "across_splits": {"number": num_across, "compared": compared, "videos": across},
        "names_up_to": MAX_NAMED,
    }


def look_at(
    path: Path,
    row: VideoRow,
    frames: FrameConfig,
    num_frames: int,
    height: int,
    width: int,
    is_digested: bool = True,
) -> Look:
    """Decodes the frames of a row as for a cache, and describes them.

    Args:
        path: of the row's video.
        row: of the data set.
        frames: which frames are decoded.
        num_frames: of them.
        height: to which they are fitted, in pixels.
        width: likewise.
        is_digested: whether all bytes of the file are read for a digest.
    """
    digest = video_digest(path) if is_digested else ""
    rated = replace(row, fps=row.fps or 1.0)  # an unknown rate does not matter here
    try:
        config = replace(frames, sampling="uniform_index")
        decoded = read_frames(path, rated, config, num_frames, height, width)
    except ValueError as error:
        return Look(digest=digest, reason=str(error))
    blocks = block_means(decoded.pixels)
    warm, cold = warm_and_cold(blocks)
    return Look(
        digest=digest,
        is_still=is_still(blocks),
        warm=warm,
        cold=cold,
        frames=decoded.pixels.permute(0, 2, 3, 1).numpy(),
        notes=decoded.notes,
    )


def block_means(pixels: UInt8[Tensor, "f 3 H W"]) -> Float[Tensor, "f 3 n n"]:
    """Mean colours of the blocks of frames, in [0, 255]."""
    return adaptive_avg_pool2d(pixels.float(), NUM_BLOCKS)


def is_still(blocks: Float[Tensor, "f 3 n n"]) -> bool:
    """Whether all blocks stay as they are in the first frame."""
    return (blocks - blocks[:1]).abs().max().item() < STILL_BELOW


def warm_and_cold(blocks: Float[Tensor, "f 3 n n"]) -> tuple[float, float]:
    """Shares of blocks that are warm and cold.

    Rooms, hands and tables have red above green above blue far more often than the reverse. In a
    video with red and blue swapped it is the reverse.
    """
    red, green, blue = blocks.unbind(1)
    warm = (red >= green) & (green >= blue) & (red - blue > COLOURED_ABOVE)
    cold = (blue >= green) & (green >= red) & (blue - red > COLOURED_ABOVE)
    return warm.float().mean().item(), cold.float().mean().item()
