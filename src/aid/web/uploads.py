"""A file from a stranger -> the frames a model reads, within limits and by content only.

Nothing is decoded before the header has been checked. Formats are named to the decoders, so that a
file cannot choose another one (a playlist that names files of this machine, for example), and they
read from an open file, so that there is no path or address to follow. Whatever asks a decoder, even
for a header, runs in a process of its own, with limits on memory and time.
"""

import errno
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Condition
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aid.video import Note
from aid.video.colour import Unreadable, square_width
from aid.video.confined import Owner, readers
from aid.video.decoding import first_frames, nearest
from aid.video.packets import main_stream
from aid.video.pictures import FIRST_OF_SEVERAL, durations_of, frames_of, number_of_frames, opened
from aid.video.tables import check_tables
from aid.web.limits import Limits

IMAGES = {"PNG": "PNG", "JPEG": "JPEG", "GIF": "GIF", "WEBP": "WEBP"}
VIDEOS = {"MP4": "mp4", "WebM or Matroska": "matroska", "AVI": "avi"}
LONGEST_SIDE = 2048
"""Pixels that are kept; models read fewer."""
IMAGE_COST, VIDEO_COST = 13, 36
"""Bytes a pixel while decoding: planes, RGB and reference frames."""
PATIENCE = 60.0
"""Seconds that a request waits for memory."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file's header says. `decoder` is Pillow's or libav's name of the format."""

    decoder: str
    is_video: bool
    width: int
    height: int

    @property
    def cost(self) -> int:
        """Bytes that decoding may take, roughly and rather too many."""
        return self.width * self.height * (VIDEO_COST if self.is_video else IMAGE_COST)


class Budget:
    """Memory that all requests share for decoding.

    Args:
        total: in bytes.
        patience: seconds that a request waits for others.
    """

    def __init__(self, total: int, patience: float = PATIENCE) -> None:
        self.total, self.patience, self.used = total, patience, 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Holds the amount for the block, once it is free.

        Raises:
            ValueError: it is more than there is, or others did not give it back in time.
        """
        if amount > self.total:
            raise ValueError(
                f"decoding this file needs about {amount / 1e6:.0f} MB; the limit is "
                f"{self.total / 1e6:.0f} MB. Give a smaller picture."
            )
        with self._changed:
            if not self._changed.wait_for(
                lambda: self.used + amount <= self.total, timeout=self.patience
            ):
                raise ValueError("too many files are being read at the moment. Try again soon.")
            self.used += amount
        try:
            yield
        finally:
            with self._changed:
                self.used -= amount
                self._changed.notify_all()


class Uploads:
    """Reads files that visitors sent, in the processes of `aid.video.confined`.

    Args:
        limits: of one file, and of memory for all.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.budget = Budget(limits.decoded_megabytes * 1_000_000)

    def read(
        self,
        path: Path | None,
        number: int = 1,
        fps: float | None = None,
        owner: Owner = ("", ""),
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> UInt8[np.ndarray, "k H W 3"]:
        """The first frames: `number` of a video or an animated image, fewer if it ends; upright.

        What was done to the file beyond plain decoding is a warning. Sides above 2048 pixels are
        scaled down, so that what is kept is small.

        Args:
            path: of the file.
            number: of frames.
            fps: frames a second, by the times at which they are shown; None takes all.
            owner: the visitor who sent it, for fair turns among those who wait.
            is_cancelled: whether the visitor has left; then the reading ends.

        Raises:
            ValueError: there is no file, or it is of another kind, damaged or too big, or reading
                it takes too much time or memory.
            Cancelled: the visitor has left.
        """
        self._check(path)
        read = partial(
            readers().ask,
            megabytes=self.limits.decoded_megabytes,
            seconds=self.limits.reading_seconds,
            owner=owner,
            is_cancelled=is_cancelled,
        )
        arguments = {"path": str(path), "limits": asdict(self.limits)}
        header = Header(**read("aid.web.uploads:read_header", arguments).value)
        kept = number * 3 * min(header.width * header.height, LONGEST_SIDE**2)
        with self.budget.reserve(header.cost + (kept if header.is_video or number > 1 else 0)):
            wanted = {"number": number, "fps": fps}
            answer = read("aid.web.uploads:read_frames", arguments | wanted)
        for note in answer.value:
            warnings.warn(f"the uploaded file: {note}.", stacklevel=2)
        return answer.arrays[0]

    def _check(self, path: Path | None) -> None:
        """Size and first bytes of the file, without a decoder."""
        if path is None:
            raise ValueError("there is no frame yet. Drop an image, or pick one of the examples.")
        if not path.is_file():
            raise ValueError("the file is gone; files are kept for an hour. Upload it again.")
        size = path.stat().st_size
        if size > self.limits.megabytes * 1_000_000:
            raise ValueError(
                f"the file has {size / 1e6:.1f} MB; the limit is {self.limits.megabytes} MB."
            )
        with path.open("rb") as stream:
            if kind_of(stream.read(64)) is None:
                raise ValueError(
                    "the file is neither an image nor a video, by its content. Known: "
                    f"{', '.join([*IMAGES, *VIDEOS])}."
                )


def read_header(path: str, limits: dict[str, Any]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What a file's header says, as the fields of `Header`; runs in a reading process.

    Args:
        path: of a file that is an image or a video by its first bytes.
        limits: the fields of `Limits`.

    Raises:
        ValueError: it is damaged or too big.
    """
    return asdict(_header(Path(path), Limits(**limits))), []


def read_frames(
    path: str, limits: dict[str, Any], number: int, fps: float | None
) -> tuple[list[str], list[np.ndarray]]:
    """Notes and the first frames of a file; runs in a reading process.

    Args:
        path: as for `read_header`.
        limits: as for `read_header`.
        number: of frames.
        fps: as for `Uploads.read`.

    Raises:
        ValueError: as for `read_header`, or the file breaks off.
    """
    bounds = Limits(**limits)
    header = _header(Path(path), bounds)
    try:
        if header.is_video:
            frames, notes = _decode_video(Path(path), header, bounds, number, fps)
        else:
            frames, notes = _decode_image(Path(path), header, number, fps)
    except Unreadable as error:
        raise ValueError(f"the file {error}.") from None
    except MemoryError:
        raise
    except Exception:  # decoders raise anything on a hostile file
        raise ValueError("the file is damaged: it could not be decoded.") from None
    return [str(note) for note in dict.fromkeys(notes)], [frames]


def _header(path: Path, limits: Limits) -> Header:
    with path.open("rb") as stream:
        kind = kind_of(stream.read(64))
    if kind in IMAGES:
        return _image_header(path, IMAGES[kind], limits)
    return _video_header(path, VIDEOS[kind or "MP4"], limits)


def _image_header(path: Path, decoder: str, limits: Limits) -> Header:
    try:
        with Image.open(path, formats=[decoder]) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise ValueError(_too_many_pixels("too many to count", limits)) from None
    except MemoryError:
        raise
    except Exception:  # as above
        raise ValueError(f"the {decoder} file is damaged: its header cannot be read.") from None
    return _checked(Header(decoder=decoder, is_video=False, width=width, height=height), limits)


def _video_header(path: Path, decoder: str, limits: Limits) -> Header:
    try:
        with _opened(path, decoder, limits) as container:
            stream, _ = main_stream(container)
            width, height = stream.codec_context.width, stream.codec_context.height
            width = max(width, square_width(width, stream.sample_aspect_ratio))
            lengths = [float(container.duration or 0) / av.time_base]
            if stream.duration and stream.time_base:
                lengths.append(float(stream.duration * stream.time_base))
    except Unreadable as error:
        raise ValueError(f"the video file {error}.") from None
    except (av.FFmpegError, OSError, UnicodeError) as error:
        if error.args and error.args[0] == errno.ENOMEM:
            raise MemoryError from None
        raise ValueError("the video file is damaged: its header cannot be read.") from None
    if max(lengths) > limits.seconds:
        raise ValueError(
            f"the video lasts {max(lengths):.0f} s; the limit is {limits.seconds:g} s."
        )
    return _checked(Header(decoder=decoder, is_video=True, width=width, height=height), limits)


def _checked(header: Header, limits: Limits) -> Header:
    if header.width < 1 or header.height < 1:
        raise ValueError("the file does not say how large its picture is.")
    if header.width * header.height > limits.megapixels * 1_000_000:
        raise ValueError(_too_many_pixels(f"{header.width}x{header.height}", limits))
    return header


def _too_many_pixels(size: str, limits: Limits) -> str:
    return f"the picture has too many pixels ({size}); the limit is {limits.megapixels:g} million."


@contextmanager
def _opened(path: Path, decoder: str, limits: Limits) -> Iterator[av.container.InputContainer]:
    # A stream can announce one size in the container and another inside; libav itself then refuses
    # the latter.
    check_tables(path)
    most = {"max_pixels": str(int(limits.megapixels * 1_000_000))}
    with path.open("rb") as stream, av.open(stream, format=decoder, options=most) as container:
        for one in container.streams.video:
            one.codec_context.options = most
            one.codec_context.thread_count = 1
        yield container


def _decode_image(
    path: Path, header: Header, number: int, fps: float | None
) -> tuple[UInt8[np.ndarray, "k H W 3"], list[Note]]:
    notes: list[Note] = []
    with opened(path, [header.decoder]) as image:
        wanted = list(range(min(number, number_of_frames(image))))
        if fps is not None and len(wanted) > 1:
            wanted = _numbers_at_rate(durations_of(image), number, fps)
        small = (_small(pixels) for pixels in frames_of(image, set(wanted), notes))
        made = dict(zip(sorted(set(wanted)), small, strict=True))
        frames = [made[place] for place in wanted]
        if number == 1 and number_of_frames(image) > 1:
            notes.append(FIRST_OF_SEVERAL)
    return np.stack(frames), notes


def _decode_video(
    path: Path, header: Header, limits: Limits, number: int, fps: float | None
) -> tuple[UInt8[np.ndarray, "k H W 3"], list[Note]]:
    frames: list[np.ndarray] = []
    notes: list[Note] = []
    with _opened(path, header.decoder, limits) as container:
        for pixels, more in first_frames(container, number, fps):
            frames.append(_small(pixels))
            notes += more
    return np.stack(frames), notes


def _numbers_at_rate(durations: list[float], number: int, fps: float) -> list[int]:
    """The numbers of an animation's frames that are nearest to 0, 1 / fps, ... seconds."""
    ends = np.cumsum(durations)
    starts, moments = ends - durations, np.arange(number) / fps
    return nearest(starts, moments[moments <= ends[-1] - durations[-1] / 2])


def kind_of(head: bytes) -> str | None:
    """The kind of a file by its first bytes; None for all that is neither image nor video."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "WEBP", b"AVI ": "AVI"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return "MP4"
    return "WebM or Matroska" if head.startswith(b"\x1a\x45\xdf\xa3") else None


def _small(pixels: np.ndarray) -> np.ndarray:
    if max(pixels.shape[:2]) <= LONGEST_SIDE:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return np.asarray(image)
