"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

    record = length (8 bytes) | masked CRC of it (4) | message | masked CRC of it (4)

# Choice: ours. Of the readers without TensorFlow on PyPI, `tfrecord` checks no checksum and
# `tfd-utils` keeps a pickled index beside the data; the others are not kept. The checksum is
# google-crc32c's.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from aid.data.files import inside

MAX_RECORD = 1 << 32
"""Bytes; an episode with four cameras has some hundred megabytes."""


def read_records(folder: Path, name: str, offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """Offset and message of each record of a file from `offset` on, checksums compared.

    Raises:
        ValueError: the file is missing, damaged or breaks off, or google-crc32c is not installed.
    """
    path = inside(folder, name)
    where = repr(str(folder / name))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(offset)
            while head := file.read(12):
                if len(head) < 12:
                    raise ValueError(f"{where} breaks off at byte {offset}.")
                (length,) = struct.unpack("<Q", head[:8])
                _check(head[:8], head[8:], f"{where} is damaged at byte {offset}.")
                if length > min(MAX_RECORD, size - file.tell() - 4):
                    raise ValueError(f"{where} breaks off at byte {offset}.")
                message = file.read(length)
                _check(message, file.read(4), f"{where} is damaged at byte {offset + 12}.")
                yield offset, memoryview(message)
                offset = file.tell()
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror}).") from None


def _check(content: bytes, told: bytes, sentence: str) -> None:
    """Compares a masked CRC-32C: rotated right by 15 bits, plus a constant."""
    try:
        import google_crc32c
    except ImportError:
        raise ValueError(
            "this data set keeps its videos in TFRecord files. Install what checks them: "
            "pip install 'aid-video[data]'"
        ) from None
    crc = google_crc32c.value(content)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    if told != struct.pack("<I", masked):
        raise ValueError(f"{sentence} Fetch the file again.")


def parse_example(message: memoryview, where: str) -> dict[str, list[bytes] | list[int]]:
    """The features of a `tf.train.Example` that are bytes or integers, by name.

    Raises:
        ValueError: it is no such message.
    """
    found: dict[str, list[bytes] | list[int]] = {}
    try:
        for number, features in _fields(message):
            if number != 1:
                continue
            for entry_number, entry in _fields(features):
                if entry_number == 1:
                    parts = dict(_fields(entry))
                    kinds = list(_fields(parts.get(2, memoryview(b""))))
                    for kind, values in kinds:
                        if kind == 1:  # BytesList
                            found[str(parts[1], "utf-8")] = [bytes(v) for _, v in _fields(values)]
                        elif kind == 3:  # Int64List, packed or not
                            found[str(parts[1], "utf-8")] = _integers(values)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"{where} is no tf.train.Example ({error}).") from None
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field of a protobuf message; IndexError where it breaks off."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise IndexError(f"wire type {wire} at byte {at}")
        if length > len(message) - at:
            raise IndexError(f"a field of {length} bytes at byte {at}")
        yield number, message[at : at + length]
        at += length


def _integers(values: memoryview) -> list[int]:
    integers: list[int] = []
    for _, value in _fields(values):
        if isinstance(value, int):
            integers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            integers.append(number)
    return [n - (1 << 64) if n >> 63 else n for n in integers]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A base-128 integer and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError(f"an integer without end at byte {at}")
