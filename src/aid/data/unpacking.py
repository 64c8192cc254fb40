"""Videos that a format keeps inside of archives or tables, written out once, byte for byte.

Called by `data.sources` through the readers. Nothing is encoded anew; names are made here, never
taken from the archive.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from aid.video import whole_file

MAGIC = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"BM": ".bmp"}


def default_folder(folder: Path, files: list[Path]) -> Path:
    """Where the videos of these files are unpacked to if nobody says: the user's cache folder.

    Another path, size or time of a file makes another folder.
    """
    facts = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files)]
    key = hashlib.sha256(repr((str(folder.resolve()), facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "aid-video" / "unpacked" / f"{folder.resolve().name}-{key}"


def write_frames(folder: Path, frames: list[bytes]) -> None:
    """Writes encoded images as `frame_000000.jpg` and so on; the folder appears when it is whole.

    Raises:
        ValueError: a frame is no JPEG, PNG, WebP or BMP file.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".frames-", dir=folder.parent))
    try:
        for number, frame in enumerate(frames):
            suffix = next((s for magic, s in MAGIC.items() if frame.startswith(magic)), None)
            if suffix is None:
                raise ValueError(
                    f"frame {number} of {folder.name!r} is no JPEG, PNG, WebP or BMP image "
                    f"(it begins with {frame[:8]!r})."
                )
            (making / f"frame_{number:06d}{suffix}").write_bytes(frame)
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:  # another process has unpacked the same meanwhile
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
