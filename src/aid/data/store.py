"""A folder on this machine, or behind any URL that fsspec knows.

Files are written completely or not at all. Remote files are copied to this machine to be read,
because decoders and memory maps need a local file.
"""

import errno
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from aid.data.files import inside
from aid.data.shards import content_digest, facts_of
from aid.video import whole_file

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL rather than a path."""
    return "://" in str(place)


class Store:
    """A folder, by path or by URL.

    Raises:
        ValueError: fsspec does not know this kind of URL, or its package is not installed.
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self.folder = None if is_url(place) else Path(place)
        self._written: dict[str, dict[str, Any]] = {}
        if self.folder is None:
            try:
                self._remote, self._root = fsspec.core.url_to_fs(self.place)
            except (ValueError, ImportError) as error:
                raise ValueError(f"{self.place!r} cannot be opened: {error}.") from None

    def make(self) -> None:
        """Creates the folder if it does not exist.

        Raises:
            ValueError: it cannot be created.
        """
        if self.folder is not None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if _is_full(error):
                    raise
                raise ValueError(
                    f"folder {self.place!r} cannot be created ({error.strerror}). Choose another "
                    "--out."
                ) from None
        else:
            self._remote.makedirs(self._root, exist_ok=True)

    def names(self) -> list[str]:
        """The names of the files in the folder; none if it does not exist."""
        if self.folder is not None:
            if not self.folder.is_dir():
                return []
            return sorted(path.name for path in self.folder.iterdir())
        if not self._remote.exists(self._root):
            return []
        found = self._remote.ls(self._root, detail=False)
        return sorted(PurePosixPath(path).name for path in found)

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        if self.folder is not None:
            return (self.folder / name).exists()
        return self._remote.exists(self._address(name))

    def remove(self, name: str) -> None:
        """Deletes a file if it exists."""
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
        elif self.has(name):
            self._remote.rm(self._address(name))

    def _address(self, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name!r} lies outside {self.place!r}. Give paths below it.")
        return f"{self._root.rstrip('/')}/{path}"

    @contextmanager
    def local(self, names: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Paths on this machine of files or folders, valid inside the block.

        The path of a missing file does not exist either.

        Raises:
            ValueError: a name leads out of the folder.
        """
        if self.folder is not None:
            yield {name: inside(self.folder, name) for name in names}
            return
        with tempfile.TemporaryDirectory(prefix="aid-") as made:
            paths = {}
            for number, name in enumerate(dict.fromkeys(names)):
                address = self._address(name)
                path = Path(made) / str(number) / PurePosixPath(name).name
                path.parent.mkdir()
                if self._remote.exists(address):
                    is_folder = self._remote.isdir(address)
                    self._remote.get(address, str(path), recursive=is_folder)
                paths[name] = path
            yield paths

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path on this machine; the file becomes `name` if the block ends without an error.

        Raises:
            OSError: the disk is full.
        """
        try:
            if self.folder is not None:
                with whole_file(self.folder / name) as path:
                    yield path
                    self._written[name] = facts_of(path)
                return
            with tempfile.TemporaryDirectory(prefix="aid-") as made:
                path = Path(made) / name
                yield path
                self._written[name] = facts_of(path)
                self._remote.put_file(str(path), self._address(name))
        except (OSError, SafetensorError) as error:
            if not _is_full(error):
                raise
            raise OSError(
                f"{self.place!r} is full: {name} could not be written ({_reason(error)}). "
                "Finished files are kept. Make room and run the same command again"
            ) from None

    def write_tensors(
        self, name: str, tensors: dict[str, Tensor], remarks: dict[str, Any] | None = None
    ) -> None:
        """Writes a shard, completely or not at all; equal content gives equal bytes."""
        whole = {key: value.contiguous() for key, value in tensors.items()}
        remarks = {"name": name, **(remarks or {})}
        about = json.dumps({**remarks, "digest": content_digest(whole, remarks)}, sort_keys=True)
        with self.writing(name) as path:
            save_file(whole, path, {"about": about})  # one entry: several have no fixed order

    def facts(self, name: str) -> dict[str, Any]:
        """Size and SHA-256 of a file when this object wrote it, or else as it is now."""
        if name not in self._written:
            with self.local([name]) as paths:
                self._written[name] = facts_of(paths[name])
        return self._written[name]

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file, completely or not at all."""
        with self.writing(name) as path:
            path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def read_json(self, name: str) -> Any:
        """The value of a JSON file.

        Raises:
            ValueError: it is damaged.
        """
        with self.local([name]) as paths:
            try:
                return json.loads(paths[name].read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(
                    f"{name!r} in {self.place!r} is damaged ({error}). Delete that file and run "
                    "the same command again: finished shards are kept."
                ) from None


def _is_full(error: Exception) -> bool:
    """Whether a disk or quota is full; safetensors gives it only in the message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return any(f"os error {number}" in str(error) for number in FULL)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
