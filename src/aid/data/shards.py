"""The shards of a cache: their names, checksums, and how a row is read from them.

A shard's name is a digest of everything that decides its contents: the bytes of its videos, how
they were decoded, the backbone, the arithmetic. So a finished shard is never made twice, and a
changed video gives another shard. `prepare` writes shards, `data.cache` reads them.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aid.files import sha256_of
from aid.video import frame_files

SHARD = 256
"""Rows per shard: large enough for few files, small enough to be made again."""
FORMAT = 3
"""Version of the cache's format; incremented when an older one can no longer be read."""
STORED_AS = "float16"
MAX_OPEN = 1024
"""Shards of a kind that a cache keeps mapped; opening one again costs as much as some rows."""


def shard_name(kind: str, facts: Any) -> str:
    """A shard's file name from everything that decides its contents, as JSON values."""
    text = json.dumps([FORMAT, STORED_AS, facts], sort_keys=True, ensure_ascii=False)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"


def pieces(items: list, size: int) -> Iterator[list]:
    """The items in lists of `size`; the last one may be shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))


def video_digest(path: Path) -> str:
    """A digest of a video's bytes, or of a folder's images; "missing" if there is no file."""
    if path.is_dir():
        parts = [(file.name, video_digest(file)) for file in frame_files(path)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    try:
        facts = path.stat()
        if not S_ISREG(facts.st_mode):  # a pipe or a device, which has no end
            return "missing"
        return _file_digest(path, facts.st_size, facts.st_mtime_ns)
    except OSError:
        return "missing"


@functools.lru_cache(maxsize=4096)  # a file of many episodes is read once
def _file_digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def content_digest(tensors: dict[str, Tensor], remarks: dict[str, Any]) -> str:
    """A digest of a shard: names, types, shapes and bytes of its tensors, and its remarks."""
    digest = hashlib.sha256(json.dumps(remarks, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def is_whole(path: Path) -> bool:
    """Whether a shard exists and is undamaged; reads all of it."""
    try:
        tensors, remarks = open_shard(path)
    except ValueError:
        return False
    return remarks.pop("digest", None) == content_digest(tensors, remarks)


def facts_of(path: Path) -> dict[str, Any]:
    """A file's size in bytes and its SHA-256, as `cache.json` lists them."""
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def check_file(path: Path, facts: dict[str, Any], content: bool = True) -> None:
    """Compares a file of a cache with its size and checksum when it was written.

    Args:
        path: of the file.
        facts: its size and SHA-256, as `facts_of` returned them.
        content: whether to compare the SHA-256, for which all of the file is read.

    Raises:
        ValueError: the file is missing or differs.
    """
    remedy = "Run the same aid prepare again: it makes only the damaged files again."
    try:
        size = path.stat().st_size
        if size == facts["bytes"] and (not content or sha256_of(path) == facts["sha256"]):
            return
    except OSError as error:
        raise ValueError(
            f"cache file {str(path)!r} cannot be read ({error.strerror}). {remedy}"
        ) from None
    what = "its SHA-256 differs"
    if size != facts["bytes"]:
        what = f"it has {size} bytes instead of {facts['bytes']}"
    raise ValueError(f"cache file {str(path)!r} is damaged: {what}. {remedy}")


def open_shard(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a shard, memory-mapped (nothing is read yet), and its remarks.

    Raises:
        ValueError: it is missing, damaged or was written under another name.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            remarks = json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"cache file {str(path)!r} cannot be read ({error}). Delete it and run aid prepare "
            "again; the other files are kept."
        ) from None
    if remarks.get("name") != path.name:
        raise ValueError(
            f"cache file {str(path)!r} was written as {remarks.get('name')!r}. Delete it and run "
            "aid prepare again; the other files are kept."
        )
    return tensors, remarks


class ShardedRows:
    """Rows stored in several shards, one after another.

    Args:
        folder: the cache's.
        shards: file name and number of rows of each.
        files: size and SHA-256 of each file, compared when a shard is first read.
    """

    def __init__(
        self, folder: Path, shards: Sequence[Sequence], files: dict[str, dict[str, Any]]
    ) -> None:
        self.folder = folder
        self._unchecked = {name: files[name] for name, _ in shards if name in files}
        self.names = [name for name, _ in shards]
        self.ends = np.cumsum([number for _, number in shards])
        self._open = functools.lru_cache(maxsize=MAX_OPEN)(self._opened)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def _opened(self, name: str) -> dict[str, Tensor]:
        if name in self._unchecked:
            check_file(self.folder / name, self._unchecked[name])
            del self._unchecked[name]
        return open_shard(self.folder / name)[0]

    def find(self, index: int) -> tuple[dict[str, Tensor], int]:
        """The tensors of the shard with a row, and the row's index there."""
        shard = int(np.searchsorted(self.ends, index, side="right"))
        start = int(self.ends[shard - 1]) if shard else 0
        return self._open(self.names[shard]), index - start
