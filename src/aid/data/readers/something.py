"""Something-Something V2: labels in JSON, videos as webm or as folders of extracted frames.

    labels/train.json, validation.json, test.json           as published; or annotations/, or
    something-something-v2-train.json ...                   beside the videos
    20bn-something-something-v2/78687.webm                  as published; or videos/, mp4
    rawframes/78687/img_00001.jpg                           extracted frames; or frames/

The instruction is the label: the template with its placeholders filled in. The test split has no
labels.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aid.data.files import read_json
from aid.data.readers import unopened_row
from aid.data.readers.caption_lists import FILES as COLUMNS_OF_FILES
from aid.types import VideoRow

SPLITS = ("train", "validation", "test")
LISTS = ("labels/{}.json", "annotations/{}.json", "something-something-v2-{}.json", "{}.json")
LISTS += ("labels/something-something-v2-{}.json", "annotations/something-something-v2-{}.json")
VIDEOS = ("20bn-something-something-v2/{}.webm", "videos/{}.webm", "videos/{}.mp4")
FRAMES = ("rawframes/{}", "frames/{}")
FPS = 12.0
"""The videos' own rate; extracted frames are assumed to have it."""


def is_something(folder: Path) -> bool:
    """Whether there is a list of labels, and the videos or frames that it names."""
    lists = [name for split in SPLITS if (name := _list_of(folder, split))]
    has_videos = any((folder / p).parent.is_dir() for p in (*VIDEOS, *FRAMES))
    return bool(lists) and has_videos and not any(map(partial(_is_other_list, folder), lists))


def _is_other_list(folder: Path, name: str) -> bool:
    """Whether a list called `train.json` is a list of captioned files, as many trainers use."""
    with (folder / name).open("rb") as file:
        head = file.read(4096).decode("utf-8", "replace")
    return any(f'"{column}"' in head for column in (*COLUMNS_OF_FILES, "caption", "text"))


def read_something(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per label, in the order of the lists.

    Raises:
        ValueError: a list is malformed.
    """
    kinds = [pattern for pattern in (*VIDEOS, *FRAMES) if (folder / pattern).parent.is_dir()]
    for split in SPLITS:
        name = _list_of(folder, split)
        if name is None:
            continue
        if split == "test":
            notes.append("the test split has no labels.")
        for entry in read_json(folder, name, list):
            where = repr(str(folder / name))
            number = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(number, str | int) or not str(number).isalnum():
                raise ValueError(f"{where}: an entry needs an id, got {str(entry)[:80]}.")
            paths = [kind.format(number) for kind in kinds]
            video = next((path for path in paths if (folder / path).exists()), paths[0])
            is_file = "." in video.rpartition("/")[2]
            yield unopened_row(
                [_label(entry, where)],
                id=str(number),
                video=video,
                fps=0.0 if is_file else FPS,
                split=split,
            )


def _list_of(folder: Path, split: str) -> str | None:
    return next((p.format(split) for p in LISTS if (folder / p.format(split)).is_file()), None)


def _label(entry: dict, where: str) -> str:
    """The label, or the template with its placeholders filled in."""
    label, template = entry.get("label"), entry.get("template")
    if isinstance(label, str):
        return label.strip()
    if template is None:
        return ""
    words = entry.get("placeholders")
    if not isinstance(template, str) or not isinstance(words, list):
        raise ValueError(f"{where}: entry {entry['id']!r} has a template without placeholders.")
    parts = template.split("[")
    if len(parts) != len(words) + 1 or not all("]" in part for part in parts[1:]):
        raise ValueError(
            f"{where}: entry {entry['id']!r} has {len(words)} placeholders for {template!r}."
        )
    filled = [str(w) + part.partition("]")[2] for w, part in zip(words, parts[1:], strict=True)]
    return "".join([parts[0], *filled]).strip()
