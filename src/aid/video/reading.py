"""Videos and pictures of data sets, read by processes with limits on memory and time (`confined`).

The one way from a file to pixels for every command but the studio, which has limits of its own
(`aid.web.uploads`). The functions whose names end in `_there` are called in those processes.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from aid.video import pictures
from aid.video.confined import Answer, readers
from aid.video.decoding import (
    ANIMATED_SUFFIXES,
    VIDEO_SUFFIXES,
    Header,
    constant_rate,
    decode,
)
from aid.video.decoding import read_header as header_of
from aid.video.folders import list_frames
from aid.video.notes import Note
from aid.video.packets import count_frames
from aid.video.sampling import Sampled, Sampling, sample

MEGABYTES, MEGABYTES_OF_ALL = 2000, 4000
"""That reading one file may take, and where all its frames are kept: about 600 of 1920 x 1080."""
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0
"""That reading one file may take, by the clock: a long video is large, a hostile file is small."""
FOLDER_SECONDS = 600.0
"""For a folder of pictures."""


@dataclass(frozen=True)
class Clip:
    """A whole video at a constant rate.

    `pixels` are uint8 RGB `f H W 3`. Where the file's own rate varies, frames are repeated as long
    as they are shown.
    """

    pixels: UInt8[np.ndarray, "f H W 3"]
    fps: float
    notes: tuple[Note, ...]


def read_clip(path: Path) -> Clip:
    """All frames of a video file, in order, at a constant rate.

    Raises:
        ValueError: the file is missing, is no video, is damaged or breaks off, or reading it takes
            too much memory or time.
    """
    answer = _ask(_clip_there, "video", path, keeps_all=True)
    *frames, shown = answer.arrays
    pixels = np.stack(frames)
    if len(shown):
        pixels = pixels[shown.view(np.int32)]
    return Clip(pixels, answer.value["fps"], _notes(answer))


def _clip_there(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    made = decode(Path(path), 0.0, None, lambda seconds: range(len(seconds)))
    shown, fps, notes = constant_rate(made)
    repeated = np.zeros(0, np.int32) if shown is None else shown.astype(np.int32)
    return _facts(notes, fps=fps), [*made.frames, repeated.view(np.uint8)]


def read_video(path: Path) -> UInt8[np.ndarray, "f H W 3"]:
    """All frames of a video file, in order; frames of a variable rate are repeated by time.

    Raises:
        ValueError: as for `read_clip`.
    """
    return read_clip(path).pixels


def read_sampled(path: Path, wanted: Sampling) -> Sampled:
    """Some frames of a video file or of a folder of pictures.

    Raises:
        ValueError: it is missing, damaged or without a frame, or reading it takes too much memory
            or time.
    """
    keeps_all = wanted.num_frames is None
    answer = _ask(_sampled_there, "video", path, keeps_all, wanted=asdict(wanted))
    length, seconds = answer.value["length"], float(answer.value["seconds"])
    return Sampled(answer.arrays, length, seconds, _notes(answer))


def _sampled_there(path: str, wanted: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    size = None if wanted["size"] is None else tuple(wanted["size"])
    made = sample(Path(path), Sampling(**wanted | {"size": size}))
    return _facts(made.notes, length=made.length, seconds=made.seconds), made.frames


def read_folder(
    folder: Path, is_sorted: bool = True
) -> tuple[UInt8[np.ndarray, "f H W 3"], tuple[Note, ...]]:
    """The pictures of a folder as a video, in the order of their numbers, and notes of them.

    Args:
        folder: with a picture for each frame.
        is_sorted: False takes them as the file system lists them, as the reference evaluator does.

    Raises:
        ValueError: a picture is damaged or of another size.
    """
    answer = _ask(_folder_there, "folder", folder, keeps_all=True, is_sorted=is_sorted)
    return np.stack(answer.arrays), _notes(answer)


def _folder_there(path: str, is_sorted: bool) -> tuple[dict[str, Any], list[np.ndarray]]:
    found = list_frames(Path(path))
    paths, notes = list(found.files), [*found.notes]
    if not is_sorted:
        paths = [one for one in Path(path).iterdir() if one in set(paths)]
    made = []
    for one in paths:
        pixels, more = pictures.read_picture(one)
        made.append(pixels)
        notes += more
    if len({pixels.shape for pixels in made}) != 1:
        raise ValueError(f"{path!r} holds pictures of several sizes, or none.")
    return _facts(tuple(dict.fromkeys(notes))), made


def read_picture(path: Path) -> tuple[UInt8[np.ndarray, "H W 3"], list[Note]]:
    """An image file as RGB, upright, and what there is to say about it.

    Raises:
        ValueError: the file is missing, is no image, its values have no known range, or reading it
            takes too much memory or time.
    """
    answer = _ask(_picture_there, "frame", path)
    return answer.arrays[0], list(_notes(answer))


def _picture_there(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    pixels, notes = pictures.read_picture(Path(path))
    return _facts(tuple(notes)), [pixels]


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as RGB, upright; what there is to say about it is a warning.

    Raises:
        ValueError: as for `read_picture`.
    """
    pixels, notes = read_picture(path)
    for note in notes:
        warnings.warn(f"{str(path)!r}: {note}.", stacklevel=2)
    return pixels


def read_header(path: Path) -> Header:
    """What a video file says of itself, at the cost of one frame.

    Where it does not say how many frames it has, they are counted.

    Raises:
        ValueError: the file is missing or is no video.
    """
    return Header(**_ask(_header_there, "video", path).value)


def _header_there(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    found = asdict(header_of(Path(path)))
    return found | {"num_frames": found["num_frames"] or count_frames(Path(path))}, []


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture held upright, from its header; zeros where it has none."""
    try:
        height, width = _ask(_size_there, "picture", path).value
    except ValueError:
        return 0, 0
    return height, width


def _size_there(path: str) -> tuple[tuple[int, int], list[np.ndarray]]:
    return pictures.picture_size(Path(path)), []


def is_video(path: Path) -> bool:
    """Whether a file is a video by its ending; of pictures that may be animated, by its content."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    if suffix not in ANIMATED_SUFFIXES or not path.is_file():
        return False
    try:
        return bool(_ask(_animated_there, "picture", path).value)
    except ValueError:
        return False


def _animated_there(path: str) -> tuple[bool, list[np.ndarray]]:
    return pictures.is_animated(Path(path)), []


def ask_about(
    function: str, kind: str, path: Path, *, keeps_all: bool = False, **arguments: Any
) -> Answer:
    """What a function says of a file, called in one of the processes.

    Args:
        function: `package.module:name`, as for `Readers.ask`; its first argument is the path.
        kind: what the file is called in errors.
        path: of a file or a folder of pictures.
        keeps_all: whether all frames are kept, which may take more memory.
        arguments: more of them, by name, as JSON holds them.

    Raises:
        ValueError: the function's own, or reading takes too much memory or time.
    """
    name = f"{kind} {str(path)!r}"
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{name} is a pipe or a device, not a file.")
    try:
        return readers(os.cpu_count() or 1).ask(
            function,
            {"path": str(path), **arguments},
            name=name,
            megabytes=MEGABYTES_OF_ALL if keeps_all else MEGABYTES,
            seconds=_seconds(path),
        )
    except RuntimeError as error:  # decoders raise anything on a hostile file
        raise ValueError(f"{name} cannot be decoded ({error}).") from None


def _ask(
    function: Callable, kind: str, path: Path, keeps_all: bool = False, **arguments: Any
) -> Answer:
    name = f"{__name__}:{function.__name__}"
    return ask_about(name, kind, path, keeps_all=keeps_all, **arguments)


def _seconds(path: Path) -> float:
    """That reading may take."""
    try:
        if path.is_dir():
            return FOLDER_SECONDS
        return SECONDS + SECONDS_PER_MEGABYTE * path.stat().st_size / 1e6
    except OSError:
        return SECONDS


def _facts(notes: tuple[Note, ...], **facts: Any) -> dict[str, Any]:
    return facts | {"notes": [[note.text, note.number] for note in notes]}


def _notes(answer: Answer) -> tuple[Note, ...]:
    return tuple(Note(text, number) for text, number in answer.value["notes"])
