"""A disk that runs full while videos are unpacked, in a process of its own."""

import os
import subprocess
import sys
import tarfile

import pytest
from layouts import example_message, image_bytes, write_json, write_records, write_video

from aid.config import SourceConfig
from aid.data.sources import read_source

LIMITED = """
import resource, sys
from pathlib import Path
from aid.data.sources import read_source

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    read_source(sys.argv[1], unpack_to=Path(sys.argv[2]))
except ValueError as error:
    print(error)
"""


def small_archive(folder):
    """Two videos, of which the first is much smaller."""
    folder.mkdir()
    small = write_video(folder.parent / "small.mp4", num_frames=1)
    large = write_video(folder.parent / "large.mp4", num_frames=60)
    with tarfile.open(folder / "0.tar", "w") as tar:
        tar.add(small, "0.mp4")
        tar.add(large, "1.mp4")
    return small.stat().st_size, large.stat().st_size


def small_records(folder):
    """Two episodes of frames, those of the second larger."""
    image = {"image": {"shape": {"dimensions": ["48", "64", "3"]}, "dtype": "uint8"}}
    steps = {"sequence": {"feature": {"featuresDict": {"features": {"image": image}}}}}
    write_json(folder / "features.json", {"featuresDict": {"features": {"steps": steps}}})
    frames = [image_bytes(), image_bytes(kind="BMP", size=(640, 480))]
    messages = [example_message({"steps/image": [frame] * 2}) for frame in frames]
    write_records(folder / "a-train.tfrecord-00000-of-00001", messages)
    return len(frames[0]), len(frames[1])


@pytest.mark.parametrize("make", [small_archive, small_records])
def test_a_full_disk_while_unpacking_raises_one_sentence_and_leaves_no_incomplete_files(
    tmp_path, make
):
    data, out = tmp_path / "set", tmp_path / "out"
    small, large = make(data)
    limit = (small + large) // 2
    assert small < limit < large
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, data, out, str(limit)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"cannot unpack videos to '{out}'")
    assert "Make room" in line
    kept = {path for path in out.rglob("*") if path.is_file()}
    assert kept, "what was whole is kept"
    assert all(path.stat().st_size == small for path in kept)
    assert not [path for path in out.rglob(".*")], "and nothing unfinished"
    before = {path: path.stat().st_mtime_ns for path in kept}
    source = read_source(data, SourceConfig(fps=4.0), unpack_to=out)
    assert len(source.rows) == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == before
