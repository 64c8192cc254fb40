"""Orientation, pixel aspect and colours: right values from the standards, or made with PyAV."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from aid.video import colour
from aid.video.colour import Unreadable, oriented, over_white, square_width, to_pixels, tone_mapped

ONE = 1 << 16
PATCHES = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 60)], float)


def matrix(a, b, c, d):
    values = np.array([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30], np.int32)
    return values.tobytes()


CORNERS = np.array([[[1] * 3, [2] * 3, [3] * 3], [[4] * 3, [5] * 3, [6] * 3]], np.uint8)
SHOWN = {  # by ffmpeg's transpose, hflip and vflip
    (1, 0, 0, 1): [[1, 2, 3], [4, 5, 6]],
    (0, 1, -1, 0): [[4, 1], [5, 2], [6, 3]],  # 90 degrees clockwise
    (-1, 0, 0, -1): [[6, 5, 4], [3, 2, 1]],
    (0, -1, 1, 0): [[3, 6], [2, 5], [1, 4]],
    (-1, 0, 0, 1): [[3, 2, 1], [6, 5, 4]],  # mirrored
    (1, 0, 0, -1): [[4, 5, 6], [1, 2, 3]],
    (0, 1, 1, 0): [[1, 4], [2, 5], [3, 6]],
    (0, -1, -1, 0): [[6, 3], [5, 2], [4, 1]],
}


@pytest.mark.parametrize("values", SHOWN)
def test_all_eight_orientations_are_applied(values):
    assert oriented(CORNERS, matrix(*values))[..., 0].tolist() == SHOWN[values]


def test_a_picture_turned_by_another_angle_is_refused():
    with pytest.raises(Unreadable, match="no multiple of 90 degrees"):
        oriented(CORNERS, matrix(0.7, 0.7, -0.7, 0.7))
    assert oriented(CORNERS, bytes(36)) is CORNERS, "a matrix of nothing says nothing"


def test_pixels_become_square_by_their_width():
    frame = av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8), format="rgb24")
    assert to_pixels(frame, Fraction(64, 45))[0].shape == (64, 137, 3)
    assert to_pixels(frame, Fraction(1, 2))[0].shape == (64, 48, 3)
    assert [square_width(96, aspect) for aspect in (None, Fraction(0), Fraction(1))] == [96] * 3
    with pytest.raises(Unreadable, match="claims frames of"):
        to_pixels(frame, Fraction(10**7))


def coded(kr, kb, is_full, bits=8):
    """The patches as Y'CbCr of a matrix and range, `yuv444p`."""
    r, g, b = PATCHES.T / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    scale = 1 << (bits - 8)
    if is_full:
        most = (1 << bits) - 1
        planes = y * most, cb * most + 128 * scale, cr * most + 128 * scale
    else:
        planes = (16 + 219 * y) * scale, (128 + 224 * cb) * scale, (128 + 224 * cr) * scale
    return [
        p.round().clip(0, (1 << bits) - 1).astype(np.uint16 if bits > 8 else np.uint8)
        for p in planes
    ]


def yuv_frame(planes, kind):
    frame = av.VideoFrame(32, 16, kind)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, :32] = np.repeat(values, 8)
        plane.update(rows.tobytes())
    return frame


MATRICES = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
    7: (0.212, 0.087),
}


@pytest.mark.parametrize("number", MATRICES)
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours_follow_the_matrix_and_range_that_the_file_names(number, is_full, bits):
    frame = yuv_frame(
        coded(*MATRICES[number], is_full, bits), "yuv444p" if bits == 8 else "yuv444p10le"
    )
    frame.colorspace, frame.color_range = number, 2 if is_full else 1
    pixels, notes = to_pixels(frame, None)
    assert np.abs(pixels[8, 4::8].astype(int) - PATCHES).max() <= 4
    assert notes == []


def test_an_unnamed_matrix_is_bt601_and_an_unnamed_range_limited():
    pixels, _ = to_pixels(yuv_frame(coded(0.299, 0.114, is_full=False), "yuv444p"), None)
    assert np.abs(pixels[8, 4::8].astype(int) - PATCHES).max() <= 4


@pytest.mark.parametrize("number", [8, 10, 14])  # YCgCo, BT.2020 constant luminance, ICtCp
def test_a_matrix_that_is_not_read_is_refused_not_guessed(number):
    frame = yuv_frame(coded(0.299, 0.114, is_full=False), "yuv444p")
    frame.colorspace = number
    with pytest.raises(Unreadable, match=f"colour matrix .*number {number}"):
        to_pixels(frame, None)


def test_threads_convert_side_by_side():
    from concurrent.futures import ThreadPoolExecutor

    def one(level):
        frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), level, np.uint8), format="rgb24")
        return int(to_pixels(frame.reformat(format="yuv444p"), None)[0].mean())

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(one, list(range(0, 250, 5)) * 4))
    assert np.abs(np.array(made) - list(range(0, 250, 5)) * 4).max() <= 2


def test_transparency_is_composited_over_white():
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    assert over_white(pixels).tolist() == [[[10, 20, 30], [255] * 3, [127] * 3]]
    frame = av.VideoFrame.from_ndarray(np.tile(pixels, (8, 8, 1)), format="rgba")
    seen, notes = to_pixels(frame, None)
    assert seen[0, :3].tolist() == over_white(pixels)[0].tolist()
    assert notes == [colour.ALPHA]


def hlg_of(grey):
    """BT.2100: grey of the standard range, whose white is 203 cd/m2, as an HLG signal."""
    light = (203 / 1000) ** (1 / 1.2) * (grey / 255) ** (2.4 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), bright)


def pq_of(light):
    """SMPTE ST 2084: cd/m2 as a PQ signal."""
    power = (np.asarray(light) / 10000) ** (2610 / 16384)
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    return ((c1 + c2 * power) / (1 + c3 * power)) ** (2523 / 4096 * 128)


def deep(signal):
    values = (np.asarray(signal) * 65535).round().astype(np.uint16)
    return np.repeat(values[None, :, None], 3, -1)


def test_high_dynamic_range_keeps_greys_and_compresses_highlights():
    grey = np.arange(0, 256, 15)
    for signal, transfer in (
        (hlg_of(grey), colour.HLG),
        (pq_of(203 * (grey / 255) ** 2.4), colour.PQ),
    ):
        seen = tone_mapped(deep(signal), transfer, colour.BT2020)[0, :, 0].astype(int)
        assert np.abs(seen - grey)[:-2].max() <= 1
        assert seen[-1] == 244, "white leaves room for what is brighter"
    bright = tone_mapped(deep(pq_of([203, 400, 1000, 4000])), colour.PQ, colour.BT2020)[0, :, 0]
    assert np.all(np.diff(bright.astype(int)) >= 1)
    assert bright[-1] >= 254


def test_wide_colours_of_high_dynamic_range_become_bt709():
    red = np.array([[[1.0, 0, 0]]]) @ np.linalg.inv(colour.TO_BT709[colour.BT2020]).T  # of BT.709
    signal = (pq_of(100 * red.clip(0)) * 65535).round().astype(np.uint16)
    seen = tone_mapped(signal, colour.PQ, colour.BT2020)[0, 0].astype(int)
    assert np.abs(seen - [round(255 * (100 / 203) ** (1 / 2.4)), 0, 0]).max() <= 3
    with pytest.raises(Unreadable, match="primaries"):
        tone_mapped(signal, colour.PQ, 5)


def test_frames_say_that_they_are_of_high_dynamic_range_or_cannot_be_read():
    frame = yuv_frame([np.full(4, v, np.uint16) for v in (500, 512, 512)], "yuv444p10le")
    frame.color_trc, frame.color_primaries, frame.colorspace = 18, 9, 9
    pixels, notes = to_pixels(frame, None)
    assert notes == [colour.HDR]
    signal = (500 - 64) / 876
    assert abs(int(pixels[0, 0, 0]) - int(tone_mapped(deep([signal]), 18, 9)[0, 0, 0])) <= 1
    frame.color_trc = 8
    with pytest.raises(Unreadable, match="linear light"):
        to_pixels(frame, None)
    frame.color_trc = 1
    assert to_pixels(frame, None)[1] == [colour.WIDE]


def test_the_display_matrix_of_a_frame_is_found(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    values = (0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in values)
    path.write_bytes(content)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert Type.DISPLAYMATRIX in frame.side_data
    assert to_pixels(frame, None)[0].shape == (32, 16, 3)
