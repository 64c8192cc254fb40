"""Checks the sample tables of MP4 and QuickTime files before a library allocates memory for them.

libav allocates about 90 bytes per sample, and a table can claim millions of samples in 12 bytes.
"""

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from aid.video.colour import Unreadable

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
MOST_BOXES = 1_000_000
MOST_ENTRIES = 4_000_000
"""Entries that are read of a table, at most."""
SOUND_PER_BYTE = 64
"""Samples of sound per byte: more than in any compression that counts samples one by one."""


@dataclass
class _Track:
    """The facts of one track's tables."""

    is_sound: bool = False
    claims: list[int] = field(default_factory=list)
    is_by_chunk: bool = False
    """Whether libav allocates no entry per sample: sound whose samples all last one tick."""
    chunks: list[tuple[int, int]] = field(default_factory=list)
    num_chunks: int = 0


def check_tables(path: Path) -> None:
    """Refuses an MP4 or QuickTime file whose tables claim more samples than it has bytes.

    Raises:
        Unreadable: it does, or its header is compressed, so its tables cannot be read.
    """
    facts = path.stat()
    claimed = _claimed(path, facts.st_size, facts.st_mtime_ns)
    if claimed < 0:
        raise Unreadable("has a compressed header. Store it anew: ffmpeg -i IN -c copy OUT")
    if claimed > facts.st_size:
        raise Unreadable(
            f"claims {claimed} samples in {facts.st_size} bytes, which is not possible: it is "
            "damaged or made to harm"
        )


@functools.lru_cache(maxsize=1024)
def _claimed(path: Path, size: int, changed: int) -> int:
    """The largest number of samples that a table claims; -1 if the tables are compressed.

    `size` and `changed` (modification time) identify the file in the cache.
    """
    track, fragments = _Track(), 0
    tracks = [track]
    with path.open("rb") as stream:
        if stream.read(8)[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return 0
        for name, start, end in _boxes(stream, size):
            if name == b"cmov":
                return -1
            if name == b"trak":
                track = _Track()
                tracks.append(track)
            elif name == b"hdlr":
                track.is_sound = _read(stream, start + 8, 4) == b"soun"
            elif name in (b"stsz", b"stz2"):
                track.claims.append(_number(stream, start + 8))
            elif name in (b"stts", b"ctts"):
                entries = _entries(stream, start, end, 2)
                track.claims.append(sum(count for count, _ in entries))
                if name == b"stts":
                    track.is_by_chunk = len(entries) == 1 and entries[0][1] == 1
            elif name == b"stsc":
                track.chunks = [entry[:2] for entry in _entries(stream, start, end, 3)]
            elif name in (b"stco", b"co64"):
                track.num_chunks = _number(stream, start + 4)
            elif name == b"trun":
                fragments += _number(stream, start + 4)
    return max(fragments, *map(_claim, tracks))


def _claim(track: _Track) -> int:
    firsts = [first for first, _ in track.chunks[1:]] + [track.num_chunks + 1]
    in_chunks = sum(
        max(0, after - first) * number
        for (first, number), after in zip(track.chunks, firsts, strict=bool(track.chunks))
    )
    if track.is_sound and track.is_by_chunk:
        return in_chunks // SOUND_PER_BYTE
    return max(track.claims, default=0)


def _boxes(stream: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, start and end of the content of every box; containers come before their boxes."""
    waiting = [(0, size)]
    for _ in range(MOST_BOXES):
        while waiting and waiting[-1][0] + 8 > waiting[-1][1]:
            waiting.pop()
        if not waiting:
            return
        start, end = waiting.pop()
        length, name = struct.unpack(">I4s", _read(stream, start, 8).rjust(8, b"\0"))
        content = start + 8
        if length == 1:
            length = int.from_bytes(_read(stream, content, 8), "big")
            content += 8
        after = end if length == 0 else min(start + length, end)
        if after < content:
            return  # damaged: libav raises or reads what it can
        waiting.append((after, end))
        if name in CONTAINERS:
            waiting.append((content, after))
        yield name, content, after


def _read(stream: BinaryIO, at: int, number: int) -> bytes:
    stream.seek(at)
    return stream.read(number)


def _number(stream: BinaryIO, at: int) -> int:
    return int.from_bytes(_read(stream, at, 4), "big")


def _entries(stream: BinaryIO, start: int, end: int, width: int) -> list[tuple[int, ...]]:
    number = min(_number(stream, start + 4), (end - start - 8) // (4 * width), MOST_ENTRIES)
    content = _read(stream, start + 8, 4 * width * max(0, number))
    whole = len(content) // (4 * width) * 4 * width
    return list(struct.iter_unpack(f">{width}I", content[:whole]))
