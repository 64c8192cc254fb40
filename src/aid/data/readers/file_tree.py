"""The files below a folder, listed once, found by the names in lists; and names of splits.

Called by the readers. Hidden files and folders are skipped. Links to folders are not followed, but
listed.
"""

import functools
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aid.data.files import inside
from aid.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video

LEAST_IMAGES = 2
"""Numbered images that make a folder the frames of a video, at least."""
MAYBE_ANIMATED = frozenset({".webp", ".avif", ".png"})
"""Picture files that may be videos."""
TEXTS = frozenset({".txt", ".caption", ".cap", ".json"})
SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
"""The words for splits that Hugging Face `datasets` finds in names, and their standard names."""


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
        """The file of that path, in any Unicode normal form."""
        if path in self.files or path in self.frame_folders:
            return path
        return None if path.isascii() else self._composed.get(_composed(path))

    def find_video(self, base: str, name: str) -> str | None:
        """The video or folder of frames that a list in folder `base` calls `name`.

        Besides the path itself, a video is found with backslashes, in another Unicode form or case,
        below another folder (a list that names `/other/disk/videos/a.mp4`, or lies beside
        `videos`), or without its suffix, if exactly one file fits.

        Raises:
            ValueError: the name leads out of the folder, or is not a path.
        """
        given = PurePosixPath(base, name)
        joined = os.path.normpath(given) if name else ""
        if found := self.find(joined):
            return found if self._may_be_video(found) else None
        is_absolute = given.is_absolute()
        if not is_absolute or _exists(name):
            path = inside(self.folder, joined)  # raises if it leads out
            if is_absolute:
                found = self.find(path.relative_to(self.folder.resolve()).as_posix())
                return found if found and self._may_be_video(found) else None
        parts = _key(name.replace("\\", "/")).strip("/").split("/")
        named = self._by_name.get(parts[-1]) or self._by_stem.get(parts[-1], [])
        shared = [(_shared(parts, path), path) for path in named]
        # A relative path must match completely; an absolute one of another disk by its longest end.
        is_foreign = is_absolute or name[1:3] in (":\\", ":/")
        least = 1 if is_foreign else len(parts)
        most = max((number for number, _ in shared), default=0)
        best = [path for number, path in shared if number == most >= least]
        return best[0] if len(best) == 1 else None

    def _may_be_video(self, path: str) -> bool:
        """Whether a path is not a plain picture; other files are checked when they are decoded."""
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

    A WebP, AVIF or PNG file may be one. Those with a text file of the same name are opened, and the
    first of the folder; if that is animated, all are opened.
    """
    suffixes = {name: PurePosixPath(name).suffix.lower() for name in names}
    texts = {name.rpartition(".")[0] for name in names if suffixes[name] in TEXTS}
    videos = [name for name in names if suffixes[name] in VIDEO_SUFFIXES]
    candidates = [name for name in names if suffixes[name] in MAYBE_ANIMATED]
    if candidates and not is_video(folder / candidates[0]):
        candidates = [name for name in candidates if name.rpartition(".")[0] in texts]
    return videos + [name for name in candidates if is_video(folder / name)]


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long, or a NUL character
        return True


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _key(text: str) -> str:
    return _composed(text).casefold()


def _shared(parts: list[str], path: str) -> int:
    """How many parts at the end of a path equal those of a name; the last is assumed to."""
    own = _key(path).split("/")
    number = 1
    while number < min(len(parts), len(own)) and parts[-1 - number] == own[-1 - number]:
        number += 1
    return number


def is_same_split(one: str, other: str) -> bool:
    """Whether two names mean the same split, as "val" and "validation" do."""
    return one == other or (one in SPLITS and SPLITS[one] == SPLITS.get(other))


def split_of_folder(path: str) -> str:
    """The first folder of a relative path that is named like a split, or ""."""
    return next((part for part in path.split("/")[:-1] if part.lower() in SPLITS), "")


def split_of_stem(stem: str) -> tuple[str, str]:
    """A file's stem without the word for a split, and that word: ("captions", "val").

    The word is "" if there is none.
    """
    words = re.split(r"([^a-zA-Z]+)", stem)
    found = next((n for n, word in enumerate(words) if word.lower() in SPLITS), None)
    if found is None:
        return stem.lower(), ""
    rest = "".join(words[:found] + words[found + 1 :]).strip("_-. 0123456789")
    return rest.lower(), words[found]
