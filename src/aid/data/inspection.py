"""What is in a data set, before anything is encoded: counted over all rows, looked at on some.

Called by the command line. Rows are walked once into a `Ledger` on disk and videos are looked at a
few at a time, so memory does not grow with the set. The tokenizer is the caller's: nothing here
knows a model.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aid.config import FrameConfig
from aid.data.ledger import MAX_NAMED, Ledger
from aid.data.looking import Glance, glance
from aid.data.remote import at_hand
from aid.data.shards import pieces, video_digest
from aid.data.sources import Listing
from aid.data.store import is_url
from aid.data.windows import window_report
from aid.types import VideoRow
from aid.video import NoteTally

AT_HAND = 32
"""Videos that are unpacked or fetched at once."""
NUM_SHOWN, SHOWN_SIDE = 12, 96
"""Videos on the contact sheet, and the greatest height of a frame there, in pixels."""
SIDE, MAX_SIDE = 256, 4096
"""Pixels of height and width where no video says any, and at most."""
COLD_FROM, COLD_RATIO = 0.03, 3.0
"""Red and blue seem swapped if this share is cold, and so many times as much as is warm."""

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
    """Counts all rows of a data set and looks at some of its videos.

    Args:
        listing: the data set; its rows are walked.
        frames: the size at which videos are looked at; None in it takes the first one's.
        num_frames: that are decoded of each, evenly from first to last.
        sample: how many videos are looked at, drawn by digests of their ids; None is all.
        seconds: after which no more videos are looked at; None looks at the whole sample.
        count_tokens: tokens of sentences, start and end included.
        max_tokens: that the text tower reads.
        num_threads: that decode.
        on_step: told the step, how much is done and how much there is (None: nobody knows).

    Returns:
        What was found, as JSON values (docs/data.md names them), and captions and frames of some
        videos for a contact sheet.

    Raises:
        ValueError: a list or an archive of the data set is malformed, or it holds no video.
    """
    if sample is not None and sample < 1:
        raise ValueError(f"sample must be at least 1, or all, got {sample}.")
    with closing(Ledger()) as ledger:
        for number, row in enumerate(listing.rows, start=1):
            ledger.add_row(row)
            if number % 10 == 0:
                on_step("reading lists", number, None)
        num_rows = ledger.num_rows()
        total = min(sample or num_rows, num_rows)
        is_digested = len(ledger.numbers_of("split")) > 1
        spread = total if seconds is None else min(total, NUM_SHOWN)
        looker = _Looker(frames, num_frames, num_threads, spread, is_digested)
        at_once = AT_HAND if seconds is None else num_threads
        for piece in _pieces(ledger.chosen(sample, is_by_draw=seconds is not None), at_once):
            if seconds is not None and looker.number and looker.seconds >= seconds:
                break
            for place, row, seen in looker.look_at(listing, piece):
                ledger.add_glance(place, row, seen)
            on_step("looking at videos", looker.number, total)
        compared = _compare_bytes(ledger, listing, num_threads, on_step)
        report = {
            "source": listing.place,
            "format": listing.format.name,
            "notes": [*listing.notes, *listing.tally.notes(), *looker.notes.lines()],
            **_counts(ledger),
            "windows": window_report(ledger.lengths(), frames, num_frames),
            "instructions": _instructions(ledger, count_tokens, max_tokens, on_step),
            "looked_at": {
                "number": looker.number,
                "drawn": _drawn(looker.number, total, num_rows, seconds),
                **looker.report(),
            },
            **_findings(ledger, compared),
        }
        return report, [shown for _, shown in sorted(looker.shown, key=lambda pair: pair[0])]


def _pieces(
    chosen: Iterator[list[tuple[int, VideoRow]]], size: int
) -> Iterator[list[tuple[int, VideoRow]]]:
    return (piece for some in chosen for piece in pieces(some, size))


def _drawn(number: int, total: int, num_rows: int, seconds: float | None) -> str:
    if number == num_rows:
        return "all"
    allowed = f", as many as {seconds:g} s allow" if number < total else ""
    return f"by digests of the ids{allowed}"


class _Looker:
    """Looks at videos, all in one size, and keeps a few for the contact sheet."""

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
        self.notes = NoteTally()

    def look_at(
        self, listing: Listing, piece: list[tuple[int, VideoRow]]
    ) -> Iterator[tuple[int, VideoRow, Glance]]:
        """Place, row as its header says, and what was seen."""
        start = time.monotonic()
        with (
            at_hand(listing, [row for _, row in piece]) as (paths, rows),
            ThreadPoolExecutor(self.num_threads) as pool,
        ):
            self._settle_size(rows)
            one = partial(
                glance, frames=self.frames, num_frames=self.num_frames,
                height=self.height, width=self.width, is_digested=self.is_digested,
            )  # fmt: skip
            seen = list(pool.map(one, [paths[row.video] for row in rows], rows))
        self.seconds += time.monotonic() - start
        for (place, _), row, saw in zip(piece, rows, seen, strict=True):
            self.number += 1
            self.notes.add(row.id, saw.notes)
            is_due = len(self.shown) * self.total < self.number * NUM_SHOWN
            if is_due and saw.frames is not None and len(self.shown) < NUM_SHOWN:
                self.shown.append((place, _small(row, saw.frames)))
            yield place, row, saw

    def _settle_size(self, rows: list[VideoRow]) -> None:
        """That of the first video that says one, in multiples of 8."""
        known = next(((r.height, r.width) for r in rows if r.height and r.width), (SIDE, SIDE))
        height, width = (min(max(8, side // 8 * 8), MAX_SIDE) for side in known)
        self.height, self.width = self.height or height, self.width or width

    def report(self) -> dict[str, Any]:
        """How videos were decoded, and how long that took."""
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
    caption = " ".join(f"{row.id}: {row.instruction or '(no words)'}".split())
    return caption[:200], small


def _compare_bytes(ledger: Ledger, listing: Listing, num_threads: int, on_step: OnStep) -> str:
    """Notes digests of plain files that may be equal; says of which videos bytes are compared."""
    if len(ledger.numbers_of("split")) < 2:
        return "no video: there is one split"
    if is_url(listing.place):
        return "the videos looked at"
    folder, done = Path(listing.place), 0
    total = ledger.measure(folder)
    with ThreadPoolExecutor(num_threads) as pool:
        for some in ledger.alike():
            digests = pool.map(video_digest, [folder / video for video in some])
            ledger.add_digests(zip(some, digests, strict=True))
            done += len(some)
            on_step("comparing splits", done, total)
    return "the videos looked at" if ledger.has_packed() else "all videos"


def _counts(ledger: Ledger) -> dict[str, Any]:
    return {
        "num_videos": ledger.num_rows(),
        "num_scenes": ledger.num_scenes(),
        "splits": ledger.numbers_of("split"),
        "cameras": ledger.numbers_of("camera"),
        "lengths": ledger.spread("num_frames"),
        "seconds": ledger.spread("CASE WHEN fps > 0 THEN num_frames / fps END"),
        "rates": ledger.groups("ROUND(fps, 3)"),
        "sizes": ledger.sizes(),
    }


def _instructions(
    ledger: Ledger, count_tokens: CountTokens | None, max_tokens: int, on_step: OnStep
) -> dict[str, Any]:
    """How many instructions there are and how long; tokens of all sentences together."""
    distinct, empty = ledger.num_instructions()
    sentences = ledger.num_sentences()
    counted: dict[str, Any] = {"longest": None, "words": "", "too_long": None, "tokens": None}
    if count_tokens is not None:
        counted |= {"longest": 0, "too_long": 0, "tokens": sum(count_tokens([""]))}
        for some in ledger.instructions():
            lengths = count_tokens(some)
            longest = max(range(len(some)), key=lengths.__getitem__)
            if lengths[longest] > counted["longest"]:
                counted |= {"longest": lengths[longest], "words": some[longest][:1000]}
            counted["too_long"] += sum(length > max_tokens for length in lengths)
        done = 0
        for some in ledger.sentences():
            counted["tokens"] += sum(min(length, max_tokens) for length in count_tokens(some))
            done += len(some)
            on_step("counting tokens", done, sentences)
    return {
        "distinct": distinct, "empty": empty, "sentences": sentences, "max_tokens": max_tokens,
        **counted,
    }  # fmt: skip


def _findings(ledger: Ledger, compared: str) -> dict[str, Any]:
    num_corrupt, corrupt = ledger.corrupt()
    num_still, still = ledger.still()
    num_across, across = ledger.across_splits()
    colours = ledger.colours()
    swapped = [
        camera
        for camera, (warm, cold) in colours.items()
        if cold >= COLD_FROM and cold >= COLD_RATIO * warm
    ]
    return {
        "repeated_ids": ledger.repeated_ids(),
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
