"""Video files as they come from phones, recorders and networks. Frame i has the grey level 8 i."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from aid.video import (
    decoding,
    is_video,
    packets,
    read_clip,
    read_video,
    write_gif,
)
from aid.video.decoding import decode, read_header

NUM = 24


def greys(number=NUM, height=48, width=64):
    return [np.full((height, width, 3), 8 * i, np.uint8) for i in range(number)]


def textured(number=NUM):
    """Frames that cannot be coded by themselves cheaply, so that lost packets smear."""
    blocks = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    still = np.kron(blocks, np.ones((8, 8, 1), np.uint8))
    return [np.roll(still, 3 * i, 1) for i in range(number)]


def encoded(frames, codec="libx264", fps=10, ticks=None, kind="matroska", **options):
    """Packets as bytes of a file; `ticks` are times in 1/1000 s instead of a constant rate."""
    stream_of = io.BytesIO()
    with av.open(stream_of, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = options
        if ticks is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return stream_of.getvalue()


def remuxed(path, content, keep=lambda number: True, change=None, kind="matroska"):
    """The packets for which `keep` is true, copied into another file."""
    with av.open(io.BytesIO(content)) as given, av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        packets_of = [p for p in given.demux(given.streams.video[0]) if p.size]
        for number, packet in enumerate(packets_of):
            if not keep(number):
                continue
            if change is not None and (new := change(number, bytes(packet))) is not None:
                copy = av.Packet(new)
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
                packet = copy
            packet.stream = stream
            container.mux(packet)
    return path


def levels(pixels):
    return [round(float(frame.mean()) / 8) for frame in pixels]


def all_frames(path):
    return decode(path, 0.0, None, lambda seconds: range(len(seconds)))


def texts(notes):
    return {note.text: note.number for note in notes}


GOP = {"g": "8", "bf": "0", "x264-params": "scenecut=0"}
MID_GOP = [
    ("libx264", GOP, 8), ("libx264", {"g": "8", "bf": "2", "x264-params": "scenecut=0"}, None),
    ("mpeg4", {"g": "8", "qmax": "2"}, 8), ("libvpx-vp9", {"g": "8", "deadline": "realtime"}, None),
    ("libvpx", {"g": "8", "deadline": "realtime"}, None),
    ("libx265", {"x265-params": "log-level=0:keyint=8:min-keyint=8:scenecut=0:bframes=2"}, None),
    ("mpeg2video", {"g": "8", "qmax": "2"}, 8),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "options", "first"), MID_GOP)
def test_a_video_that_begins_in_the_middle_of_a_group_gives_its_clean_frames(
    tmp_path, codec, options, first
):
    content = encoded(textured(), codec, **options)
    whole = read_video(remuxed(tmp_path / "whole.mkv", content))
    cut = all_frames(remuxed(tmp_path / "cut.mkv", content, keep=lambda number: number >= 3))
    number = len(cut.frames)
    assert NUM - 9 <= number < NUM - 3
    assert np.array_equal(np.stack(cut.frames), whole[-number:]), "no frame is smeared"
    assert texts(cut.notes)[packets.BEGINS_LATE.text] == NUM - 3 - number
    if first is not None:
        assert number == NUM - first


@pytest.mark.parametrize("kind", ["matroska", "mp4", "mpegts"])
@pytest.mark.parametrize("frames_b", ["0", "2"])
def test_lost_packets_of_h264_never_give_smeared_frames(tmp_path, kind, frames_b):
    content = encoded(textured(), g="8", bf=frames_b, **{"x264-params": "scenecut=0"})
    whole = read_video(remuxed(tmp_path / "whole", content, kind=kind))
    path = remuxed(
        tmp_path / "lost", content, keep=lambda number: number not in (10, 11), kind=kind
    )
    seen = all_frames(path)
    assert 12 <= len(seen.frames) <= NUM - 2
    places = (seen.seconds * 10).round().astype(int)
    assert np.array_equal(np.stack(seen.frames), whole[places])
    assert texts(seen.notes)[packets.LOST.text] >= 1


def test_a_raw_stream_with_lost_packets_is_refused_and_one_that_begins_late_says_so(tmp_path):
    content = encoded(textured(), g="8", bf="2", **{"x264-params": "scenecut=0"})
    whole = read_video(remuxed(tmp_path / "whole.h264", content, kind="h264"))
    lost = remuxed(tmp_path / "lost.h264", content, keep=lambda number: number != 9, kind="h264")
    with pytest.raises(ValueError, match=r"lost\.h264.*packets are lost"):
        read_video(lost)
    cut = remuxed(tmp_path / "cut.h264", content, keep=lambda number: number >= 3, kind="h264")
    seen = all_frames(cut)
    assert np.array_equal(np.stack(seen.frames), whole[-len(seen.frames) :])
    assert texts(seen.notes)[packets.BEGINS_LATE.text] == NUM - 3 - len(seen.frames)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_recording_of_a_network_that_lost_some_of_it_gives_its_clean_frames(tmp_path, codec):
    options = {"x264-params": "scenecut=0"} if codec == "libx264" else {"qmax": "2"}
    content = encoded(textured(), codec, g="8", bf="2", **options)
    path = remuxed(tmp_path / "whole.ts", content, kind="mpegts")
    whole, data = read_video(path), path.read_bytes()
    middle = len(data) // 188 // 2 * 188
    (tmp_path / "lost.ts").write_bytes(data[:middle] + data[middle + 3 * 188 :])
    seen = all_frames(tmp_path / "lost.ts")
    assert 8 <= len(seen.frames) < NUM
    assert all(any(np.array_equal(one, frame) for frame in whole) for one in seen.frames)
    assert packets.LOST.text in texts(seen.notes)


def test_lost_packets_of_hevc_are_refused_or_left_out(tmp_path):
    params = "log-level=0:keyint=8:min-keyint=8:scenecut=0:bframes=0"
    content = encoded(textured(), "libx265", **{"x265-params": params})
    whole = read_video(remuxed(tmp_path / "whole.mkv", content))
    path = remuxed(tmp_path / "lost.mkv", content, keep=lambda number: number != 10)
    try:
        seen = all_frames(path)
    except ValueError as error:
        assert "damaged" in str(error)
    else:
        places = (seen.seconds * 10).round().astype(int)
        assert np.array_equal(np.stack(seen.frames), whole[places])


@pytest.mark.parametrize("codec", ["mpeg4", "libvpx", "libvpx-vp9"])
def test_lost_packets_that_leave_no_trace_but_time_are_noted(tmp_path, codec):
    content = encoded(textured(), codec, g="8")
    path = remuxed(tmp_path / "lost.mkv", content, keep=lambda number: number not in (10, 11))
    assert decoding.VARIABLE_RATE in all_frames(path).notes


@pytest.mark.parametrize("frames_b", ["0", "2"])
def test_a_damaged_packet_is_refused_wherever_its_frames_are_asked_for(tmp_path, frames_b):
    content = encoded(textured(), g="8", bf=frames_b, crf="8", **{"x264-params": "scenecut=0"})
    noise = np.random.default_rng(1).integers(0, 255, 60).astype(np.uint8).tobytes()

    def change(number, data):
        middle = len(data) // 2
        return data[:middle] + noise + data[middle + 60 :] if number == 9 else None

    path = remuxed(tmp_path / "a.mkv", content, change=change)
    with pytest.raises(ValueError, match=r"a\.mkv.*(damaged|cannot be decoded)"):
        read_video(path)
    with pytest.raises(ValueError, match=r"a\.mkv.*(damaged|cannot be decoded)"):
        decode(path, 0.0, None, lambda seconds: [14])
    whole = read_video(remuxed(tmp_path / "whole.mkv", content))
    assert np.array_equal(decode(path, 0.0, None, lambda s: [20]).frames[0], whole[20])


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mp4", "libx264"), ("a.ts", "libx264")],
)
def test_time_that_begins_late_is_counted_from_the_first_frame(tmp_path, name, codec):
    kind = {"mkv": "matroska", "ts": "mpegts"}.get(name[2:], name[2:])
    ticks = [3000 + 100 * i for i in range(NUM)]
    (tmp_path / name).write_bytes(
        encoded(greys(), codec, ticks=ticks, kind=kind) if kind != "mp4" else b""
    )
    if kind == "mp4":
        remuxed(tmp_path / name, encoded(greys(), codec, ticks=ticks), kind="mp4")
    clip = read_clip(tmp_path / name)
    assert levels(clip.pixels) == list(range(NUM))
    assert clip.fps == pytest.approx(10, rel=1e-2)
    assert levels(decode(tmp_path / name, 0.5, None, lambda seconds: [0]).frames) == [5]
    assert read_header(tmp_path / name).num_frames == pytest.approx(NUM, abs=1)


def test_a_variable_rate_repeats_frames_as_long_as_they_are_shown(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(encoded(greys(6), ticks=[0, 100, 200, 300, 1000, 1100]))
    clip = read_clip(path)
    assert levels(clip.pixels) == [0, 1, 2, *[3] * 7, 4, 5]
    assert clip.fps == pytest.approx(10, rel=1e-2)
    assert decoding.VARIABLE_RATE in clip.notes


def test_long_pauses_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.mkv"
    path.write_bytes(encoded(greys(4), ticks=[0, 10, 20, 3_600_000]))
    assert len(read_video(path)) <= decoding.MOST_REPEATS * 4


@pytest.mark.parametrize("fps", [4, 10, 12, 15, 24, 30])
def test_our_own_gifs_come_back_with_every_frame_at_its_time(tmp_path, fps):
    waits = [0] * 12 + list(range(12)) + [12] * 8
    pixels = np.stack([greys()[i] for i in waits])
    write_gif(tmp_path / "a.gif", pixels, float(fps))
    clip = read_clip(tmp_path / "a.gif")
    assert levels(clip.pixels) == waits
    assert clip.fps == pytest.approx(fps, rel=0.02)


def two_streams(path, first, second):
    with av.open(str(path), "w") as container:
        streams = []
        for frames in (first, second):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            streams.append((stream, frames))
        for stream, frames in streams:
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    return path


def test_of_several_video_streams_the_largest_is_read_and_said(tmp_path):
    path = two_streams(tmp_path / "a.mkv", greys(3, 16, 16), greys(5))
    clip = read_clip(path)
    assert clip.pixels.shape == (5, 48, 64, 3)
    assert packets.SEVERAL_STREAMS in clip.notes


def test_a_cover_picture_is_no_video(tmp_path):
    plain = encoded(greys(5), kind="mp4")
    from PIL import Image

    cover = io.BytesIO()
    Image.new("RGB", (640, 640), "red").save(cover, "JPEG")
    path = tmp_path / "a.mkv"
    with av.open(io.BytesIO(plain)) as given, av.open(str(path), "w") as container:
        picture = container.add_stream("mjpeg", rate=10)
        picture.width = picture.height = 640
        picture.pix_fmt = "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream_from_template(given.streams.video[0])
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        container.mux(packet)
        for packet in given.demux(given.streams.video[0]):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    clip = read_clip(path)
    assert clip.pixels.shape == (5, 48, 64, 3)
    assert clip.notes in ((), (packets.SEVERAL_STREAMS,)), "Matroska does not say what it is"


@pytest.mark.parametrize(("size", "shape"), [((24, 32), (48, 64, 3)), ((64, 48), None)])
def test_frames_that_change_their_size_are_resized_if_their_shape_is_the_same(
    tmp_path, size, shape
):
    """Two files of raw H.264, one after the other."""
    path = tmp_path / "a.h264"
    path.write_bytes(
        encoded(greys(4), kind="h264", bf="0") + encoded(greys(4, *size), kind="h264", bf="0")
    )
    if shape is None:
        with pytest.raises(ValueError, match="changes its shape from 64 x 48 to 48 x 64"):
            read_video(path)
        return
    clip = read_clip(path)
    assert clip.pixels.shape == (8, *shape)
    assert levels(clip.pixels) == [0, 1, 2, 3] * 2
    assert decoding.RESIZED in clip.notes


@pytest.mark.parametrize("kind", ["avi", "mp4", "mov", "matroska", "mpegts"])
def test_every_container_gives_the_same_frames_whole_and_one_by_one(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(
        encoded(greys(), "mpeg4", kind=kind, g="8", bf="2", qmax="2")
        if kind in ("avi", "matroska", "mpegts")
        else b""
    )
    if not path.stat().st_size:
        remuxed(path, encoded(greys(), "mpeg4", g="8", bf="2", qmax="2"), kind=kind)
    assert levels(read_video(path)) == list(range(NUM))
    for place in (0, 9, NUM - 1):
        assert levels(decode(path, 0.0, None, lambda seconds, place=place: [place]).frames) == [
            place
        ]


def test_one_frame_and_one_pixel_are_videos(tmp_path):
    for name, frames in (("a", greys(1)), ("b", greys(3, 2, 2)), ("c", greys(1, 1, 1))):
        path = tmp_path / f"{name}.avi"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("rawvideo", rate=10)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "bgr24"
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        assert levels(read_video(path)) == list(range(len(frames)))


def test_what_is_a_video_goes_by_ending_and_where_it_must_by_content(tmp_path):
    from PIL import Image

    still = Image.new("RGB", (8, 8))
    still.save(tmp_path / "still.webp")
    still.save(tmp_path / "still.png")
    still.save(
        tmp_path / "moves.webp", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]
    )
    names = ["still.webp", "still.png", "moves.webp", "a.MP4", "a.gif", "a.jpg"]
    assert [name for name in names if is_video(tmp_path / name)] == ["moves.webp", "a.MP4", "a.gif"]
