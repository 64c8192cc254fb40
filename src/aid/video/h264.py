"""Detects lost packets of H.264 by its frame numbers.

Decoders fill such a gap with copies of the previous frame, so that all frames up to the next key
frame are corrupted, without an error. Names are those of ITU-T H.264, chapter 7.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import av

WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
SLICE, IDR_SLICE, SPS = 1, 5, 7


@dataclass(frozen=True)
class _Numbering:
    """The facts about frame numbers in a sequence parameter set."""

    num_bits: int
    has_planes: bool
    may_have_gaps: bool


class FrameNumbers:
    """Compares the numbers of successive packets; for other codecs it never finds a gap.

    Args:
        codec: of the stream.
    """

    def __init__(self, codec: av.VideoCodecContext) -> None:
        self._is_h264 = codec.codec.name == "h264"
        self._before: int | None = None
        self._numbering: _Numbering | None = None
        head = bytes(codec.extradata or b"")
        self._prefix = 0
        if self._is_h264 and head[:1] == b"\x01" and len(head) > 6:  # as in MP4 and Matroska
            self._prefix = (head[4] & 3) + 1
            if head[5] & 31:
                self._learn(head[8:])
        elif self._is_h264:
            for unit in self._units(head):
                if unit[0] & 31 == SPS:
                    self._learn(unit)

    def jump(self, packet: av.Packet) -> bool:
        """Whether frames are missing between the previous packet and this one."""
        if not self._is_h264:
            return False
        for unit in self._units(bytes(packet)):
            kind = unit[0] & 31
            if kind == SPS:
                self._learn(unit)
            if kind in (SLICE, IDR_SLICE):
                return self._follow(unit, kind == IDR_SLICE)
        return False

    def _follow(self, unit: bytes, is_idr: bool) -> bool:
        if self._numbering is None:
            return False
        bits = _Bits(unit[1:40])
        try:
            for _ in range(3):  # first_mb_in_slice, slice_type, pic_parameter_set_id
                bits.golomb()
            bits.skip(2 * self._numbering.has_planes)
            number = bits.take(self._numbering.num_bits)
        except IndexError:
            return False  # too short for a slice; the decoder raises
        before, most = self._before, 1 << self._numbering.num_bits
        is_reference = unit[0] >> 5 & 3
        if is_reference or before is None:
            self._before = number
        if is_idr or before is None or self._numbering.may_have_gaps:
            return False
        return number not in (before, (before + 1) % most)

    def _learn(self, unit: bytes) -> None:
        try:
            self._numbering = _numbering(_Bits(unit[1:]))
        except IndexError:
            self._numbering = None

    def _units(self, data: bytes) -> Iterator[bytes]:
        """The NAL units of a packet: with a length before each, or between start codes."""
        if self._prefix:
            at = 0
            while at + self._prefix < len(data):
                length = int.from_bytes(data[at : at + self._prefix], "big")
                at += self._prefix
                if length:
                    yield data[at : at + length]
                at += length
            return
        at = data.find(b"\0\0\1")
        while at >= 0:
            after = data.find(b"\0\0\1", at + 3)
            if unit := data[at + 3 : after if after >= 0 else None]:
                yield unit
            at = after


def _numbering(bits: "_Bits") -> _Numbering:
    """Reads seq_parameter_set_data up to the frame numbers."""
    profile = bits.take(8)
    bits.skip(16)
    bits.golomb()
    has_planes = False
    if profile in WITH_CHROMA:
        chroma = bits.golomb()
        has_planes = chroma == 3 and bool(bits.take(1))
        bits.golomb(), bits.golomb()
        bits.skip(1)
        if bits.take(1):
            for place in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    num_bits = bits.golomb() + 4
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.skip(1)
        bits.golomb(), bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    return _Numbering(num_bits, has_planes, may_have_gaps=bool(bits.take(1)))


def _skip_scaling_list(bits: "_Bits", size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.golomb()
            following = (last + (-(code // 2) if code % 2 == 0 else (code + 1) // 2)) % 256
        last = following or last


class _Bits:
    """Bits of a NAL unit; IndexError where there are no more."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")  # emulation prevention
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, number: int) -> int:
        if self._at + number > len(self._bits):
            raise IndexError
        self._at += number
        return int(self._bits[self._at - number : self._at] or "0", 2)

    def skip(self, number: int) -> None:
        self._at += number

    def golomb(self) -> int:
        end = self._bits.find("1", self._at)
        if end < 0 or end - self._at > 32:
            raise IndexError
        zeros, self._at = end - self._at, end + 1
        return (1 << zeros) - 1 + self.take(zeros)
