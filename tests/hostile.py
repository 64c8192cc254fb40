"""Files that a careless server would choke on, small to send and large or forbidden inside."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from aid.video import write_mp4


def png(width, height, extra=b"", data=b""):
    """A PNG whose header says any size; the pixels may be missing."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def text_bomb():
    """A PNG of 8 pixels with a comment that unpacks to 200 MB."""
    body = b"Comment\x00\x00" + zlib.compress(bytes(200_000_000), 1)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body
    return png(8, 1, chunk + struct.pack(">I", zlib.crc32(b"zTXt" + body)))


def jpeg(width, height):
    """A true JPEG whose header was changed to another size."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def video(path, size, num_frames=3, fps=4.0):
    """A true mp4 of grey frames."""
    write_mp4(path, np.full((num_frames, size, size, 3), 120, np.uint8), fps)
    return path.read_bytes()


def lying_video(path, size, said):
    """An mp4 whose container says a smaller size than the stream inside has."""
    content = bytearray(video(path, size))
    at = content.index(b"avc1", content.index(b"stsd"))
    content[at + 28 : at + 32] = struct.pack(">HH", said, said)
    return bytes(content)


def gif(width, height):
    """A GIF with a huge screen and one pixel."""
    screen = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00\x00\x00\x00\xff\xff\xff"
    image = b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02D\x01\x00;"
    return screen + image


def endless_tables(path, samples=40_000_000):
    """An mp4 of some kilobytes whose tables claim 40 million samples."""
    content = bytearray(video(path, 64))

    def write(box, at, *numbers):
        at += content.index(box) + 8  # behind its name, version and flags
        content[at : at + 4 * len(numbers)] = struct.pack(f">{len(numbers)}I", *numbers)

    write(b"stts", 0, 1, samples, 1)
    write(b"stsz", 0, 1, samples)
    write(b"stsc", 0, 1, 1, samples, 1)
    return bytes(content)


def endless_fragment(path, samples=40_000_000):
    """An mp4 with a fragment that claims 40 million samples in 8 bytes."""

    def box(name, *parts):
        body = b"".join(parts)
        return struct.pack(">I", 8 + len(body)) + name + body

    head = box(b"tfhd", struct.pack(">III", 0x020000 | 0x10 | 0x8, 1, 512), struct.pack(">I", 1))
    run = box(b"trun", struct.pack(">II", 0, samples))
    number = box(b"mfhd", struct.pack(">II", 0, 1))
    return video(path, 64) + box(b"moof", number, box(b"traf", head, run))


def repeated_scans(times=30_000, size=1500):
    """A progressive JPEG with its last scan repeated."""
    stream = io.BytesIO()
    pixels = np.linspace(0, 255, size * size * 3).reshape(size, size, 3).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", progressive=True, quality=50)
    content = stream.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * times + content[-2:]


def many_texts(number=300_000):
    """A PNG of a few pixels with a text chunk after another."""
    body = b"tEXt" + b"k\x00v"
    chunk = struct.pack(">I", 3) + body + struct.pack(">I", zlib.crc32(body))
    return png(8, 8, chunk * number, zlib.compress(bytes(8 * 25)))


def many_pictures(number=1_000_000):
    """A GIF of 64 pixels with more frames than anybody looks at."""
    content = gif(8, 8)
    picture = content[content.index(b",") : -1]
    return content[:-1] + picture * number + b";"


def endless_animation(number=2**31 - 1):
    """A PNG that says it has two billion frames."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    head = chunk(b"acTL", struct.pack(">II", number, 0)) + control
    return png(8, 8, head, zlib.compress(bytes(8 * 25)))


def endless_webp(number=200_000, size=2000):
    """A WebP with a large canvas and small frames, more than anybody looks at."""
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "WEBP", lossless=True)
    picture = stream.getvalue()[12:]

    def chunk(name, body):
        return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)

    def number_of_3_bytes(value):
        return struct.pack("<I", value)[:3]

    side, zero = number_of_3_bytes(size - 1), number_of_3_bytes(0)
    one = number_of_3_bytes(1)
    frame = chunk(b"ANMF", zero + zero + one + one + number_of_3_bytes(40) + b"\x02" + picture)
    head = chunk(b"VP8X", b"\x02" + bytes(3) + side + side)
    body = b"WEBP" + head + chunk(b"ANIM", bytes(6)) + frame * number
    return b"RIFF" + struct.pack("<I", len(body)) + body


FORBIDDEN = {
    "page.png": b"<html><script>alert(1)</script></html>",
    "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "list.mp4": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
    "list.avi": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "empty.png": b"",
    "archive.png": b"PK\x03\x04" + bytes(100),
    "photo.tif": b"II*\x00\x08\x00\x00\x00" + bytes(100),
    "print.png": b"%!PS-Adobe-3.0\n(/etc/passwd) run\n",
}
"""Neither image nor video by content, whatever the name says."""
