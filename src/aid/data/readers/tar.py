"""WebDataset shards: files of one name in a tar belong together.

    shard-000000.tar: 0001.mp4, 0001.txt (or .json with a caption), 0002.mp4 ...

Nothing is extracted under the archive's own names: `unpack_tar` writes videos to names made here.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aid.data.files import inside, parse_json
from aid.data.readers.captions import TEXT_COLUMNS
from aid.data.unpacking import write_bytes
from aid.types import VideoRow
from aid.video import VIDEO_SUFFIXES

MAX_WORDS = 1 << 24
"""Bytes of a caption inside an archive."""


def is_tar(folder: Path) -> bool:
    """Whether there is any tar file below the folder."""
    return any(shards(folder))


def shards(folder: Path) -> list[Path]:
    """The tar files of a folder, sorted."""
    return sorted(p for p in folder.rglob("*.tar") if not p.name.startswith("."))


def read_tar(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per video in the shards, in their order. Folders above the shards are splits.

    Raises:
        ValueError: an archive is damaged, or has a member that leads out of it.
    """
    for shard in shards(folder):
        name = shard.relative_to(folder).as_posix()
        split = name.split("/")[0] if "/" in name else ""
        videos: dict[str, str] = {}
        words: dict[str, str] = {}
        # Members of a sample follow one another, but captions may come before or after the video.
        for member, content in _members(folder, name):
            key, suffix = _key(member.name)
            if suffix in VIDEO_SUFFIXES:
                videos[key] = member.name
            elif suffix in (".txt", ".caption", ".cap", ".json") and key not in words:
                words[key] = _words(content(), suffix, f"{str(shard)!r}, {member.name!r}")
        for key, member in videos.items():
            yield VideoRow(
                id=f"{name}/{key}",
                video=f"{name.removesuffix('.tar')}/{key}{_key(member)[1]}",
                instruction=words.get(key, ""),
                num_frames=0,
                fps=0.0,
                height=0,
                width=0,
                split=split,
                world={"packed": name, "member": member},
            )


def unpack_tar(folder: Path, rows: list[VideoRow], out: Path) -> None:
    """Writes the rows' videos, byte for byte, below `out`.

    Raises:
        ValueError: an archive is damaged.
    """
    wanted: dict[str, dict[str, Path]] = {}
    for row in rows:
        path = inside(out, row.video)
        if not path.is_file():
            wanted.setdefault(row.world["packed"], {})[row.world["member"]] = path
    for shard, paths in wanted.items():
        for member, content in _members(folder, shard):
            if member.name in paths:
                write_bytes(paths[member.name], content(member.size))


def _members(folder: Path, name: str) -> Iterator[tuple[tarfile.TarInfo, object]]:
    """The plain files of an archive, each with a function that reads it."""
    where = repr(str(folder / name))
    try:
        with tarfile.open(inside(folder, name), "r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or "\0" in member.name:
                    raise ValueError(
                        f"{where} has a member {member.name[:80]!r} that leads out of the archive. "
                        "Do not use this file."
                    )
                if member.issym() or member.islnk() or member.isdev() or member.issparse():
                    raise ValueError(
                        f"{where} has a member {member.name[:80]!r} that is a link, a device or "
                        "sparse. Pack plain files."
                    )
                if member.isfile():

                    def content(limit: int = MAX_WORDS, member: tarfile.TarInfo = member) -> bytes:
                        if member.size > limit:
                            raise ValueError(
                                f"{where}: {member.name[:80]!r} has {member.size} bytes, too many "
                                "for a caption."
                            )
                        read = archive.extractfile(member).read()
                        if len(read) != member.size:
                            raise ValueError(f"{where} breaks off in {member.name[:80]!r}.")
                        return read

                    yield member, content
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{where} is no readable tar archive ({error}).") from None


def _key(name: str) -> tuple[str, str]:
    """What a sample is called, and the suffix: the name is cut at its first dot."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    key = "/".join([*(p for p in path.parts[:-1] if p != "."), stem])
    return key, f".{suffix.lower()}"


def _words(content: bytes, suffix: str, where: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{where} is not UTF-8 text. Save it as UTF-8.") from None
    if suffix != ".json":
        return " ".join(text.split())
    value = parse_json(text, where)
    said = [value.get(key) for key in TEXT_COLUMNS] if isinstance(value, dict) else []
    return next((" ".join(words.split()) for words in said if isinstance(words, str)), "")
