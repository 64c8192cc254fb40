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
