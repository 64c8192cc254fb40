"""Lists of videos and their captions, in the forms that people and trainers use.

    .csv, .tsv, .jsonl, .parquet   a row per video or caption, columns for the file and the caption
    .json                          a list of such rows, or {"a.mp4": "caption"}, or either of them
                                   under a key: {"videos": [...], "sentences": [...]}
    captions.txt                   lines "path.mp4 <tab> caption"
    videos.txt and prompts.txt     line i of one belongs to line i of the other

Called by `captions`, which finds the videos. FILES, WORDS and so on are the known names of columns;
`file_name`, `*_file_name`, `file_names` and `*_file_names` are those of Hugging Face `datasets`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from aid.data.files import parse_json, read_json_lines, read_parquet, read_table, read_text
from aid.video import VIDEO_SUFFIXES

FILES = ("video", "file_name", "video_path", "file_path", "path", "filepath", "filename", "file")
FILES += ("media_path", "media", "clip_path", "video_file", "video_name", "clip_name")
IDS = ("video_id", "videoid", "clip_id", "id")
"""Columns that name a video without its suffix, if no other column names the file."""
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
    """A line of a list: a video, as the list names it, and its captions.

    `start` and `stop` are seconds; None if the list gives no times.
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
        name: of the list; of a pair, that of the videos.

    Raises:
        ValueError: the list is malformed, or the two lists of a pair differ in length.
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
    """The list of captions that belongs to a list of videos."""
    for videos, words in PAIRS:
        if path.name == videos and (folder / path.parent / words).is_file():
            return (path.parent / words).as_posix()
    return None


def _paired(folder: Path, videos: str, words: str) -> Iterator[Listed]:
    names = read_text(folder, videos).strip("\n").split("\n")
    captions = read_text(folder, words).strip("\n").split("\n")
    if len(names) != len(captions):
        raise ValueError(
            f"{str(folder)!r}: {videos} has {len(names)} lines and {words} has {len(captions)}. "
            "Line i of one must belong to line i of the other."
        )
    for name, line in zip(names, captions, strict=True):
        yield Listed(video=name.strip(), words=_clean([line]))


def _lines(folder: Path, name: str) -> Iterator[Listed]:
    for number, line in enumerate(read_text(folder, name).split("\n"), start=1):
        if line.strip():
            found = LINE.fullmatch(line.strip())
            if not found:
                raise ValueError(
                    f"{str(folder / name)!r}, line {number}: not a video and its caption. "
                    'Write "video.mp4<tab>caption".'
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
            yield {"video": first[0], "caption": first[1]}  # a table without a header
            table = [dict(zip(("video", "caption"), row.values(), strict=True)) for row in table]
        yield from table


def _rows_of_json(value: Any, where: str) -> list[dict[str, Any]]:
    """The rows of a list; of an object, its values by file, or its first list of rows."""
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
    return [{"video": file} | _as_row(entry) for file, entry in value.items()]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _as_row(entry: Any) -> dict[str, Any]:
    return entry if isinstance(entry, dict) else {"caption": entry}


def _listed(row: dict[str, Any], where: str) -> Iterator[Listed]:
    """The videos of a row: one per column of files, or several if a cell lists them."""
    keys = {str(key).strip().lower(): key for key in row}

    def cell(*columns: str) -> Any:
        return next((row[keys[c]] for c in columns if c in keys and row[keys[c]] is not None), None)

    files = _files(row, keys)
    words = words_in(row)
    if words is None or not files:
        raise ValueError(
            f"{where}: a row needs a file name in one of the columns {', '.join(FILES)}, and text "
            f"as captions, got {str(row)[:80]}."
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


def _parts(one: Listed, captions: Any, times: Any) -> Iterator[Listed]:
    """A part of the video per sentence if a row has a time for each (ActivityNet's captions)."""
    is_list = isinstance(captions, list) and isinstance(times, list)
    if not is_list or len(captions) != len(times):
        yield one
        return
    for words, span in zip(captions, times, strict=True):
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
    """The captions in a row of a list, possibly none; None if a caption is not text.

    A number under `label` is a class number, not a caption.
    """
    keys = {str(key).strip().lower(): key for key in row}
    for column in WORDS:
        value = row[keys[column]] if column in keys else None
        # caption_0, caption_1 ...: further wordings
        more = [row[keys[k]] for k in keys if re.fullmatch(rf"{column}[_ ]?\d+", k)]
        found = [*(value if isinstance(value, list) else [value]), *more]
        found = [words for words in found if words is not None and words == words]  # NaN: no value
        if column.startswith("label"):
            found = [words for words in found if not isinstance(words, int | float)]
        if not all(isinstance(words, str) for words in found):
            return None
        if clean := _clean(found):
            return clean
    return []


def _clean(texts: list[str]) -> list[str]:
    """Distinct texts without surrounding space, in order."""
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _seconds(value: Any) -> float | None:
    """Seconds of a number or of `00:01:02.5`; None if it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < 1e9 else None
    found = TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds
