"""The timeline of a file, from its packets: times of frames, and which can be decoded correctly.

A file may begin in the middle of a group of pictures, or have lost packets. The frames from there
to the next key frame refer to missing pictures, and most decoders return them corrupted without an
error. Such frames are left out, with a note.
"""

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from jaxtyping import Float, Int

from aid.video.colour import Unreadable, check_size
from aid.video.h264 import FrameNumbers
from aid.video.notes import Note
from aid.video.tables import check_tables

OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,ogg,flv,asf,h264,hevc,ivf,"
    "yuv4mpegpipe,m4v,obu",
}
"""Demuxers of single files; those that open other files or addresses (playlists) are excluded."""
TOLERANCE = 1e-3
"""Seconds by which a span's ends may differ from its frames' times (rounded in tables)."""
NO_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
PICTURE_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
"""Codecs of a cover picture, if there is another stream and the file does not mark it."""

BEGINS_LATE = Note(
    "frames at the beginning are left out: the video begins in the middle of a group of pictures"
)
LOST = Note(
    "frames are left out that cannot be decoded rightly, because packets before them are lost or "
    "damaged"
)
SEVERAL_STREAMS = Note("of several video streams the main one is read")


@dataclass(frozen=True)
class Timeline:
    """When each frame of a file is shown, in order, and where decoding may begin.

    `ticks`, `keys` and `horizons` are in the stream's own unit. Frame i is complete once the
    decoder has returned `horizons[i]`: it may refer to frames that are shown later. Without `keys`
    the ticks are numbers of frames, and decoding starts at the first.
    """

    ticks: Int[np.ndarray, " n"]
    seconds: Float[np.ndarray, " n"]
    """After the file's first frame."""
    keys: Int[np.ndarray, " m"]
    horizons: Int[np.ndarray, " n"]
    last: float
    """Seconds that the last frame is shown."""
    notes: tuple[Note, ...] = ()
    entries: dict[int, int] = field(default_factory=dict)
    """Where to seek for each key frame: MPEG streams are searched by decoding time."""
    can_seek: bool = False
    is_whole: bool = True
    """Whether no frame was left out because of lost packets."""

    def span(self, start: float, stop: float | None) -> Int[np.ndarray, " k"]:
        """The indices of the frames from `start` to `stop` seconds, `stop` excluded."""
        end = np.inf if stop is None else stop - TOLERANCE
        return np.flatnonzero((self.seconds >= start - TOLERANCE) & (self.seconds < end))

    def key_before(self, tick: int) -> int:
        """The key frame from which `tick` can be decoded."""
        place = np.searchsorted(self.keys, tick, side="right") - 1
        return int(self.keys[max(0, place)])


@contextmanager
def opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """A file and its main video stream, decoded by one thread: files are read in parallel.

    Raises:
        Unreadable: there is no video stream, its frames are too large, or its tables claim more
            than the file holds.
    """
    check_tables(path)
    with av.open(str(path), container_options=OPTIONS) as container:
        stream, _ = main_stream(container)
        check_size(stream.codec_context.width, stream.codec_context.height)
        yield container, stream


def main_stream(container: av.container.InputContainer) -> tuple[av.VideoStream, list[Note]]:
    """The stream that players show: not a cover picture; of several, the default or the largest.

    Raises:
        Unreadable: there is none.
    """
    streams = [one for one in container.streams.video if not one.disposition & NO_PICTURES]
    streams = [one for one in streams if one.codec_context is not None]
    if not streams:
        raise Unreadable("holds no video stream that can be decoded")
    for one in streams:
        one.codec_context.thread_count = 1
    chosen = max(
        streams,
        key=lambda one: (
            one.codec_context.codec.name not in PICTURE_CODECS,
            bool(one.disposition & Disposition.default),
            one.codec_context.width * one.codec_context.height,
            -one.index,
        ),
    )
    if "alpha_mode" in chosen.metadata:
        raise Unreadable(
            "has a layer of transparency (alpha) beside its pictures, which is not read. Flatten "
            "it: ffmpeg -c:v libvpx-vp9 -i IN -pix_fmt yuv420p OUT"
        )
    return chosen, [SEVERAL_STREAMS] if len(streams) > 1 else []


def timeline(path: Path) -> Timeline:
    """The timeline of a file, cached, because a file of many episodes is read once for each.

    Raises:
        Unreadable: it holds no frame, is incomplete, or nothing of it can be decoded.
    """
    facts = path.stat()
    return _timeline(path, facts.st_size, facts.st_mtime_ns)


def count_frames(path: Path) -> int:
    """The number of frames of a file; 0 if nothing of it can be decoded."""
    try:
        return len(timeline(path).ticks)
    except (Unreadable, av.FFmpegError, OSError):
        return 0


