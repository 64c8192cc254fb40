"""Files made to harm, and things that are no files, as every command reads them."""

import os
import struct
import threading
import time

import av
import hostile
import pytest
from memory_use import begin_anew, resident
from videos import moving_square

from aid.cli import main
from aid.video import is_video, read_clip, read_folder, read_video, reading, write_mp4
from aid.video.reading import read_header, read_sampled
from aid.video.sampling import Sampling

FEW = Sampling(num_frames=3, size=(64, 64))
READERS = [read_clip, read_header, lambda path: read_sampled(path, FEW), is_video]
QUICK = 30.0
"""Seconds: far below what each of these files would take without limits."""


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    """So that tests are fast."""
    monkeypatch.setattr(reading, "SECONDS", 1.0)
    monkeypatch.setattr(reading, "SECONDS_PER_MEGABYTE", 0.0)
    monkeypatch.setattr(reading, "FOLDER_SECONDS", 1.0)
    monkeypatch.setattr(reading, "MEGABYTES", 300)
    monkeypatch.setattr(reading, "MEGABYTES_OF_ALL", 300)


def box(name, body):
    return struct.pack(">I", 8 + len(body)) + name + body


def deep_boxes(depth=100_000):
    """An mp4 of boxes within boxes."""
    size = 8 * depth
    inner = b"".join(struct.pack(">I", size - 8 * n) + b"moov" for n in range(depth))
    return box(b"ftyp", b"isom\x00\x00\x02\x00isom") + inner


def element(name, body, size=None):
    """An element of Matroska."""
    length = len(body) if size is None else size
    return bytes.fromhex(name) + (length | 1 << 56).to_bytes(8, "big") + body


def endless_clusters(number=300_000):
    """A Matroska file of empty clusters, which claim no end."""
    head = element("1a45dfa3", element("4282", b"matroska"))
    cluster = element("1f43b675", element("e7", b"\x00"))
    return head + element("18538067", cluster * number, size=(1 << 56) - 2)


def endless_index(path, claimed=2**31 - 1):
    """An avi whose headers claim two billion frames of 30000 x 30000 pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=4)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for pixels in moving_square():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b"avih") + 8
    content[at + 16 : at + 20] = struct.pack("<I", claimed)
    content[at + 32 : at + 40] = struct.pack("<II", 30000, 30000)
    return bytes(content)


def huge_gif(size=20_000, number=2000):
    """A GIF of a huge screen with many small pictures."""
    content = hostile.gif(size, size)
    picture = content[content.index(b",") : -1]
    return content[:-1] + picture * number + b";"


HOSTILE = {
    "tables.mp4": lambda path: hostile.endless_tables(path),
    "fragment.mp4": lambda path: hostile.endless_fragment(path),
    "deep.mp4": lambda path: deep_boxes(),
    "clusters.mkv": lambda path: endless_clusters(),
    "index.avi": lambda path: endless_index(path.with_suffix(".avi")),
    "screen.gif": lambda path: huge_gif(),
    "pictures.gif": lambda path: hostile.many_pictures(),
    "animation.png": lambda path: hostile.endless_animation(),
    "texts.png": lambda path: hostile.many_texts(),
    "frames.webp": lambda path: hostile.endless_webp(),
    "scans.jpg": lambda path: hostile.repeated_scans(),
    "pixels.png": lambda path: hostile.png(60_000, 60_000),
    "zip.png": lambda path: hostile.text_bomb(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_made_to_harm_costs_neither_memory_nor_time(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path / "v.mp4"))
    before, started = begin_anew(), time.monotonic()
    for read in READERS:
        try:
            read(path)
        except ValueError as error:
            assert name in str(error) and "\n" not in str(error)
    (tmp_path / "frames").mkdir()
    for number in range(3):
        (tmp_path / f"frames/{number}{path.suffix}").hardlink_to(path)
    try:
        read_folder(tmp_path / "frames")
    except ValueError as error:
        assert "frames" in str(error)
    assert resident("VmHWM") - before < 150e6
    assert time.monotonic() - started < QUICK
    write_mp4(tmp_path / "good.mp4", moving_square(), 4.0, lossless=True)
    assert len(read_video(tmp_path / "good.mp4")) == len(moving_square())


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to itself", "nothing"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind, read):
    path = tmp_path / "a.mp4"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to itself":
        path.symlink_to(path)
    if read is is_video:
        assert is_video(path), "by its name"
        return
    with pytest.raises(ValueError, match=r"a\.mp4"):
        read(path)


def test_a_file_that_grows_while_it_is_read_ends_within_the_limits(tmp_path):
    path, stop = tmp_path / "a.ts", threading.Event()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for pixels in moving_square():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    more = path.read_bytes() * 20

    def grow():
        with path.open("ab") as file:
            while not stop.is_set():
                if file.tell() > 50e6:
                    file.truncate(len(more))
                file.write(more)

    thread, started = threading.Thread(target=grow), time.monotonic()
    thread.start()
    try:
        read_clip(path)  # if the reader is faster than the writer
    except ValueError as error:
        assert "a.ts" in str(error)
    finally:
        stop.set()
        thread.join()
    assert time.monotonic() - started < QUICK


@pytest.fixture
def data(tmp_path):
    """Two good videos and one that takes too long."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "c"):
        write_mp4(folder / f"{name}.mp4", moving_square(), 4.0, lossless=True)
    (folder / "b.gif").write_bytes(hostile.many_pictures())
    for name in ("a", "b", "c"):
        (folder / f"{name}.txt").write_text(f"push the ball {name}")
    return folder


def test_a_video_beyond_the_limits_is_left_out_or_refused_by_every_command(
    data, tmp_path, tiny_backbone, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "SECONDS", 3.0)  # the good ones are to be read on a busy machine
    out = tmp_path / "out"
    command = ["prepare", "--data", str(data), "--out", str(out), "--backbone", str(tiny_backbone)]
    command += ["--model.num_frames", "3", "--states", "none"]
    assert main(command) == 2
    words = f"reading video '{data / 'b.gif'}' took more than"
    assert words in capsys.readouterr().err
    assert main([*command, "--skip-corrupt", "true"]) == 0
    assert words in capsys.readouterr().err
    assert main(["data", "inspect", str(data)]) == 0
    assert words in capsys.readouterr().out
    scores = ["score", str(data), str(data), "--out", str(tmp_path / "s"), "--extractor", "none"]
    scores += ["--num_frames", "4"]
    assert main(scores) == 0
    assert words in (tmp_path / "s/score.md").read_text()
