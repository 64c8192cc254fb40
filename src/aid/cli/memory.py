"""How the C library's allocator treats the memory that networks free again and again."""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # glibc's malloc.h
ENDLESS = 2**31 - 1


def keep_freed_memory(device: str | None) -> None:
    """Lets glibc keep what is freed, instead of giving it back and fetching it, zeroed, once more.

    For commands that draw videos on a CPU: every layer's output is a large block, and by default
    the page faults of fetching it again take up to a third of the time (docs/performance.md). Call
    it before torch is imported. Nothing happens under another C library, where the user has told
    malloc what to do, or for a GPU that the user names: which other device there is, only
    torch knows.
    """
    if device not in (None, "cpu"):
        return
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # the last: Windows
        return
    mallopt(M_ARENA_MAX, 1)  # `aid web` draws in threads, whose own arenas would give back
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, ENDLESS)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: large blocks on large pages