@functools.lru_cache(maxsize=64)
def _timeline(path: Path, size: int, changed: int) -> Timeline:
    """`size` and `changed` (modification time) identify the file in the cache."""
    with opened(path) as (container, stream):
        notes = main_stream(container)[1]
        numbers = FrameNumbers(stream.codec_context)
        packets: list[_Packet] = []
        end, is_timed, is_corrupt, is_any_lost = 0.0, True, False, False
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream or not packet.size:
                continue
            is_corrupt = packet.is_corrupt
            is_lost = numbers.jump(packet) or is_corrupt
            is_any_lost = is_any_lost or is_lost
            is_timed = is_timed and packet.pts is not None
            packets.append(_Packet(packet, is_lost))
        if is_corrupt:  # at the end: the file is incomplete; elsewhere: loss
            raise Unreadable("breaks off")
        if not packets:
            raise Unreadable("holds no frame")
        promised = container.duration / av.time_base if container.duration else 0.0
        first = (container.start_time or 0) / av.time_base
        # Matroska's duration is the end of the last frame, MP4's is relative to the first.
        if end and end < promised - max(0.5, 0.05 * promised):
            raise Unreadable(
                f"breaks off: it promises {promised:.2f} s, {max(0.0, end - first):.2f} s are there"
            )
        per_second = float(1 / stream.time_base) if stream.time_base else 0.0
        promised_frames = stream.frames
        is_mpeg = container.format.name in ("mpegts", "mpeg")
    ticks = [one.tick for one in packets]
    has_keys = any(one.is_key for one in packets)
    if not is_timed or not has_keys or per_second <= 0 or len(set(ticks)) != len(ticks):
        if is_any_lost:  # the damaged frames cannot be determined without times
            raise Unreadable("is damaged: some of its packets are lost")
        found = counted(path, promised_frames, notes)
        num_late = len(packets) - len(found.ticks)
        if num_late > 0 and has_keys and not packets[0].is_key:
            late = replace(BEGINS_LATE, number=num_late)
            found = replace(found, notes=(*found.notes, late))
        return found
    return _from_packets(path, packets, per_second, is_mpeg, notes)


class _Packet:
    """The facts of a packet: when it is shown, and whether decoding may begin with it."""

    __slots__ = ("duration", "is_discard", "is_key", "is_lost", "start", "tick")

    def __init__(self, packet: av.Packet, is_lost: bool) -> None:
        self.tick, self.duration = packet.pts, packet.duration or 0
        self.is_key = packet.is_keyframe and not packet.is_corrupt
        self.is_discard, self.is_lost = packet.is_discard, is_lost
        self.start = packet.pts if packet.dts is None else packet.dts


def _from_packets(
    path: Path, packets: list[_Packet], per_second: float, is_mpeg: bool, notes: list[Note]
) -> Timeline:
    """The timeline of packets, which are in decoding order."""
    since: int | None = None  # the key frame since which nothing is missing
    latest = 0
    clean: list[tuple[int, int]] = []
    leading = _leading(path, packets)
    missing: list[int] = []
    for packet in packets:
        if packet.is_lost:
            since = None
        if packet.is_key and since is None:
            since = packet.tick
            latest = since if not clean else max(latest, since)
        is_clean = since is not None and packet.tick >= since
        if is_clean:
            latest = max(latest, packet.tick)
        if packet.is_discard:
            continue
        if is_clean or packet.tick in leading:
            clean.append((packet.tick, latest))
        else:
            missing.append(packet.tick)
    shown = [packet for packet in packets if not packet.is_discard]
    if not clean:
        raise Unreadable("holds no frame that can be decoded rightly")
    first, final = min(p.tick for p in shown), max(shown, key=lambda p: p.tick)
    ticks, horizons = (np.array(side) for side in zip(*sorted(clean), strict=True))
    seconds = (ticks - first) / per_second
    usual = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
    # Some containers have no durations, some those of fields.
    listed = float(np.median([packet.duration for packet in shown])) / per_second
    are_durations_known = listed > 0 and (not usual or abs(listed / usual - 1) < 0.1)
    notes = [*notes]
    clean_first = min(tick for tick, _ in clean)
    num_late = sum(tick < clean_first for tick in missing)
    num_lost = len(missing) - num_late
    notes += [replace(BEGINS_LATE, number=num_late)] if num_late else []
    notes += [replace(LOST, number=num_lost)] if num_lost else []
    return Timeline(
        ticks=ticks,
        seconds=seconds,
        keys=np.sort(np.array([packet.tick for packet in packets if packet.is_key])),
        horizons=horizons,
        last=final.duration / per_second if are_durations_known else usual,
        notes=tuple(notes),
        entries={p.tick: p.start if is_mpeg else p.tick for p in packets if p.is_key},
        can_seek=True,
        is_whole=not num_lost,
    )


def _leading(path: Path, packets: list[_Packet]) -> set[int]:
    """Frames that are shown before the file's first key frame and can be decoded.

    They may refer to it alone, or also to frames before it that were cut off; only the decoder can
    tell.
    """
    key = packets[0].tick
    leading = {packet.tick for packet in packets if packet.tick < key}
    if not packets[0].is_key or not leading:
        return set()
    seen = set()
    with opened(path) as (container, stream):
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= key:
                break
            if not frame.is_corrupt:
                seen.add(frame.pts)
    return leading & seen


def counted(path: Path, promised: int, notes: Iterable[Note] = ()) -> Timeline:
    """A timeline by decoding all frames, for files whose packets have no times.

    Raises:
        Unreadable: many of the promised frames cannot be decoded.
    """
    with opened(path) as (container, stream):
        times = [frame.time for frame in container.decode(stream)]
        rate = float(stream.average_rate or stream.guessed_rate or 0) or 25.0
    number = len(times)
    if not number or number < 0.9 * promised:
        raise Unreadable(f"is damaged: {number} of {promised} frames can be decoded")
    seconds = np.arange(number) / rate
    if None not in times and np.all(np.diff(times) > 0):
        seconds = np.array(times) - times[0]
    return Timeline(
        ticks=np.arange(number),
        seconds=seconds,
        keys=np.array([], dtype=int),
        horizons=np.arange(number),
        last=float(np.median(np.diff(seconds))) if number > 1 else 1 / rate,
        notes=tuple(notes),
    )
