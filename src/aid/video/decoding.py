"""Decodes frames of a video file: chosen ones, found by their times, or all of them.

All commands decode through this module (by `reading`): `data.frames` takes chosen frames,
`metrics.videos` whole videos, the studio the first ones. All get the same pixels (`video.colour`)
and notes. Files are untrusted: one that is not a video, is incomplete or contradicts itself raises
`ValueError`.
"""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from aid.video import pictures
from aid.video.colour import Pixels, Unreadable, check_size, to_pixels
from aid.video.notes import Note
from aid.video.packets import Timeline, counted, main_stream, opened, timeline
from aid.video.pictures import is_animated

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts",
     ".wmv", ".flv", ".ogv", ".3gp", ".gif", ".apng"}
)  # fmt: skip
"""Suffixes of videos. A .webp, .png or .avif file is one if it is animated (`is_video`)."""
ANIMATED_SUFFIXES = frozenset({".gif", ".apng", ".png", ".webp", ".avif"})
MOST_REPEATS = 20
"""A video of variable rate becomes at most this many times its own number of frames."""

LONGER = 1.5
"""Times the usual duration: a frame that is shown for longer counts as several."""

VARIABLE_RATE = Note(
    "the times between frames vary (a variable frame rate, or frames that are missing); frames are "
    "taken by time"
)
RESIZED = Note("frames change their size within the video and are resized to that of the first")

Choose = Callable[[Float[np.ndarray, " n"]], Sequence[int]]
"""Returns the numbers of the wanted frames, in order, from the times of all frames in seconds after
the first."""


@dataclass(frozen=True)
class Decoded:
    """Chosen frames of a video.

    `seconds` has the time of each frame of the span, after the span's first; `last` is the duration
    of the last one.
    """

    frames: list[Pixels]
    seconds: Float[np.ndarray, " n"]
    last: float
    notes: tuple[Note, ...]


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its suffix, or if it may be animated, by its content."""
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix in ANIMATED_SUFFIXES and is_animated(path))


def is_constant(seconds: Float[np.ndarray, " n"]) -> bool:
    """Whether frames are shown at a constant rate, apart from the rounding of their times.

    No frame is shown more than half a mean frame duration before or after its even time, and none
    for more than `LONGER` times the median duration.
    """
    if len(seconds) < 3:
        return True
    even = np.linspace(seconds[0], seconds[-1], len(seconds))
    most = 0.5 * (seconds[-1] - seconds[0]) / (len(seconds) - 1)
    shown = np.diff(seconds)
    is_even = shown.max() <= LONGER * np.median(shown)
    return bool(is_even and np.abs(seconds - even).max() <= most)


def nearest(times: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " m"]) -> list[int]:
    """The number of the frame nearest in time to each wanted time; of two, the earlier."""
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, wanted - 1e-6).tolist()


def decode(
    path: Path,
    start: float,
    stop: float | None,
    choose: Choose,
    finish: Callable[[Pixels], Pixels] = lambda pixels: pixels,
) -> Decoded:
    """Chosen frames of a video, upright RGB with square pixels.

    Args:
        start: seconds after the file's first frame.
        stop: seconds, not included; None is the end.
        choose: which frames are wanted, of those between `start` and `stop`.
        finish: applied to each frame at once, so that no large frames are kept.

    Raises:
        ValueError: the file is missing, damaged, not a video, too large, or has no such frame.
    """
    if not path.is_file():
        raise ValueError(f"video {str(path)!r} does not exist.")
    try:
        if _is_picture(path):
            return _decode_animation(path, start, stop, choose, finish)
        found = timeline(path)
        made = _chosen(path, found, start, stop, choose, finish)
        if made is None:  # some files cannot be decoded from their key frames
            found = replace(found, can_seek=False)
            made = _chosen(path, found, start, stop, choose, finish)
        if made is None and found.is_whole:  # packets and frames disagree: count frames instead
            found = counted(path, len(found.ticks), found.notes)
            made = _chosen(path, found, start, stop, choose, finish)
        if made is None:
            raise Unreadable("is damaged: some of its frames are missing")
        return made
    except Unreadable as error:
        raise ValueError(f"video {str(path)!r} {error}.") from None
    except (av.FFmpegError, OSError, OverflowError) as error:
        if error.args and error.args[0] == errno.ENOMEM:
            raise MemoryError from None
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"video {str(path)!r} cannot be decoded ({reason}).") from None


@dataclass(frozen=True)
class Header:
    """The facts of a video's header; 0 if unknown. The size is that of upright frames."""

    num_frames: int
    fps: float
    height: int
    width: int


def read_header(path: Path) -> Header:
    """The header of a file; one frame is decoded for its size.

    Raises:
        ValueError: the file is missing or not a video.
    """
    try:
        if _is_picture(path):
            height, width = pictures.picture_size(path)
            with pictures.opened(path) as image:
                durations = pictures.durations_of(image)
            return Header(len(durations), len(durations) / sum(durations), height, width)
        with opened(path) as (container, stream):
            fps = float(stream.average_rate or stream.guessed_rate or 0)
            pixels, _ = next(first_frames(container, 1))
            num_frames = stream.frames or round(_length(container, stream) * fps)
            return Header(num_frames, fps, *pixels.shape[:2])
    except Unreadable as error:
        raise ValueError(f"video {str(path)!r} {error}.") from None
    except (av.FFmpegError, StopIteration, *pictures.ERRORS) as error:
        raise ValueError(f"video {str(path)!r} cannot be decoded ({error}).") from None


