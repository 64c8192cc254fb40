import os
import subprocess
import sys

import pytest

# Frees 200 MB and prints how many MB of them the process still has.
PROGRAM = """
from aid.cli.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

keep_freed_memory()
before = resident()
block = bytearray(b"1") * 200_000_000
del block
print(resident() - before)
"""


@pytest.mark.parametrize(("own", "is_kept"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False)])
def test_freed_memory_is_kept_unless_the_user_told_malloc_otherwise(own, is_kept):
    clean = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | own, capture_output=True, text=True, check=True
    )
    assert (float(done.stdout) > 150) == is_kept
