"""WebDataset shards: files of one name in a tar belong together.

    shard-000000.tar: 0001.mp4, 0001.txt (or .json with a caption), 0002.mp4 ...

As in WebDataset, the key of a sample is the name of its files up to the first dot: `0001.wrist.mp4`
is the camera "wrist" of sample `0001`. Its captions are those of `0001.wrist.txt`, or else all that
belong to no camera. Nothing is extracted under a name from the archive.

Why the package webdataset is not used: docs/architecture.md.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aid.data.files import inside, parse_json
from aid.data.readers import unopened_row
from aid.data.readers.caption_lists import words_in
from aid.data.readers.file_tree import FileTree, split_of_folder, split_of_stem
from aid.types import VideoRow
from aid.video import VIDEO_SUFFIXES, whole_file
from aid.video.notes import IssueCounter

MAX_WORDS = 1 << 24
"""Largest caption inside an archive, in bytes."""
TEXTS = (".txt", ".caption", ".cap", ".text", ".json")


@dataclass
class _Sample:
    """The files of one key: videos as (part, suffix, member's name, offset), captions by part."""

    key: str
    videos: list[tuple[str, str, str, int]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    json: dict[str, list[str]] = field(default_factory=dict)

    def words(self, part: str) -> list[str]:
        """The captions of the video with this part of the name."""
        parts = {part for part, *_ in self.videos}
        for words in (self.texts, self.json):
            own = words.get(part, [])
            shared = [w for other, some in words.items() if other not in parts for w in some]
            if found := own or shared:
                return list(dict.fromkeys(found))
        return []


def is_tar(folder: Path) -> bool:
    """Whether there is any tar file below the folder."""
    return any(shards(folder))


def shards(folder: Path) -> list[Path]:
    """The tar files of a folder, sorted."""
    return sorted(p for p in folder.rglob("*.tar") if not p.name.startswith("."))


def read_tar(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per video, in the order of the shards. Folders above the shards are splits.

    Raises:
        ValueError: an archive is damaged, or has a member that leads out of it.
    """
    issues = IssueCounter()
    for shard in shards(folder):
        name = shard.relative_to(folder).as_posix()
        split = _split_of(name)
        numbers: dict[str, int] = {}
        for sample in _samples(folder, name, issues):
            # A repeated key is another sample, as in WebDataset.
            numbers[sample.key] = number = numbers.get(sample.key, 0) + 1
            key = sample.key if number == 1 else f"{sample.key}#{number}"
            if not sample.videos:
                issues.add("samples have no video and are left out", f"{name}/{key}")
            for part, suffix, member, offset in sample.videos:
                words = sample.words(part)
                is_one = len(sample.videos) == 1
                own = key if is_one else f"{key}.{part or suffix[1:]}"
                episode = {} if is_one else {"episode": f"{name}/{key}"}
                yield unopened_row(
                    words,
                    id=f"{name}/{own}",
                    video=f"{name.removesuffix('.tar')}/{own}{suffix}",
                    split=split,
                    camera="" if is_one else part,
                    world={"packed": name, "member": member, "offset": offset, **episode},
                )
                if not words:
                    issues.add("videos have no instruction", f"{name}/{own}")
    tree = FileTree.walk(folder)
    for video in tree.videos:
        issues.add("videos beside the tar files are left out; give --format captions", video)
    for file in tree.files:
        if file.endswith((".tar.gz", ".tgz", ".tar.zst", ".zip")):
            issues.add("compressed archives are left out; unpack them to .tar", file)
    notes += issues.notes()


def _split_of(name: str) -> str:
    """A folder named like a split, else such a word in the shard's name, else the first folder."""
    stem = PurePosixPath(name).stem
    return split_of_folder(name) or split_of_stem(stem)[1] or name.rpartition("/")[0].split("/")[0]


def _samples(folder: Path, name: str, issues: IssueCounter) -> Iterator[_Sample]:
    """The samples of a shard; their files need not be adjacent, captions come before or after."""
    where = repr(str(folder / name))
    samples: dict[str, _Sample] = {}
    for member, content in _members(folder, name):
        key, part, suffix = _key(member.name)
        if PurePosixPath(member.name).name.startswith("."):
            continue
        sample = samples.setdefault(key, _Sample(key))
        if suffix in VIDEO_SUFFIXES:
            if any((part, suffix) == known[:2] for known in sample.videos):
                yield sample
                sample = samples[key] = _Sample(key)
            sample.videos.append((part, suffix, member.name, member.offset))
        elif suffix in TEXTS:
            words = _words(content(), suffix, f"{where}, {member.name!r}")
            place = sample.json if suffix == ".json" else sample.texts
            place.setdefault(part, []).extend(words)
        else:
            issues.add(
                f"members of type {suffix or '(none)'} are not read", f"{name}/{member.name}"
            )
    yield from samples.values()


def unpack_tar(folder: Path, rows: list[VideoRow], out: Path) -> None:
    """Writes the rows' videos, byte for byte, below `out`.

    Raises:
        ValueError: an archive is damaged.
    """
    wanted: dict[str, dict[int, Path]] = {}
    for row in rows:
        path = inside(out, row.video)
        if not path.is_file():
            wanted.setdefault(row.world["packed"], {})[row.world["offset"]] = path
    for shard, paths in wanted.items():
        for member, content in _members(folder, shard):
            if member.offset in paths:
                path = paths[member.offset]
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as temporary:
                    temporary.write_bytes(content(member.size))


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
                            raise ValueError(f"{where} ends in the middle of {member.name[:80]!r}.")
                        return read

                    yield member, content
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{where} is not a readable tar archive ({error}).") from None


def _key(name: str) -> tuple[str, str, str]:
    """The key of the sample, the part of it that a file is, and the file's suffix.

    `a/0001.wrist.mp4` is the part "wrist" of sample `a/0001`.
    """
    path = PurePosixPath(name)
    stem, _, rest = path.name.partition(".")
    part, _, suffix = rest.rpartition(".")
    key = "/".join([*(p for p in path.parts[:-1] if p != "."), stem])
    return key, part, f".{suffix.lower()}" if suffix else ""


def _words(content: bytes, suffix: str, where: str) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{where} is not UTF-8 text. Save it as UTF-8.") from None
    if suffix == ".json":
        value = parse_json(text, where)
        found = words_in(value) if isinstance(value, dict) else None
    else:
        found = [text]
    return [clean for words in found or [] if (clean := " ".join(words.split()))]