def _length(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """The duration of a stream in seconds, by its header."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    seconds = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name:  # which counts from 0, not from the first frame
        seconds -= max(0, container.start_time or 0) / av.time_base
    return max(0.0, seconds)


def constant_rate(
    made: Decoded,
) -> tuple[Int[np.ndarray, " f"] | None, float, tuple[Note, ...]]:
    """Which of a video's frames are shown at a constant rate, the rate, and notes.

    The numbers are None where each frame is shown once.
    """
    seconds = made.seconds
    if len(seconds) == 1:
        return None, 1 / (made.last or 1.0), made.notes
    if is_constant(seconds) and made.last <= LONGER * np.median(np.diff(seconds)):
        return None, (len(seconds) - 1) / float(seconds[-1]), made.notes
    moments, step = _even_moments(np.append(np.diff(seconds), made.last))
    shown = np.searchsorted(seconds, moments, side="right") - 1
    return shown, 1 / step, tuple(dict.fromkeys((*made.notes, VARIABLE_RATE)))


def _even_moments(
    shown: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " m"], float]:
    """Moments at a constant step at which frames of a variable rate are taken, and the step.

    It is the usual time of the frames that are shown for the shortest, so that where frames that
    repeat were stored once, as in a GIF, they are repeated exactly as often.

    Args:
        shown: seconds that each frame is shown.
    """
    length = float(shown.sum())
    step = float(shown[shown <= LONGER * np.quantile(shown, 0.1)].mean())
    number = int(np.maximum(1, np.round(shown / step)).sum())
    number = max(1, min(number, MOST_REPEATS * len(shown)))
    step = length / number
    return (np.arange(number) + 0.25) * step, step  # a quarter: times are rounded


def first_frames(
    container: av.container.InputContainer, number: int, fps: float | None = None
) -> Iterator[tuple[Pixels, list[Note]]]:
    """The first frames of an open file that can be decoded correctly, and notes about each.

    Args:
        container: the file.
        number: of frames, at most.
        fps: frames a second: frame i is the one nearest in time to i / fps seconds after the
            first, up to half a frame's duration after the last. None takes every frame.

    Raises:
        Unreadable: a frame is damaged, too large, or of another size than the first.
    """
    stream, notes = main_stream(container)
    size: tuple[int, int] | None = None
    shown = _shown(container, stream, is_timed=True)
    if fps is not None:
        shown = _at_rate(shown, float(stream.time_base or 0), fps)
    for count, (_, frame) in enumerate(shown):
        if count == number:
            return
        if frame.is_corrupt:
            raise Unreadable("is damaged: a frame cannot be decoded")
        pixels, more = to_pixels(frame, stream.sample_aspect_ratio)
        size = size or pixels.shape[:2]
        pixels, more = same_size(pixels, size, more)
        yield pixels, notes + more


def _at_rate(
    shown: Iterator[tuple[int, av.VideoFrame]], tick: float, fps: float
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames nearest to 0, 1 / fps, ... seconds; each comes with its tick (`tick` seconds)."""
    count, first, gap = 0, None, 0.0
    before: tuple[float, tuple[int, av.VideoFrame]] | None = None
    for one in shown:
        first = one[0] if first is None else first
        time = (one[0] - first) * tick
        while count / fps <= time:
            is_earlier = before is not None and count / fps - before[0] <= time - count / fps
            yield before[1] if is_earlier else one
            count += 1
        gap = time - before[0] if before is not None else 0.0
        before = time, one
    while before is not None and count / fps <= before[0] + gap / 2:
        yield before[1]
        count += 1


def _is_picture(path: Path) -> bool:
    """Whether Pillow reads a file, by its content: animated pictures."""
    with path.open("rb") as stream:
        head = stream.read(12)
    is_webp = head.startswith(b"RIFF") and head[8:] == b"WEBP"
    return (
        head.startswith((b"GIF8", b"\x89PNG")) or is_webp or head[4:] in (b"ftypavis", b"ftypavif")
    )


def _decode_animation(
    path: Path,
    start: float,
    stop: float | None,
    choose: Choose,
    finish: Callable[[Pixels], Pixels],
) -> Decoded:
    notes: list[Note] = []
    try:
        with pictures.opened(path) as image:
            check_size(*image.size)
            durations = np.array(pictures.durations_of(image))
            ends = np.cumsum(durations)
            found = Timeline(
                ticks=np.arange(len(ends)), seconds=ends - durations, keys=np.array([], dtype=int),
                horizons=np.arange(len(ends)), last=float(durations[-1]),
            )  # fmt: skip
            places, wanted = _wanted(found, start, stop, choose)
            made = dict(
                zip(
                    sorted(set(wanted)),
                    map(finish, pictures.frames_of(image, set(wanted), notes)),
                    strict=True,
                )
            )
    except Unreadable:
        raise
    except pictures.ERRORS as error:
        raise Unreadable(f"cannot be decoded ({error})") from None
    return _answer(found, places, [made[place] for place in wanted], notes)


def _wanted(
    found: Timeline, start: float, stop: float | None, choose: Choose
) -> tuple[np.ndarray, list[int]]:
    """The indices of the span's frames, and of the chosen ones."""
    places = found.span(start, stop)
    if not len(places):
        where = (
            f"from {start:g} s to {stop:g} s" if stop is not None else f"at {start:g} s or later"
        )
        raise Unreadable(f"has no frame {where}: its last one is at {found.seconds[-1]:g} s")
    seconds = found.seconds[places]
    return places, [int(places[index]) for index in choose(seconds - seconds[0])]


def _answer(
    found: Timeline, places: np.ndarray, frames: list[Pixels], notes: list[Note]
) -> Decoded:
    seconds = found.seconds[places] - found.seconds[places[0]]
    is_end = places[-1] == len(found.ticks) - 1
    last = (
        found.last if is_end else float(found.seconds[places[-1] + 1] - found.seconds[places[-1]])
    )
    if not is_constant(seconds):
        notes.append(VARIABLE_RATE)
    return Decoded(frames, seconds, last, tuple(dict.fromkeys([*found.notes, *notes])))


def _chosen(
    path: Path,
    found: Timeline,
    start: float,
    stop: float | None,
    choose: Choose,
    finish: Callable[[Pixels], Pixels],
) -> Decoded | None:
    """None if the decoder does not return one of the frames."""
    places, wanted = _wanted(found, start, stop, choose)
    notes: list[Note] = []
    made = _decoded(path, found, sorted(set(wanted)), finish, notes)
    return (
        None if made is None else _answer(found, places, [made[place] for place in wanted], notes)
    )


def _decoded(
    path: Path,
    found: Timeline,
    wanted: list[int],
    finish: Callable[[Pixels], Pixels],
    notes: list[Note],
) -> dict[int, Pixels] | None:
    """The frames at these indices, in order; None if the decoder does not return one of them."""
    made: dict[int, Pixels] = {}
    waiting = deque(wanted)
    ticks, horizons = found.ticks.tolist(), found.horizons.tolist()
    is_timed = len(found.keys) > 0
    size: tuple[int, int] | None = None
    with opened(path) as (container, stream):
        aspect = stream.sample_aspect_ratio
        # A palette comes with the first packet, so decoding starts there.
        can_seek = found.can_seek and "pal" not in str(stream.codec_context.pix_fmt)
        while waiting:
            key = found.key_before(ticks[waiting[0]]) if can_seek else int(min(ticks[0], 0))
            if can_seek and (made or key != found.keys[0]):
                container.seek(found.entries[key], stream=stream, backward=True)
            horizon = None
            for tick, frame in _shown(container, stream, is_timed):
                if tick < key:
                    continue  # a seek went further back, or a frame shown before the key frame
                if frame.is_corrupt:
                    raise Unreadable("is damaged: a frame cannot be decoded rightly")
                if waiting and tick > ticks[waiting[0]]:
                    return None
                if waiting and tick == ticks[waiting[0]]:
                    place = waiting.popleft()
                    pixels, more = to_pixels(frame, aspect)
                    size = size or pixels.shape[:2]
                    pixels, more = same_size(pixels, size, more)
                    notes += more
                    made[place] = finish(pixels)
                    horizon = horizons[place]
                if horizon is not None and tick >= horizon:
                    if not waiting:
                        break
                    if can_seek and found.key_before(ticks[waiting[0]]) > tick:
                        break  # seeking there is faster
            else:
                if waiting:
                    return None
    return made


def _shown(
    container: av.container.InputContainer, stream: av.VideoStream, is_timed: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames from the next key frame on, each with its tick or its number."""
    number, key = 0, None
    for packet in container.demux(stream):
        if is_timed and key is None:
            if not packet.is_keyframe:
                continue  # earlier frames refer to missing ones
            key = packet.pts
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if key is not None and packet.pts is not None and packet.pts < key:
                continue  # so does a leading picture
            raise
        for frame in frames:
            if not is_timed:
                yield number, frame
            elif frame.pts is not None:
                yield frame.pts, frame
            number += 1


def same_size(
    pixels: Pixels, size: tuple[int, int], notes: list[Note]
) -> tuple[Pixels, list[Note]]:
    """The frame resized to the first one's size, if it has the same aspect ratio.

    Raises:
        Unreadable: the aspect ratio differs.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels, notes
    if abs(Fraction(width, height) / Fraction(size[1], size[0]) - 1) > 0.02:
        raise Unreadable(
            f"changes its shape from {size[1]} x {size[0]} to {width} x {height} pixels. Cut it "
            "there"
        )
    image = Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.array(image), [*notes, RESIZED]
