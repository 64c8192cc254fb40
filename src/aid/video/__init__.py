"""Pixels in and out of files: videos, pictures, folders of pictures, GIFs.

The one package that knows uint8 and codecs. Everything outside of it holds frames as float tensors
`f 3 H W` in [-1, 1]; here they are also uint8 arrays `f H W 3` in [0, 255]. The same file gives the
same upright RGB pixels to every command (docs/data.md says what is done with each property of a
file). Every file is written whole or not at all.

The processes that read strangers' files (`confined`) import this package without torch, so the two
functions that need it are imported when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

from aid.video.decoding import VIDEO_SUFFIXES
from aid.video.folders import IMAGE_SUFFIXES, frame_files, list_frames
from aid.video.notes import Note, NoteCounter
from aid.video.pictures import image_pixels
from aid.video.pixels import contact_sheet, fit
from aid.video.reading import (
    Clip,
    is_video,
    read_clip,
    read_folder,
    read_image,
    read_picture,
    read_video,
)
from aid.video.writing import remove_leftovers, whole_file, write_gif, write_mp4, write_png

if TYPE_CHECKING:
    from aid.video.tensors import to_float, to_uint8

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "Note",
    "NoteCounter",
    "contact_sheet",
    "fit",
    "frame_files",
    "image_pixels",
    "is_video",
    "list_frames",
    "read_clip",
    "read_folder",
    "read_image",
    "read_picture",
    "read_video",
    "remove_leftovers",
    "to_float",
    "to_uint8",
    "whole_file",
    "write_gif",
    "write_mp4",
    "write_png",
]


def __getattr__(name: str) -> Any:
    """Imports torch when a function that needs it is first asked for."""
    if name in ("to_float", "to_uint8"):
        from aid.video import tensors

        return getattr(tensors, name)
    raise AttributeError(f"module 'aid.video' has no attribute {name!r}")
