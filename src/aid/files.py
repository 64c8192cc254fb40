"""Folders that are on disk whole or not at all, and how a damaged file is recognised.

The training state and the checkpoint are written with `whole_folder`. At every moment, also while
a process is killed, either the folder or its predecessor is complete on disk; `restore` puts the
complete one in its place. No weights and no settings are known here.
"""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARGIN = 16 * 2**20
"""Bytes that must stay free beside what is written."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free_space(folder: Path, needed: int) -> None:
    """Refuses to begin what would not fit on the disk.

    Args:
        folder: an existing folder on that disk.
        needed: bytes that are to be written; `MARGIN` more must be free.

    Raises:
        OSError: there is less.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        raise OSError(
            errno.ENOSPC,
            f"the disk of {str(folder)!r} has {_megabytes(free)} free and the next saved state "
            f"takes {_megabytes(needed + MARGIN)}. Make room and give the same command again",
        )


def _megabytes(number: int) -> str:
    return f"{number / 2**20:.0f} MB"


def _beside(folder: Path) -> tuple[Path, Path]:
    """Where the next content of a folder is made, and where its last one waits to be deleted."""
    return folder.with_name(f".{folder.name}.next"), folder.with_name(f".{folder.name}.previous")


def restore(folder: Path) -> bool:
    """Whether a complete `folder` exists; tidies what a killed `whole_folder` left behind."""
    made, previous = _beside(folder)
    if not folder.exists() and previous.exists():  # killed between the two renames
        previous.rename(folder)
    for left in (made, previous):
        if left.exists():
            shutil.rmtree(left)
    return folder.exists()


@contextmanager
def whole_folder(folder: Path | str) -> Iterator[Path]:
    """A new folder that takes `folder`'s place, old content and all, if the block ends well.

    What the block wrote is on the disk before the old content goes. After an error nothing has
    changed.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore(folder)
    made, previous = _beside(folder)
    made.mkdir()
    try:
        yield made
        share(made)
        for path in [*made.rglob("*"), made]:
            _flush(path)
        if folder.exists():
            folder.rename(previous)
        made.rename(folder)
        _flush(folder.parent)
    finally:
        restore(folder)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keeps a second process out of an existing folder for as long as the block runs.

    The lock goes with the process, however it ends. Where a disk knows no locks there is none.

    Raises:
        ValueError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"another process is at work in {str(folder)!r}. Wait until it has ended, stop it "
            "(also what a killed launcher left behind), or choose another --out."
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)


def share(folder: Path) -> None:
    """Lets everyone read a folder's files who may read the folder.

    safetensors makes files that only their owner can read, so that a laboratory's other members
    could not load what lies on a common disk. Links are left alone: what they lead to belongs to
    others. Some disks know no permissions; they need none.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with suppress(OSError):
                path.chmod(path.parent.stat().st_mode & 0o666)


def _flush(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_folder(path: Path | str) -> bool:
    """Whether a path is a folder; what is no path is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long, or a NUL character
        return False


def make_folder(folder: Path) -> None:
    """Makes a folder to write into, with those above it; one that is there is kept.

    Raises:
        ValueError: it cannot be made, or a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"folder {str(folder)!r} cannot be made ({error.strerror}). Choose another --out."
        ) from None


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all."""
    made = path.with_name(f".{path.name}.next")
    made.write_text(text, encoding="utf-8")
    made.replace(path)
