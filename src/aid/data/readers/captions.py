"""A folder of videos with captions beside them, in the ways that people and trainers keep them.

    captions.csv, metadata.csv, *.jsonl   a column for the file and one for its words
    captions.txt                          lines "path.mp4 <tab> words"
    videos.txt and prompts.txt            the same line of both belongs together
    metas/a.txt and videos/a.mp4          words of the same name
    a.mp4 and a.txt                       words beside the video

Videos that nobody describes come with empty words.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aid.data.files import read_json_lines, read_table, read_text
from aid.types import VideoRow
from aid.video import VIDEO_SUFFIXES

FILE_COLUMNS = ("video", "file_name", "video_path", "path", "filename", "file", "media_path")
TEXT_COLUMNS = ("caption", "text", "prompt", "instruction", "label", "description", "sentence")
LISTS = ("captions", "metadata", "manifest", "dataset", "train", "prompts")
LINE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))[\s,|:]+(.*)", re.I)


def has_captions(folder: Path) -> bool:
    """Whether there is any video below the folder, or a list that names some."""
    return _list_of(folder) is not None or any(_videos(folder))


def read_captions(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per video, in the order of the list or else of the names.

    Raises:
        ValueError: the list is malformed, or two lists that belong together differ in length.
    """
    listed = _list_of(folder)
    pairs = _read_list(folder, listed) if listed else _beside(folder)
    unsaid = 0
    for video, words in pairs:
        unsaid += not words
        yield VideoRow(
            id=video,
            video=video,
            instruction=words,
            num_frames=0,
            fps=0.0,
            height=0,
            width=0,
        )
    if unsaid:
        notes.append(f"{unsaid} videos have no words.")


def _videos(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()


def _list_of(folder: Path) -> str | None:
    """The name of the list that goes with the videos, if there is one."""
    if (folder / "videos.txt").is_file() and (folder / "prompts.txt").is_file():
        return "videos.txt"
    names = [f"{stem}.{kind}" for kind in ("csv", "jsonl", "tsv") for stem in LISTS]
    return next((n for n in [*names, "captions.txt"] if (folder / n).is_file()), None)


def _read_list(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    if name == "videos.txt":
        videos = read_text(folder, name).strip("\n").split("\n")
        words = read_text(folder, "prompts.txt").strip("\n").split("\n")
        if len(videos) != len(words):
            raise ValueError(
                f"{str(folder)!r}: videos.txt has {len(videos)} lines and prompts.txt has "
                f"{len(words)}. Line by line they must belong together."
            )
        yield from ((v.strip(), w.strip()) for v, w in zip(videos, words, strict=True))
    elif name.endswith(".txt"):
        for number, line in enumerate(read_text(folder, name).split("\n"), start=1):
            if line.strip():
                found = LINE.fullmatch(line.strip())
                if not found:
                    raise ValueError(
                        f"{str(folder / name)!r}, line {number}: not a video and its words. "
                        'Write "video.mp4<tab>words".'
                    )
                yield found[1], found[2].strip()
    else:
        yield from _read_columns(folder, name)


def _read_columns(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    if name.endswith(".jsonl"):
        rows = [row for _, row in read_json_lines(folder, name)]
    else:
        rows = read_table(folder, name, [], "\t" if name.endswith(".tsv") else ",")
    for row in rows:
        keys = {str(key).strip().lower(): key for key in row}
        file = next((keys[column] for column in FILE_COLUMNS if column in keys), None)
        text = next((keys[column] for column in TEXT_COLUMNS if column in keys), None)
        words = row[text] if text is not None and row[text] is not None else ""
        if file is None or not isinstance(row[file], str) or not isinstance(words, str):
            raise ValueError(
                f"{str(folder / name)!r}: a row needs a file name in one of the columns "
                f"{', '.join(FILE_COLUMNS)}, and text as words, got {str(row)[:80]}."
            )
        yield row[file].strip(), words.strip()


def _beside(folder: Path) -> Iterator[tuple[str, str]]:
    """Videos and the text of the same name beside them, or in `metas` for `videos`."""
    for video in _videos(folder):
        path = PurePosixPath(video)
        beside = [path.with_suffix(".txt"), path.with_suffix(path.suffix + ".txt")]
        if path.parts[0] == "videos":
            beside.append(PurePosixPath("metas", *path.parts[1:]).with_suffix(".txt"))
        found = next((p for p in beside if (folder / p).is_file()), None)
        yield video, " ".join(read_text(folder, str(found)).split()) if found else ""
