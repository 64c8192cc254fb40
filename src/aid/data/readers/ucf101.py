"""UCF-101: avi files in a folder per class, and the three official lists.

    UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi      or the class folders themselves
    ucfTrainTestlist/trainlist01.txt, testlist01.txt ...     or the lists beside the videos

Splits `train` and `test` are those of list 1; `train01` to `test03` name a list. There are no
instructions; the name of the class in words is used as one.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from aid.data.files import read_text
from aid.data.readers import unopened_row
from aid.types import VideoRow

FOLDERS = ("ucfTrainTestlist", ".", "splits", "annotations")
NAME = re.compile(r"v_\w+_g\d+_c\d+")


def is_ucf101(folder: Path) -> bool:
    """Whether the first official list is there."""
    return _lists(folder) is not None


def read_ucf101(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per listed video, in the order of the lists.

    Raises:
        ValueError: a line of a list does not name a video of UCF-101.
    """
    lists = _lists(folder) or ""
    splits: dict[str, list[str]] = {}
    for number in ("01", "02", "03"):
        for split in ("train", "test"):
            name = f"{lists}/{split}list{number}.txt"
            if (folder / name).is_file():
                for video in _videos(folder, name):
                    splits.setdefault(video, []).append(f"{split}{number}")
    notes.append(
        "the official lists keep the 25 groups of a class apart; random splits leak, because the "
        "videos of a group come from one recording."
    )
    root = next((r for r in ("UCF-101", "UCF101", "videos") if (folder / r).is_dir()), ".")
    for video, lists_of in splits.items():
        first = next((name for name in lists_of if name.endswith("01")), "")
        yield unopened_row(
            [class_in_words(video.split("/")[0])],
            id=Path(video).stem,
            video=f"{root}/{video}" if root != "." else video,
            split=first.removesuffix("01"),
            world={"episode": Path(video).stem.rpartition("_c")[0], "also_in": lists_of},
        )


def class_in_words(name: str) -> str:
    """`ApplyEyeMakeup` as "apply eye makeup"."""
    return " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)).lower()


def _lists(folder: Path) -> str | None:
    return next((f for f in FOLDERS if (folder / f / "trainlist01.txt").is_file()), None)


def _videos(folder: Path, name: str) -> Iterator[str]:
    """Paths `Class/v_Class_g01_c01.avi` of a list; lists for training add the class number."""
    for number, line in enumerate(read_text(folder, name).splitlines(), start=1):
        words = line.split()
        if words:
            path = Path(words[0])
            if len(path.parts) != 2 or not NAME.fullmatch(path.stem):
                raise ValueError(
                    f"{str(folder / name)!r}, line {number}: {line[:80]!r} is not a video."
                )
            yield words[0]
