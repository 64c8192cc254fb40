"""Converts a decoded frame to upright 8-bit RGB with square pixels.

The colour matrix and range are those of the file; an unspecified matrix is read as BT.601, as in
ffmpeg. High dynamic range is tone-mapped. Transparency is composited over white.
"""

import functools
import threading
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from jaxtyping import Float, UInt8, UInt16
from PIL import Image

from aid.video.notes import Note

Pixels = UInt8[np.ndarray, "_ _ 3"]

MAX_PIXELS = 1 << 26
"""Of one frame, twice 8K: a file of a few bytes can claim any size."""

HDR = Note("high dynamic range (PQ or HLG) is tone-mapped to the standard range")
WIDE = Note("colours of a wide gamut (BT.2020 or P3) are kept as they are, so they look paler")
ALPHA = Note("transparent pixels are shown over white")
INTERLACED = Note("interlaced frames are kept as they are, both fields in one picture")

# Numbers of ITU-T H.273, which every container uses.
UNSPECIFIED = 2
MATRICES = {
    0: "gbr", 1: "bt709", UNSPECIFIED: "unknown", 3: "unknown", 4: "fcc", 5: "bt470bg",
    6: "smpte170m", 7: "smpte240m", 9: "bt2020nc",
}  # fmt: skip
"""ffmpeg's names of the supported matrices."""
PQ, HLG = 16, 18
UNREADABLE_TRANSFERS = {8: "linear light", 9: "logarithmic", 10: "logarithmic", 17: "SMPTE 428"}
BT709, BT2020, P3 = 1, 9, 12
WIDE_GAMUTS = {BT2020, 11, P3}

# Linear RGB of these primaries to linear RGB of BT.709, all with the white point D65.
TO_BT709 = {
    BT709: np.eye(3),
    BT2020: np.array(
        [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    ),
    P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
}
WHITE = 203.0
"""cd/m2 of white in a high dynamic range (ITU-R BT.2408), which becomes white here."""
KNEE = 0.8
"""As a share of white: light below it is kept, light above it is compressed."""
GAMMA = 2.4
"""Of a display for the standard range (ITU-R BT.1886)."""


class Unreadable(ValueError):
    """The reason why a file is refused, without its name: "has ...", "is ..."."""


def to_pixels(frame: av.VideoFrame, aspect: Fraction | None) -> tuple[Pixels, list[Note]]:
    """The frame as upright RGB with square pixels, and notes.

    Args:
        frame: as decoded.
        aspect: width over height of a stored pixel; None or 0 if the file does not give it.

    Raises:
        Unreadable: the frame is too large, or its colours or orientation are not supported.
    """
    check_size(frame.width, frame.height)
    notes: list[Note] = []
    pixels = _rgb(frame, notes)
    if frame.interlaced_frame:
        notes.append(INTERLACED)
    height, width = pixels.shape[:2]
    if (wide := square_width(width, aspect)) != width:
        check_size(wide, height)
        pixels = np.array(Image.fromarray(pixels).resize((wide, height), Image.Resampling.BICUBIC))
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return (pixels if matrix is None else oriented(pixels, bytes(matrix))), notes


def square_width(width: int, aspect: Fraction | None) -> int:
    """The width of a frame once its pixels are square; the height stays."""
    return max(1, round(width * aspect)) if aspect and aspect > 0 else width


def check_size(width: int, height: int) -> None:
    """Refuses frames larger than `MAX_PIXELS`.

    Raises:
        Unreadable: the frame is larger.
    """
    if width * height > MAX_PIXELS:
        raise Unreadable(
            f"claims frames of {width} x {height} pixels, more than are read. Make it smaller"
        )


def oriented(pixels: Pixels, matrix: bytes) -> Pixels:
    """The pixels rotated and mirrored by a display matrix.

    Args:
        pixels: as stored.
        matrix: nine 32-bit integers, as in MP4 and ffmpeg.

    Raises:
        Unreadable: the angle is not a multiple of 90 degrees.
    """
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].astype(float)
    size = max(map(abs, (a, b, c, d)))
    if not size:
        return pixels  # the matrix is empty
    is_straight = max(abs(b), abs(c)) < 0.02 * size and min(abs(a), abs(d)) > 0
    is_turned = max(abs(a), abs(d)) < 0.02 * size and min(abs(b), abs(c)) > 0
    if not is_straight and not is_turned:
        raise Unreadable(
            "is shown turned by an angle that is no multiple of 90 degrees. Turn its pixels: "
            "ffmpeg -i IN OUT"
        )
    if is_turned:  # x is shown along y and y along x
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def over_white(pixels: UInt8[np.ndarray, "*_ 4"]) -> UInt8[np.ndarray, "*_ 3"]:
    """RGBA with straight alpha, composited over white."""
    alpha = pixels[..., 3:].astype(np.uint16)
    colour = pixels[..., :3].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _rgb(frame: av.VideoFrame, notes: list[Note]) -> Pixels:
    kind, transfer, primaries = frame.format, frame.color_trc, frame.color_primaries
    is_colour = len(kind.components) > 2 and not kind.is_rgb
    if is_colour and frame.colorspace not in MATRICES:
        raise Unreadable(
            f"has a colour matrix that is not read here (number {frame.colorspace} of H.273). "
            "Convert it: ffmpeg -i IN -vf colorspace=all=bt709 OUT"
        )
    if transfer in UNREADABLE_TRANSFERS:
        raise Unreadable(
            f"has {UNREADABLE_TRANSFERS[transfer]} values, which are not read here. "
            "Convert it to BT.709"
        )
    if Type.DOVI_METADATA in frame.side_data and transfer == UNSPECIFIED:
        raise Unreadable(
            "is Dolby Vision without a layer that other decoders can show. Convert it to BT.709"
        )
    if transfer in (PQ, HLG):
        notes.append(HDR)
        # ffmpeg would read an unspecified matrix as BT.601, which no such file has.
        matrix = "bt2020nc" if is_colour and frame.colorspace == UNSPECIFIED else None
        deep = _converted(frame, "rgb48le", matrix)
        return tone_mapped(deep, transfer, BT2020 if primaries == UNSPECIFIED else primaries)
    if primaries in WIDE_GAMUTS:
        notes.append(WIDE)
    if kind.has_palette or any(part.is_alpha for part in kind.components):
        pixels = _converted(frame, "rgba")
        if pixels[..., 3].min() < 255:
            notes.append(ALPHA)
            return over_white(pixels)
        return np.ascontiguousarray(pixels[..., :3])
    return _converted(frame, "rgb24")


def _converted(frame: av.VideoFrame, kind: str, matrix: str | None = None) -> np.ndarray:
    """The frame in another pixel format, bit for bit as the ffmpeg command converts it.

    `VideoFrame.reformat` places chroma in another way than the filter, so colour edges differ.
    """
    matrix = matrix or MATRICES.get(frame.colorspace, "unknown")
    span = {1: "tv", 2: "pc"}.get(frame.color_range, "unknown")
    size = f"{frame.width}x{frame.height}:pix_fmt={frame.format.name}"
    source = f"video_size={size}:colorspace={matrix}:range={span}"
    graph = _graph(source, kind, threading.get_ident())
    graph.push(frame)
    return graph.pull().to_ndarray()


@functools.lru_cache(maxsize=64)
def _graph(source: str, kind: str, thread: int) -> Graph:
    """The filters of ffmpeg from one pixel format to another; each thread has its own."""
    graph = Graph()
    if hasattr(graph, "threads"):  # since PyAV 18; files are decoded in parallel
        graph.threads = 1
    graph.link_nodes(
        graph.add("buffer", f"{source}:time_base=1/1000"),
        graph.add("scale", "flags=bicubic"),
        graph.add("format", f"pix_fmts={kind}"),
        graph.add("buffersink"),
    ).configure()
    return graph


def tone_mapped(
    deep: UInt16[np.ndarray, "H W 3"], transfer: int, primaries: int
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture of high dynamic range in the standard range: BT.709 for a BT.1886 display.

    Light up to `KNEE` of white is kept; brighter light is compressed smoothly, with its hue.

    Args:
        deep: the signal, full range.
        transfer: `PQ` or `HLG`.
        primaries: number in H.273.

    Raises:
        Unreadable: the primaries are not supported.
    """
    if primaries not in TO_BT709:
        raise Unreadable(
            f"has a high dynamic range and colour primaries that are not read here (number "
            f"{primaries} of H.273). Convert it to BT.709"
        )
    light = _light_of(transfer)[deep]
    if transfer == HLG:  # scene light -> light of a display of 1000 cd/m2
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= 1000.0 / WHITE * np.maximum(luminance, 1e-9)[..., None] ** 0.2
    light = np.maximum(light @ TO_BT709[primaries].T.astype(np.float32), 0.0)
    most = np.maximum(light.max(-1, keepdims=True), 1e-9)
    over = np.maximum(most - KNEE, 0.0)
    shown = np.where(most > KNEE, KNEE + (1 - KNEE) * over / (over + 1 - KNEE), most)
    signal = (light * (shown / most)).clip(0.0, 1.0) ** (1 / GAMMA)
    return (255 * signal + 0.5).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _light_of(transfer: int) -> Float[np.ndarray, "65536"]:
    """Linear light of every signal: for PQ in units of white, for HLG scene light in [0, 1]."""
    signal = np.linspace(0.0, 1.0, 65536)
    if transfer == HLG:  # ITU-R BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    else:  # SMPTE ST 2084
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = signal ** (1 / m2)
        light = 10000 / WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light.astype(np.float32)
