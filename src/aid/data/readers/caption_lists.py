"""Lists of videos and their words, in the ways that people and trainers write them.

    .csv, .tsv, .jsonl, .parquet   a row per video or caption, columns for the file and the words
    .json                          a list of such rows, or {"a.mp4": "words"}, or either of them
                                   under a key: {"videos": [...], "sentences": [...]}
    captions.txt                   lines "path.mp4 <tab> words"
    videos.txt and prompts.txt     the same line of both belongs together

Called by `captions`, which finds the videos. What columns may be called is in FILES, WORDS and
so on; `file_name`, `*_file_name`, `file_names` and `*_file_names` are Hugging Face `datasets`'.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from aid.data.files import parse_json, read_json_lines, read_table, read_text
from aid.data.parquet import read_parquet
from aid.video import VIDEO_SUFFIXES

FILES = ("video", "file_name", "video_path", "file_path", "path", "filepath", "filename", "file")
FILES += ("media_path", "media", "clip_path", "video_file", "video_name", "clip_name")
IDS = ("video_id", "videoid", "clip_id", "id")
"""Columns that name a video without its suffix, where no other names the file."""
WORDS = ("caption", "text", "prompt", "instruction", "label", "description", "sentence")
WORDS += ("captions", "texts", "prompts", "instructions", "descriptions", "sentences", "cap")
WORDS += ("language_instruction", "narration", "recaption", "encap", "title", "name")
SPLITS = ("split", "subset", "partition")
CAMERAS = ("camera", "camera_id", "view")
EPISODES = ("episode", "episode_id", "episode_index", "trajectory_id")
STARTS = ("start", "start_time", "start_sec", "start_seconds", "start_timestamp", "begin")
STOPS = ("stop", "end", "stop_time", "end_time", "end_sec", "end_seconds", "end_timestamp")
TABLES = ("csv", "jsonl", "tsv", "json", "parquet")
PAIRS = [
    (videos, words)
    for videos in ("videos.txt", "video.txt")
    for words in ("prompts.txt", "prompt.txt", "captions.txt", "caption.txt")
]
LINE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))}))[\s,|:]+(.*)", re.I)
TIME = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A line of a list: a video as the list calls it, and what is said of it.

    `start` and `stop` are seconds; None where the list has no times.
    """

    video: str
    words: list[str] = field(default_factory=list)
    split: str = ""
    camera: str = ""
    episode: str = ""
    start: float | None = None
    stop: float | None = None


def read_list(folder: Path, name: str) -> Iterator[Listed]:
    """The lines of a list, in order.

    Args:
        name: of the list; of a pair the one with the videos.

    Raises:
        ValueError: the list is malformed, or two lists that belong together differ in length.
    """
    path = PurePosixPath(name)
    words = _other_of_pair(folder, path)
    if words is not None:
        yield from _paired(folder, name, words)
    elif path.suffix == ".txt":
        yield from _lines(folder, name)
    else:
        where = repr(str(folder / name))
        for row in _rows(folder, name, where):
            yield from _listed(row, where)


def _other_of_pair(folder: Path, path: PurePosixPath) -> str | None:
    """The list with the words that goes with a list of videos."""
    for videos, words in PAIRS:
        if path.name == videos and (folder / path.parent / words).is_file():
            return (path.parent / words).as_posix()
    return None


def _paired(folder: Path, videos: str, words: str) -> Iterator[Listed]:
    names = read_text(folder, videos).strip("\n").split("\n")
    said = read_text(folder, words).strip("\n").split("\n")
    if len(names) != len(said):
        raise ValueError(
            f"{str(folder)!r}: {videos} has {len(names)} lines and {words} has {len(said)}. Line "
            "by line they must belong together."
        )
    for name, line in zip(names, said, strict=True):
        yield Listed(video=name.strip(), words=_clean([line]))


def _lines(folder: Path, name: str) -> Iterator[Listed]:
    for number, line in enumerate(read_text(folder, name).split("\n"), start=1):
        if line.strip():
            found = LINE.fullmatch(line.strip())
            if not found:
                raise ValueError(
                    f"{str(folder / name)!r}, line {number}: not a video and its words. "
                    'Write "video.mp4<tab>words".'
                )
            yield Listed(video=found[1], words=_clean([found[2]]))


def _rows(folder: Path, name: str, where: str) -> Iterator[dict[str, Any]]:
    kind = PurePosixPath(name).suffix
    if kind == ".jsonl":
        yield from (row for _, row in read_json_lines(folder, name))
    elif kind == ".parquet":
        yield from read_parquet(folder, name).to_pylist()
    elif kind == ".json":
        yield from _rows_of_json(parse_json(read_text(folder, name), where), where)
    else:
        table = read_table(folder, name, [], "\t" if kind == ".tsv" else ",")
        first = list(table[0]) if table else []
        if len(first) == 2 and PurePosixPath(first[0]).suffix.lower() in VIDEO_SUFFIXES:
            yield {"video": first[0], "caption": first[1]}  # a table without a line of names
            table = [dict(zip(("video", "caption"), row.values(), strict=True)) for row in table]
        yield from table


