"""Picture files as upright 8-bit sRGB, and animated ones as videos.

Orientation and mirroring follow EXIF, 16 bits are scaled to 8, colour profiles are converted to
sRGB, transparency is composited over white. Values without a known range (floating point, 32-bit
integers) are refused.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from aid.video.colour import ALPHA, HLG, PQ, Pixels, Unreadable, over_white
from aid.video.notes import Note

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
FIRST_OF_SEVERAL = Note("of a picture with several frames or pages the first is taken")
NO_PROFILE = Note("a colour profile that cannot be read is ignored; colours are taken as sRGB")
ORIENTATION = 0x0112
"""The EXIF tag; above 4, width and height are exchanged."""
SHORTEST = 20
"""Milliseconds: a frame with a shorter duration is shown for `INSTEAD`, as in browsers."""
INSTEAD = 100
ERRORS = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for a file that is damaged or not a picture."""


def read_picture(path: Path) -> tuple[Pixels, list[Note]]:
    """An image file as upright RGB, and notes.

    Raises:
        ValueError: the file is missing, is not an image, or its values have no known range.
    """
    if not path.is_file():
        raise ValueError(f"frame {str(path)!r} does not exist. Give the path of an image file.")
    try:
        with opened(path) as image:
            return image_pixels(image)
    except Unreadable as error:
        raise ValueError(f"frame {str(path)!r} {error}.") from None
    except ERRORS as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "its format is not known" if is_unknown else error
        raise ValueError(
            f"frame {str(path)!r} is not a readable image ({reason}). Give a PNG or JPEG file."
        ) from None


@contextmanager
def opened(path: Path, formats: list[str] | None = None) -> Iterator[Image.Image]:
    """The picture, opened but not decoded.

    Args:
        path: of the file.
        formats: allowed ones, by Pillow's names; None allows all.

    Raises:
        Unreadable: it has a high dynamic range, which Pillow does not report.
    """
    with path.open("rb") as stream:
        head = stream.read(4096)
        stream.seek(0)
        if _transfer(head) in (PQ, HLG):
            raise Unreadable("has a high dynamic range (PQ or HLG). Convert it to sRGB")
        with Image.open(stream, formats=formats) as image:
            yield image


def _transfer(head: bytes) -> int | None:
    """The transfer function that an AVIF or PNG file names, as a number of H.273."""
    if (at := head.find(b"colrnclx")) >= 0:
        return int.from_bytes(head[at + 10 : at + 12], "big")
    if head.startswith(b"\x89PNG") and (at := head.find(b"cICP")) >= 0:
        return head[at + 5] if at + 5 < len(head) else None
    return None


def image_pixels(image: Image.Image) -> tuple[Pixels, list[Note]]:
    """Pillow's image as upright RGB, and notes.

    Raises:
        Unreadable: its values have no known range.
    """
    notes: list[Note] = []
    if number_of_frames(image) > 1:
        notes.append(FIRST_OF_SEVERAL)
    return _pixels(image, notes), notes


def _pixels(image: Image.Image, notes: list[Note]) -> Pixels:
    """The current frame of an image."""
    profile = image.info.get("icc_profile")
    is_png = image.format in ("PNG", "PPM")  # whose wide integers are always of 16 bits
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and is_png):
        deep = np.asarray(image).astype(np.int64).clip(0, 65535)
        grey = ((deep * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[..., None], 3, -1)
    if image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise Unreadable(f"holds {kind}, and nothing says which of them are black and white")
    if image.mode in ("LAB", "HSV", "YCbCr"):
        image = _from_lab(image) if image.mode == "LAB" else image.convert("RGB")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if has_alpha:
        pixels = np.array(image.convert("RGBA"))
        colour = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        pixels[..., :3] = np.asarray(_in_srgb(colour, profile, notes))
        if pixels[..., 3].min() < 255:
            notes.append(ALPHA)
        return over_white(pixels)
    return np.array(_in_srgb(image, profile, notes).convert("RGB"))


def _from_lab(image: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")


def _in_srgb(image: Image.Image, profile: bytes | None, notes: list[Note]) -> Image.Image:
    """The image's colours as sRGB, if it has another colour profile."""
    if not profile:
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = given.profile.xcolor_space.strip()
        if image.mode in ("1", "P"):
            image = image.convert("RGB")
        if {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}.get(image.mode) != space:
            return image  # of the picture before a conversion, such as grey stored as RGB
        if "srgb" in (given.profile.profile_description or "").lower():
            return image
        return ImageCms.profileToProfile(
            image, given, ImageCms.createProfile("sRGB"), outputMode="RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append(NO_PROFILE)
        return image


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of the upright picture, from its header; zeros if it cannot be read."""
    try:
        with opened(path) as image:
            # Pillow turns TIFF pictures itself.
            is_turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) > 4
            return image.size if is_turned else image.size[::-1]
    except ERRORS:
        return 0, 0


def is_animated(path: Path) -> bool:
    """Whether a file is a GIF, WebP, PNG or AVIF picture of several frames, by its content."""
    try:
        with Image.open(path, formats=["GIF", "WEBP", "PNG", "AVIF"]) as image:
            return getattr(image, "n_frames", 1) > 1
    except ERRORS:
        return False


def durations_of(image: Image.Image) -> list[float]:
    """Seconds for which each frame of an animated picture is shown."""
    made = []
    for number in _numbers(image):
        image.seek(number)
        image.load()  # WebP has a frame's duration only then
        shown = image.info.get("duration") or 0
        made.append((shown if shown >= SHORTEST else INSTEAD) / 1000)
    return made


def frames_of(image: Image.Image, wanted: set[int], notes: list[Note]) -> Iterator[Pixels]:
    """The frames with these numbers, in order; notes about them are appended to `notes`."""
    numbers = _numbers(image)
    for place in sorted(wanted):
        image.seek(numbers[place])
        yield _pixels(image, notes)


def number_of_frames(image: Image.Image) -> int:
    """The number of frames or pages of a picture; 1 for others.

    The other images in a phone's JPEG (MPO: depth, brightness) do not count.
    """
    return 1 if image.format == "MPO" else len(_numbers(image))


def _numbers(image: Image.Image) -> range:
    """Pillow's numbers of an animation's frames; an APNG's first picture may not belong to it."""
    number = getattr(image, "n_frames", 1)
    return range(1 if getattr(image, "default_image", False) and number > 1 else 0, number)


def fit(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resizes the short side and crops the centre, so that the result is `height` x `width`."""
    image = ImageOps.fit(Image.fromarray(pixels), (width, height), method=Image.Resampling.BICUBIC)
    return np.array(image)
