"""Reads and writes pixels: videos, pictures, folders of pictures, GIFs.

The only package that uses codecs. Other packages hold frames as float tensors `f 3 H W` in [-1, 1];
here they are also uint8 arrays `f H W 3` in [0, 255]. A file gives the same upright RGB pixels to
every command (docs/data.md lists what is done with each property of a file). Files are written
completely or not at all.

The processes that read untrusted files (`confined`) import this package without torch, so the two
functions that need it are imported on first use.
"""

from typing import TYPE_CHECKING, Any

from aid.video.decoding import VIDEO_SUFFIXES
from aid.video.folders import IMAGE_SUFFIXES, frame_files, list_frames
from aid.video.notes import Note, NoteCounter
from aid.video.pictures import fit, image_pixels
from aid.video.reading import (
    Clip,
    is_video,
    read_clip,
    read_folder,
    read_image,
    read_picture,
    read_video,
)
from aid.video.writing import (
    contact_sheet,
    remove_leftovers,
    side_by_side,
    whole_file,
    write_gif,
    write_mp4,
    write_png,
)

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
    "side_by_side",
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