def _rows_of_json(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of rows; of an object its values by file, or its first list of rows."""
    if isinstance(value, list):
        if wrong := [row for row in value if not isinstance(row, dict)]:
            raise ValueError(f"{where}: an entry must be an object, got {str(wrong[0])[:80]!r}.")
        return value
    if not isinstance(value, dict):
        raise ValueError(f"{where} must hold a list or an object, got {str(value)[:80]!r}.")
    tables = {key: v for key, v in value.items() if _is_table(v)}
    if isinstance(tables.get("sentences"), list) and isinstance(tables.get("videos"), list):
        facts = {str(row.get("video_id")): row for row in tables["videos"]}
        return [facts.get(str(row.get("video_id")), {}) | row for row in tables["sentences"]]
    if tables:
        return next(iter(tables.values()))
    return [{"video": file} | _as_row(said) for file, said in value.items()]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _as_row(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {"caption": said}


def _listed(row: dict[str, Any], where: str) -> Iterator[Listed]:
    """The videos of a row: one per column of files, several where a cell lists them."""
    keys = {str(key).strip().lower(): key for key in row}

    def cell(*columns: str) -> Any:
        return next((row[keys[c]] for c in columns if c in keys and row[keys[c]] is not None), None)

    files = _files(row, keys)
    words = words_in(row)
    if words is None or not files:
        raise ValueError(
            f"{where}: a row needs a file name in one of the columns {', '.join(FILES)}, and text "
            f"as words, got {str(row)[:80]}."
        )
    episode = cell(*EPISODES)
    if episode is None and len(files) > 1:
        episode = files[0][1]
    start, stop = (_seconds(cell(*columns)) for columns in (STARTS, STOPS))
    for camera, file in files:
        one = Listed(
            video=file.strip(),
            words=words,
            split=_text(cell(*SPLITS)),
            camera=camera or _text(cell(*CAMERAS)),
            episode=_text(episode),
            start=start,
            stop=stop,
        )
        yield from _parts(one, cell("sentences", *WORDS), cell("timestamps"))


def _parts(one: Listed, said: Any, times: Any) -> Iterator[Listed]:
    """A part of the video per sentence where a row has a time for each (ActivityNet's captions)."""
    if not isinstance(said, list) or not isinstance(times, list) or len(said) != len(times):
        yield one
        return
    for words, span in zip(said, times, strict=True):
        ends = [_seconds(time) for time in span] if isinstance(span, list) else []
        start, stop = ends if len(ends) == 2 else (None, None)
        yield replace(one, words=_clean([words]), start=start, stop=stop)


def _files(row: dict[str, Any], keys: dict[str, Any]) -> list[tuple[str, str]]:
    """Camera and name of each video of a row."""
    several = [key for key in keys if re.fullmatch(r"(.+_)?file_names?|videos|video_paths", key)]
    one = next((key for key in FILES if key in keys), None)
    ids = next((key for key in IDS if key in keys), None)
    if len(several) > 1 or (several and one in (None, several[0])):
        columns = several
    else:
        columns = [key for key in (one or ids,) if key is not None]
    found = []
    for column in columns:
        camera = re.sub(r"_?file_names?$|^videos$|^video_paths$", "", column)
        camera = camera if column in several and len(columns) > 1 else ""
        value = row[keys[column]]
        is_list = isinstance(value, list) and column in several
        for number, file in enumerate(value if is_list else [value]):
            if isinstance(file, dict):  # {"video_path": ...}, {"path": ...}
                file = next((file[key] for key in FILES if isinstance(file.get(key), str)), None)
            if isinstance(file, int) and column in IDS and not isinstance(file, bool):
                file = str(file)
            if not isinstance(file, str):
                return []
            part = str(number) if is_list and len(value) > 1 else ""
            found.append((".".join(filter(None, (camera, part))), file))
    return found


def words_in(row: dict[str, Any]) -> list[str] | None:
    """What a row of a list says of its video: several wordings, none, or None if it is no text.

    A number under `label` is that of a class, which is no caption.
    """
    keys = {str(key).strip().lower(): key for key in row}
    for column in WORDS:
        value = row[keys[column]] if column in keys else None
        # caption_0, caption_1 ...: each another wording
        more = [row[keys[k]] for k in keys if re.fullmatch(rf"{column}[_ ]?\d+", k)]
        said = [*(value if isinstance(value, list) else [value]), *more]
        said = [words for words in said if words is not None and words == words]  # NaN: no value
        if column.startswith("label"):
            said = [words for words in said if not isinstance(words, int | float)]
        if not all(isinstance(words, str) for words in said):
            return None
        if clean := _clean(said):
            return clean
    return []


def _clean(said: list[str]) -> list[str]:
    """Each once, without space around it, in order."""
    return list(dict.fromkeys(words.strip() for words in said if words.strip()))


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _seconds(value: Any) -> float | None:
    """Seconds of a number or of `00:01:02.5`; None where it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < 1e9 else None
    found = TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds
