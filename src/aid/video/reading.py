"""Reads videos and pictures in processes with limits on memory and time (`confined`).

All commands read files through this module, except the studio, which has its own limits
(`aid.web.uploads`). Functions whose names end in `_there` run in those processes.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from aid.video import pictures
from aid.video.confined import Answer, readers
from aid.video.decoding import (
    ANIMATED_SUFFIXES,
    VIDEO_SUFFIXES,
    Header,
    constant_rate,
    decode,
    nearest,
)
from aid.video.decoding import is_video as is_video_file
from aid.video.decoding import read_header as header_of
from aid.video.folders import list_frames
from aid.video.notes import Note
from aid.video.packets import count_frames
from aid.video.sampling import Sampled, Sampling, sample

MEGABYTES, MEGABYTES_OF_ALL = 2000, 4000
"""Memory for reading some frames of a file, and for reading all: about 600 of 1920 x 1080."""
SECONDS, SECONDS_PER_MEGABYTE = 60.0, 5.0
"""Wall-clock time for reading a file: a long video is large, a hostile file is small."""
FOLDER_SECONDS = 600.0
"""Likewise for a folder of pictures."""


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
        ValueError: the file is missing, not a video, damaged or incomplete, or reading it takes too
            much memory or time.
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
    """An image file as upright RGB, and notes.

    Raises:
        ValueError: the file is missing, not an image, its values have no known range, or reading it
            takes too much memory or time.
    """
    answer = _ask(_picture_there, "frame", path)
    return answer.arrays[0], list(_notes(answer))


def _picture_there(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    pixels, notes = pictures.read_picture(Path(path))
    return _facts(tuple(notes)), [pixels]


def read_first(
    path: Path, number: int, fps: float
) -> tuple[list[UInt8[np.ndarray, "_ _ 3"]], int | None, tuple[Note, ...]]:
    """The first frames of a video at a rate, or the one frame of a picture.

    Args:
        path: of the file.
        number: of frames.
        fps: frames a second.

    Returns:
        The frames, none if a video has fewer than `number`; how many a video has at that rate, None
        for a picture; and notes.

    Raises:
        ValueError: the file is missing or damaged, or reading it takes too much memory or time.
    """
    answer = _ask(_first_there, "frame", path, number=number, fps=fps)
    return answer.arrays, answer.value["available"], _notes(answer)


def _first_there(path: str, number: int, fps: float) -> tuple[dict[str, Any], list[np.ndarray]]:
    file = Path(path)
    if not (file.is_file() and is_video_file(file)):
        pixels, notes = pictures.read_picture(file)
        return _facts(tuple(notes), available=None), [pixels]
    available = 0

    def choose(times: Float[np.ndarray, " n"]) -> list[int]:
        nonlocal available
        own = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
        available = 1 + int((times[-1] + own / 2) * fps)
        return nearest(times, np.arange(number) / fps) if available >= number else []

    made = decode(file, 0.0, None, choose)
    notes = made.notes
    if number == 1 and file.suffix.lower() in ANIMATED_SUFFIXES and pictures.is_animated(file):
        notes = (*notes, pictures.FIRST_OF_SEVERAL)
    return _facts(notes, available=available), made.frames


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """An image file as upright RGB; notes become warnings.

    Raises:
        ValueError: as for `read_picture`.
    """
    pixels, notes = read_picture(path)
    for note in notes:
        warnings.warn(f"{str(path)!r}: {note}.", stacklevel=2)
    return pixels


def read_header(path: Path) -> Header:
    """The header of a video file; one frame is decoded for its size.

    Frames are counted if the header does not give their number.

    Raises:
        ValueError: the file is missing or not a video.
    """
    return Header(**_ask(_header_there, "video", path).value)


def _header_there(path: str) -> tuple[dict[str, Any], list[np.ndarray]]:
    found = asdict(header_of(Path(path)))
    return found | {"num_frames": found["num_frames"] or count_frames(Path(path))}, []


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture, from its header; zeros if it cannot be read."""
    try:
        height, width = _ask(_size_there, "picture", path).value
    except ValueError:
        return 0, 0
    return height, width


def _size_there(path: str) -> tuple[tuple[int, int], list[np.ndarray]]:
    return pictures.picture_size(Path(path)), []


def is_video(path: Path) -> bool:
    """Whether a file is a video: by its suffix, or if it may be animated, by its content."""
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


def _ask(
    function: Callable, kind: str, path: Path, keeps_all: bool = False, **arguments: Any
) -> Answer:
    """Calls a function of this module in one of the processes.

    Args:
        function: its first argument is the path.
        kind: what the file is called in errors.
        path: of a file or a folder of pictures.
        keeps_all: whether all frames are kept, which may take more memory.
        arguments: more of them, by name, as JSON values.

    Raises:
        ValueError: the function's own, or reading takes too much memory or time.
    """
    name = f"{kind} {str(path)!r}"
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{name} is a pipe or a device, not a file.")
    try:
        return readers(os.cpu_count() or 1).ask(
            f"{__name__}:{function.__name__}",
            {"path": str(path), **arguments},
            name=name,
            megabytes=MEGABYTES_OF_ALL if keeps_all else MEGABYTES,
            seconds=_seconds(path),
        )
    except RuntimeError as error:  # decoders may raise anything for a hostile file
        raise ValueError(f"{name} cannot be decoded ({error}).") from None


def _seconds(path: Path) -> float:
    """Seconds that reading may take."""
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
