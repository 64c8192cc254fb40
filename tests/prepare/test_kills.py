"""Real kills and real limits, each in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest
from prepared import SCRIPT, contents

from aid.data.cache import Cache


def run(body, *arguments):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + body, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


KILL = """
from aid.data.store import Store
from aid.video import whole_file
import safetensors.torch

written = 0

def killing(tensors, path, metadata):
    global written
    if written == 2:  # half of the third shard is on the disk
        path.write_bytes(b"half a shard")
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    safetensors.torch.save_file(tensors, path, metadata)

store_module.save_file = killing
make()
"""

LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
sys.exit(main(arguments()))
"""


@pytest.fixture(scope="module")
def whole(tiny_manifest, tiny_backbone, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    done = run("make()", tiny_manifest, out, tiny_backbone)
    assert done.returncode == 0, done.stderr
    return contents(out)


def test_a_process_killed_in_the_middle_of_a_write_goes_on_without_redoing_shards(
    whole, tiny_manifest, tiny_backbone, tmp_path
):
    out = tmp_path / "out"
    done = run(KILL, tiny_manifest, out, tiny_backbone)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {path: path.stat().st_mtime_ns for path in out.glob("videos-*")}
    assert len(kept) == 2
    assert list(out.glob(".videos-*")), "the kill came in the middle of a write"
    with pytest.raises(ValueError, match="not a finished cache"):
        Cache(out)
    done = run("make()", tiny_manifest, out, tiny_backbone)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(out) == whole, "and nothing half-written is left"


def test_a_full_disk_raises_one_sentence_and_leaves_no_incomplete_files(
    whole, tiny_manifest, tiny_backbone, tmp_path
):
    out = tmp_path / "out"
    done = run(LIMIT, tiny_manifest, out, tiny_backbone)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "is full: videos-" in last
    assert "Make room and run the same command again" in last
    assert "Traceback" not in done.stderr
    assert not out.exists(), "no shard was finished, so nothing stands in the way"
    assert run("make()", tiny_manifest, out, tiny_backbone).returncode == 0
    assert contents(out) == whole
