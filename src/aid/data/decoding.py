"""Chosen frames of a video file: found by its packets, decoded from the nearest key frame.

Called by `data.frames`. A file's packets say when each frame is shown, without decoding: the right
frames of a variable rate, of a segment, of a file of many episodes, at the cost of those frames.
Files are somebody else's: what is no video, breaks off or lies about itself is a `ValueError`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Int, UInt8

from aid.data.probing import OPTIONS

MAX_PIXELS = 1 << 26
"""Of one frame, twice 8K: a file of some bytes can claim any size."""
TOLERANCE = 1e-3
"""Seconds by which a segment's ends may differ from its frames' times (rounded in tables)."""

Pixels = UInt8[np.ndarray, "H W 3"]
Choose = Callable[[Float[np.ndarray, " n"]], Sequence[int]]
"""The numbers of the frames wanted, in order, given when each frame is shown, in seconds after the
first of them."""


@dataclass(frozen=True)
class Timeline:
    """When each frame of a file is shown, in order, and where decoding may begin.

    `ticks` and `keys` count in the stream's own unit, of which a second has `per_second`. Without
    `keys` the ticks are numbers of frames, and decoding starts at the first.
    """

    ticks: Int[np.ndarray, " n"]
    keys: Int[np.ndarray, " m"]
    per_second: float

    def span(self, start: float, stop: float | None) -> Int[np.ndarray, " n"]:
        """The ticks from `start` up to `stop` seconds after the first frame, `stop` left out."""
        seconds = (self.ticks - self.ticks[0]) / self.per_second
        end = np.inf if stop is None else stop - TOLERANCE
        return self.ticks[(seconds >= start - TOLERANCE) & (seconds < end)]

    def key_before(self, tick: int) -> int:
        """The key frame from which `tick` can be decoded."""
        place = np.searchsorted(self.keys, tick, side="right") - 1
        return int(self.keys[max(0, place)])


def decode(
    path: Path,
    start: float,
    stop: float | None,
    choose: Choose,
    finish: Callable[[Pixels], Pixels],
) -> tuple[list[Pixels], Int[np.ndarray, " n"], float]:
    """Chosen frames of a video, upright RGB.

    Args:
        start: seconds after the file's first frame.
        stop: seconds, not included; None is the end.
        choose: which frames are wanted, of those between `start` and `stop`.
        finish: what is made of each frame at once, so that no large ones are kept.

    Returns:
        The frames; the ticks of all frames between `start` and `stop`; ticks per second.

    Raises:
        ValueError: the file is missing, damaged, no video, too large, or has no such frame.
    """
    if not path.is_file():
        raise ValueError(f"video {str(path)!r} does not exist.")
    try:
        facts = path.stat()
        timeline = _timeline(path, facts.st_size, facts.st_mtime_ns)
        made, ticks = _chosen(path, timeline, start, stop, choose, finish)
        if made is None:  # its packets and its frames disagree: count frames instead
            timeline = _counted(path, len(timeline.ticks))
            made, ticks = _chosen(path, timeline, start, stop, choose, finish)
        if made is None:
            raise ValueError(f"video {str(path)!r} is damaged: some of its frames are missing.")
    except (av.FFmpegError, OSError, MemoryError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"video {str(path)!r} cannot be decoded ({reason}).") from None
    return made, ticks, timeline.per_second


def _chosen(
    path: Path,
    timeline: Timeline,
    start: float,
    stop: float | None,
    choose: Choose,
    finish: Callable[[Pixels], Pixels],
) -> tuple[list[Pixels] | None, Int[np.ndarray, " n"]]:
    ticks = timeline.span(start, stop)
    if not len(ticks):
        length = (timeline.ticks[-1] - timeline.ticks[0]) / timeline.per_second
        raise ValueError(
            f"video {str(path)!r} has no frame from {start:g} s to "
            f"{'its end' if stop is None else f'{stop:g} s'}: its last one is at {length:g} s."
        )
    wanted = [int(ticks[n]) for n in choose((ticks - ticks[0]) / timeline.per_second)]
    made = _decoded(path, timeline, sorted(set(wanted)), finish)
    return (None if made is None else [made[tick] for tick in wanted]), ticks


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    with av.open(str(path), options=OPTIONS) as container:
        if not container.streams.video:
            raise ValueError(f"{str(path)!r} holds no video stream.")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # many files are decoded side by side
        _check_size(path, stream.codec_context.width, stream.codec_context.height)
        yield container, stream


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"video {str(path)!r} claims frames of {width} x {height} pixels, more than are read. "
            "Make it smaller."
        )


@functools.lru_cache(maxsize=64)  # a file of many episodes is asked for once per episode
def _timeline(path: Path, size: int, changed: int) -> Timeline:
    """From the packets; `size` and `changed` (when) make another file another entry."""
    with _opened(path) as (container, stream):
        ticks, keys, end, is_timed = [], [], 0.0, True
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream or not packet.size:
                continue
            if packet.is_corrupt:
                raise ValueError(f"video {str(path)!r} breaks off.")
            if packet.pts is None:
                is_timed = False
            elif not packet.is_discard:
                ticks.append(packet.pts)
                keys += [packet.pts] * packet.is_keyframe
        if not ticks and is_timed:
            raise ValueError(f"video {str(path)!r} holds no frame.")
        promised = container.duration / av.time_base if container.duration else 0.0
        first = (container.start_time or 0) / av.time_base
        if end and end - first < promised - max(0.5, 0.05 * promised):
            raise ValueError(
                f"video {str(path)!r} breaks off: it promises {promised:.2f} s, "
                f"{end - first:.2f} s are there."
            )
        per_second = float(1 / stream.time_base) if stream.time_base else 0.0
        if not is_timed or not keys or per_second <= 0 or len(set(ticks)) != len(ticks):
            return _counted(path, stream.frames)
    return Timeline(np.sort(np.array(ticks)), np.sort(np.array(keys)), per_second)


def _counted(path: Path, promised: int) -> Timeline:
    """By decoding everything, for files whose packets do not say when they are shown."""
    with _opened(path) as (container, stream):
        number = sum(1 for _ in container.decode(stream))
        rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    if not number or number < 0.9 * promised:
        raise ValueError(
            f"video {str(path)!r} is damaged: {number} of {promised} frames can be decoded."
        )
    return Timeline(np.arange(number), np.array([], dtype=int), rate)


def _decoded(
    path: Path, timeline: Timeline, wanted: list[int], finish: Callable[[Pixels], Pixels]
) -> dict[int, Pixels] | None:
    """The frames at these ticks, in order; None if the decoder does not show one of them."""
    made: dict[int, Pixels] = {}
    with _opened(path) as (container, stream):
        frames, position = None, -1
        for tick in wanted:
            if len(timeline.keys):
                key = timeline.key_before(tick)
                if key > position and not (frames is None and key == timeline.keys[0]):
                    container.seek(key, stream=stream, backward=True)
                    frames = None
            frames = frames or _shown(container, stream, is_timed=len(timeline.keys) > 0)
            for position, frame in frames:  # noqa: B007  (where the decoder stands)
                if position >= tick:
                    break
            if position != tick:
                return None
            _check_size(path, frame.width, frame.height)
            if frame.is_corrupt:
                raise ValueError(f"video {str(path)!r} is damaged: a frame cannot be decoded.")
            made[tick] = finish(_upright(frame))
    return made


def _shown(
    container: av.container.InputContainer, stream: av.VideoStream, is_timed: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames from here on, each with its tick, or with its number."""
    for number, frame in enumerate(container.decode(stream)):
        if not is_timed:
            yield number, frame
        elif frame.pts is not None:
            yield frame.pts, frame


def _upright(frame: av.VideoFrame) -> Pixels:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
