"""The files below a folder, walked once, and found by the names that lists give them.

Called by the readers. Hidden files and folders are passed over. Links to folders are not followed;
they are named.
"""

import functools
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aid.data.files import inside
from aid.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video

LEAST_IMAGES = 2
"""Numbered images in a folder that are taken for the frames of a video."""
PERHAPS = frozenset({".webp", ".avif", ".png"})
"""Pictures that may be animated."""
TEXTS = frozenset({".txt", ".caption", ".cap", ".json"})


@dataclass
class FileTree:
    """Paths relative to `folder`, in the order of their names.

    `links` are folders that are links and were not entered.
    """

    folder: Path
    files: dict[str, None] = field(default_factory=dict)
    videos: list[str] = field(default_factory=list)
    frame_folders: dict[str, None] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)

    @classmethod
    def walk(cls, folder: Path) -> "FileTree":
        """Everything below a folder."""
        tree = cls(folder)
        for at, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = Path(at).relative_to(folder).as_posix()
            here = "" if here == "." else f"{here}/"
            links = [name for name in folders if Path(at, name).is_symlink()]
            tree.links += [here + name for name in links]
            folders[:] = [name for name in folders if name not in links]
            names = sorted(name for name in names if not name.startswith("."))
            tree.files |= dict.fromkeys(here + name for name in names)
            tree.videos += [here + name for name in _videos(Path(at), names)]
            images = [
                name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
            ]
            numbered = sum(any(c.isdecimal() for c in name) for name in images)
            if numbered >= LEAST_IMAGES and here and not folders:
                tree.frame_folders[here.rstrip("/")] = None
        tree.videos.sort()
        return tree

    def find(self, path: str) -> str | None:
        """The file of that path, however its letters are composed (NFC, NFD)."""
        if path in self.files or path in self.frame_folders:
            return path
        return None if path.isascii() else self._composed.get(_composed(path))

    def find_video(self, base: str, name: str) -> str | None:
        """The video or folder of frames that a list in folder `base` calls `name`.

        Beside the path itself: with backslashes, in another Unicode form or case, below another
        folder (a list that names `/disk/of/another/videos/a.mp4`, or lies beside `videos`), or
        without its suffix, where just one file can be meant.

        Raises:
            ValueError: the name leads out of the folder, or is no path.
        """
        given = PurePosixPath(base, name)
        joined = os.path.normpath(given) if name else ""
        if found := self.find(joined):
            return found if self._may_be_video(found) else None
        is_absolute = given.is_absolute()
        if not is_absolute or _exists(name):
            path = inside(self.folder, joined)  # refuses what leads out
            if is_absolute:
                found = self.find(path.relative_to(self.folder.resolve()).as_posix())
                return found if found and self._may_be_video(found) else None
        parts = _key(name.replace("\\", "/")).strip("/").split("/")
        named = self._by_name.get(parts[-1]) or self._by_stem.get(parts[-1], [])
        shared = [(_shared(parts, path), path) for path in named]
        # A relative path must be there whole; of one that began on another disk, the longest end.
        is_foreign = is_absolute or name[1:3] in (":\\", ":/")
        least = 1 if is_foreign else len(parts)
        most = max((number for number, _ in shared), default=0)
        best = [path for number, path in shared if number == most >= least]
        return best[0] if len(best) == 1 else None

    def _may_be_video(self, path: str) -> bool:
        """Whether a path is no plain picture; of other files the decoder says what they are."""
        is_picture = PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES
        return path in self.frame_folders or not is_picture or is_video(self.folder / path)

    @functools.cached_property
    def _composed(self) -> dict[str, str]:
        return {_composed(path): path for path in (*self.files, *self.frame_folders)}

    @functools.cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in (*self.videos, *self.frame_folders):
            found.setdefault(_key(path.rpartition("/")[2]), []).append(path)
        return found

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.videos:
            found.setdefault(_key(PurePosixPath(path).stem), []).append(path)
        return found


def _videos(folder: Path, names: list[str]) -> list[str]:
    """The videos among the files of a folder.

    A WebP, AVIF or PNG file may be one: those with a text of the same name are opened, and the
    first of the folder, and if that is one, all.
    """
    suffixes = {name: PurePosixPath(name).suffix.lower() for name in names}
    texts = {name.rpartition(".")[0] for name in names if suffixes[name] in TEXTS}
    videos = [name for name in names if suffixes[name] in VIDEO_SUFFIXES]
    perhaps = [name for name in names if suffixes[name] in PERHAPS]
    if perhaps and not is_video(folder / perhaps[0]):
        perhaps = [name for name in perhaps if name.rpartition(".")[0] in texts]
    return videos + [name for name in perhaps if is_video(folder / name)]


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long, or a NUL
        return True


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _key(text: str) -> str:
    return _composed(text).casefold()


def _shared(parts: list[str], path: str) -> int:
    """How many parts at the end of a path are those of a name; the last is taken to agree."""
    own = _key(path).split("/")
    number = 1
    while number < min(len(parts), len(own)) and parts[-1 - number] == own[-1 - number]:
        number += 1
    return number
