"""Finds the frames in a folder of pictures, and their order.

Other files are left out with a note: hidden ones, thumbnails, depth and masks, other cameras.
Frames are ordered by the numbers in their names.
"""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aid.video.notes import Note

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".jp2", ".ppm",
     ".pgm", ".avif"}
)  # fmt: skip
HIDDEN = "hidden files are left out (names that begin with a dot, such as macOS writes)"
NO_PICTURE = "files that are no pictures are left out"
NO_FRAME = "pictures that are no frames by their names are left out (thumbnails, depth, masks, ...)"
OTHER_SERIES = "pictures of another series of names than most are left out"
OTHER_KIND = "pictures that another file with the same number stands for are left out"
SEVERAL_NUMBERS = Note(
    "the names of frames hold several numbers and could be ordered in two ways; the first number "
    "counts first"
)
DECIMALS = Note(
    "the numbers of frames could be decimals or two numbers; they are taken as decimals"
)
TWO_NUMBERS = Note(
    "the numbers of frames could be decimals or two numbers; they are taken as two numbers"
)
MIXED_PADDING = Note(
    "the numbers of frames have leading zeros in some names only; they are ordered by value"
)
NO_NUMBERS = Note("the names of frames hold no numbers; they are ordered by the alphabet")
GAPS = "numbers of frames are missing; the frames that are there are taken one after another"

NO_FRAMES = re.compile(
    r"(?<![a-z])(thumbs?|thumbnails?|depths?|disparity|masks?|seg|segmentation|labels?|annotations?|"
    r"flow|normals?|alpha|matte|infrared|ir|cover|poster|preview|contact_?sheet)(?![a-z])"
)
NUMBER = re.compile(r"\d+")
PREFERRED = (".jpg", ".jpeg", ".png")
"""Of two files with the same number; a PNG beside a JPEG is often a mask."""


@dataclass(frozen=True)
class FrameFiles:
    """The frames of a folder in order, and notes."""

    files: tuple[Path, ...]
    notes: tuple[Note, ...]


def frame_files(folder: Path) -> list[Path]:
    """The frame images of a folder in the order of their numbers (`frame_10` after `frame_9`)."""
    return list(list_frames(folder).files)


def list_frames(folder: Path) -> FrameFiles:
    """As `frame_files`, with notes about files left out, gaps, and uncertain orders."""
    return _listed(folder, folder.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)  # a folder of an hour's frames has hundreds of spans
def _listed(folder: Path, changed: int) -> FrameFiles:
    left: Counter[str] = Counter()
    series: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            continue
        if reason := _no_frame(path):
            left[reason] += 1
        else:
            series.setdefault(NUMBER.sub("#", path.stem.lower()), []).append(path)
    if not series:  # only thumbnails or masks: then they are the frames
        for path in sorted(folder.iterdir()):
            if _no_frame(path) == NO_FRAME:
                series.setdefault(NUMBER.sub("#", path.stem.lower()), []).append(path)
        left.pop(NO_FRAME, None)
    files = _one_series(series, left)
    files, notes = _ordered(files, left)
    counted = [Note(text, number) for text, number in left.items()]
    return FrameFiles(tuple(files), (*counted, *notes))


def _no_frame(path: Path) -> str:
    """The reason why a file is not a frame; "" if it may be one."""
    if path.name.startswith("."):
        return HIDDEN
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return NO_PICTURE
    return NO_FRAME if NO_FRAMES.search(path.stem.lower()) else ""


def _one_series(series: dict[str, list[Path]], left: Counter[str]) -> list[Path]:
    """The files of the largest series; all files if names have only numbers in common."""
    everything = [path for files in series.values() for path in files]
    numbered = {name: files for name, files in series.items() if "#" in name}
    largest = max(map(len, numbered.values()), default=0)
    if len(series) <= 1 or largest * 2 <= len(everything) < 2 * len(series):
        return everything
    chosen = min((n for n, files in numbered.items() if len(files) == largest), key=_plainness)
    left[OTHER_SERIES] += len(everything) - largest
    return numbered[chosen]


def _plainness(name: str) -> tuple[int, str]:
    return len(name), name


def _ordered(files: list[Path], left: Counter[str]) -> tuple[list[Path], list[Note]]:
    """The files by their numbers, one for each number."""
    numbers_of = {path: NUMBER.findall(path.stem) for path in files}
    if (
        len(files) < 2
        or len({len(numbers) for numbers in numbers_of.values()}) > 1
        or not numbers_of[files[0]]
    ):
        notes = [NO_NUMBERS] if len(files) > 1 else []
        return sorted(files, key=lambda path: (list(map(int, numbers_of[path])), path.name)), notes
    by_number = _one_each(files, numbers_of, left)
    files = [by_number[numbers] for numbers in sorted(by_number)]
    varying = [place for place in range(len(next(iter(by_number)))) if _varies(by_number, place)]
    notes: list[Note] = []
    if len(varying) == 2 and varying[1] == varying[0] + 1 and _is_dotted(files[0], varying[0]):
        files, notes = _perhaps_decimal(files, numbers_of, varying[1])
    elif len(varying) > 1:
        if sorted(by_number) != sorted(by_number, key=lambda n: [n[p] for p in reversed(varying)]):
            notes = [SEVERAL_NUMBERS]
    elif varying:
        if _is_padded_unevenly([numbers_of[path][varying[0]] for path in files]):
            notes = [MIXED_PADDING]
        if missing := _missing([numbers[varying[0]] for numbers in sorted(by_number)]):
            left[GAPS] += missing
    return files, notes


def _one_each(
    files: list[Path], numbers_of: dict[Path, list[str]], left: Counter[str]
) -> dict[tuple[int, ...], Path]:
    """One file per number, preferably of the most frequent suffix."""
    number_of = Counter(path.suffix.lower() for path in files)

    def rank(path: Path) -> tuple[int, int, str]:
        suffix = path.suffix.lower()
        place = PREFERRED.index(suffix) if suffix in PREFERRED else len(PREFERRED)
        return -number_of[suffix], place, path.name

    made: dict[tuple[int, ...], Path] = {}
    for path in sorted(files, key=rank):
        made.setdefault(tuple(map(int, numbers_of[path])), path)
    if len(made) < len(files):
        left[OTHER_KIND] += len(files) - len(made)
    return made


def _varies(numbers: Iterable[tuple[int, ...]], place: int) -> bool:
    return len({one[place] for one in numbers}) > 1


def _is_dotted(path: Path, place: int) -> bool:
    """Whether only a point separates two numbers of a name."""
    return NUMBER.split(path.stem)[place + 1] == "."


def _perhaps_decimal(
    files: list[Path], numbers_of: dict[Path, list[str]], place: int
) -> tuple[list[Path], list[Note]]:
    """Orders names such as 0.25 and 0.5: decimals, unless the second number counts up by ones."""
    as_decimals = sorted(
        files, key=lambda path: (int(numbers_of[path][place - 1]), numbers_of[path][place])
    )
    if as_decimals == files:
        return files, []
    counters: dict[str, list[int]] = {}
    for path in files:
        counters.setdefault(numbers_of[path][place - 1], []).append(int(numbers_of[path][place]))
    if all(max(some) - min(some) == len(some) - 1 for some in counters.values()):
        return files, [TWO_NUMBERS]
    return as_decimals, [DECIMALS]


def _is_padded_unevenly(numbers: list[str]) -> bool:
    widths = {len(number) for number in numbers if number.startswith("0") and len(number) > 1}
    if not widths:
        return False
    return len(widths) > 1 or min(map(len, numbers)) < max(widths)


def _missing(numbers: list[int]) -> int:
    """How many numbers are missing in a series of mostly equal steps."""
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    step, times = Counter(steps).most_common(1)[0]
    if 2 * times < len(steps):
        return 0  # times, not counters
    return sum(max(0, round(one / step) - 1) for one in steps)
