import os
import platform
import subprocess
import sys

import pytest

# Frees 200 MB, in a thread or not, and prints how many MB of them the process still has.
PROGRAM = """
import sys
from threading import Thread
from aid.cli.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

def draw():
    block = bytearray(b"1") * 200_000_000
    del block

keep_freed_memory(sys.argv[2] or None)
before = resident()
if sys.argv[1] == "thread":
    thread = Thread(target=draw)
    thread.start()
    thread.join()
else:
    draw()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
@pytest.mark.parametrize("where", ["here", "thread"])
@pytest.mark.parametrize(
    ("own", "device", "is_kept"),
    [
        ({}, "", True),
        ({}, "cpu", True),
        ({"MALLOC_ARENA_MAX": "4"}, "", False),
        ({}, "cuda", False),
    ],
)
def test_freed_memory_is_kept_unless_malloc_was_told_otherwise_or_a_gpu_draws(
    own, device, is_kept, where
):
    told = ("MALLOC", "GLIBC_TUNABLES")
    clean = {k: v for k, v in os.environ.items() if not any(word in k for word in told)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, where, device],
        env=clean | own, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (float(done.stdout) > 150) == is_kept
