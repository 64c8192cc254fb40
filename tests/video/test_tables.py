import os
import subprocess
import sys
import time
from pathlib import Path

import av
import hostile
import numpy as np
import pytest
from memory_use import begin_anew, resident
from videos import moving_square

from aid.video import read_clip, write_mp4
from aid.video.decoding import decode, read_header
from aid.video.tables import check_tables


@pytest.mark.parametrize("make", [hostile.endless_tables, hostile.endless_fragment])
@pytest.mark.parametrize(
    "read", [read_clip, read_header, lambda path: decode(path, 0.0, None, lambda seconds: [0])]
)
def test_tables_that_claim_more_samples_than_bytes_are_refused_before_they_are_read(
    tmp_path, make, read
):
    path = tmp_path / "a.mp4"
    path.write_bytes(make(tmp_path / "v.mp4"))
    before, started = begin_anew(), time.monotonic()
    with pytest.raises(ValueError, match=r"'.*a.mp4' claims 40000000 samples in \d+ bytes"):
        read(path)
    assert resident("VmHWM") - before < 50e6
    assert time.monotonic() - started < 10


def test_a_command_refuses_such_a_file_by_name(tmp_path):
    (tmp_path / "a.mp4").write_bytes(hostile.endless_tables(tmp_path / "v.mp4"))
    (tmp_path / "a.txt").write_text("lift it")
    (tmp_path / "v.mp4").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "aid.cli", "data", "inspect", str(tmp_path)],
        capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "claims 40000000 samples" in done.stdout + done.stderr


def test_a_compressed_header_is_refused_because_its_tables_cannot_be_seen(tmp_path):
    content = hostile.video(tmp_path / "v.mp4", 64)
    (tmp_path / "a.mp4").write_bytes(content.replace(b"mvhd", b"cmov"))
    with pytest.raises(ValueError, match="compressed header"):
        read_clip(tmp_path / "a.mp4")


def with_sound(path, sound, pixels, **options):
    """A video with a second of noise beside it."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        noise = container.add_stream(sound, rate=16000)
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        samples = np.random.default_rng(0).integers(-9000, 9000, (1, 16000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.rate = 16000
        container.mux(noise.encode(frame))
        container.mux(noise.encode())


@pytest.mark.parametrize(
    ("name", "sound", "options"),
    [
        ("a.mov", "pcm_s16le", {}), ("a.mov", "adpcm_ima_qt", {}), ("a.mov", "pcm_alaw", {}),
        ("a.mp4", "aac", {}), ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "pcm_s16le", {}), ("a.avi", "pcm_s16le", {}),
    ],
)  # fmt: skip
def test_true_files_with_sound_and_fragments_are_read(tmp_path, name, sound, options):
    pixels = np.repeat(np.repeat(moving_square(), 2, 1), 2, 2)[:, :64, :64]
    with_sound(tmp_path / name, sound, pixels, **options)
    assert len(read_clip(tmp_path / name).pixels) == len(pixels)


def test_damaged_boxes_end_the_look_at_the_tables(tmp_path):
    write_mp4(tmp_path / "v.mp4", moving_square(), 4.0)
    content = (tmp_path / "v.mp4").read_bytes()
    path = Path(tmp_path / "a.mp4")
    for at in range(0, min(len(content), 900), 3):
        for byte in (0, 1, 255):
            path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
            try:
                check_tables(path)
            except ValueError as error:
                assert "claims" in str(error) or "compressed" in str(error)
