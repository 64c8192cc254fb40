"""RLDS: episodes in TFRecord files as TensorFlow Datasets writes them, read without TensorFlow.

    bridge_dataset/1.0.0/features.json, dataset_info.json
    bridge_dataset/1.0.0/bridge_dataset-train.tfrecord-00000-of-01024

A row per episode and camera. `unpack_rlds` writes the encoded images out as they are. A record of a
TFRecord file is

    length (8 bytes) | masked CRC of the length (4) | message | masked CRC of the message (4)

Why TFRecord is read by our own code: docs/architecture.md.
"""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from aid.data.files import inside, read_json, write_frames
from aid.data.readers import unopened_row
from aid.types import VideoRow
from aid.video.notes import IssueCounter

SHARD = re.compile(r".+-(?P<split>\w+)\.tfrecord-(?P<number>\d+)-of-\d+")

VERSION = re.compile(r"\d+\.\d+\.\d+")
BLANK = 8
"""Of 255: by how much the colours of a blank picture may differ, after JPEG."""
MAX_RECORD = 1 << 32
"""Bytes; an episode with four cameras has some hundred megabytes."""


def is_rlds(folder: Path) -> bool:
    """Whether there is a `features.json` with TFRecord files beside it, at most two below."""
    return _newest(folder) is not None


def shards(folder: Path) -> list[Path]:
    """The TFRecord files, sorted by split and number."""
    root = _newest(folder) or folder
    return sorted(path for path in root.iterdir() if SHARD.fullmatch(path.name))


def read_rlds(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per episode and camera, in the order of the shards.

    Raises:
        ValueError: a file is damaged or malformed, no camera has encoded images, or there are
            several data sets.
    """
    root = _only_data_set(folder, notes).relative_to(folder)
    name = (root / "features.json").as_posix()
    features = Features.of(read_json(folder, name, dict))
    if not features.cameras:
        raise ValueError(f"{str(folder / name)!r} has no colour image below 'steps'.")
    if features.others:
        notes.append(
            f"features that are not colour images are left out: {', '.join(features.others)}."
        )
    notes.append("RLDS does not store the frame rate; give it with --fps if you know it.")
    issues = IssueCounter()
    for shard in _missing_shards(shards(folder)):
        issues.add("shards do not exist", shard)
    try:
        for shard in shards(folder):
            place = shard.relative_to(folder).as_posix()
            for number, (offset, message) in enumerate(read_records(folder, place)):
                episode = parse_example(message, f"{str(shard)!r}, record {number}")
                episode_name = f"{shard.name}/{number}"
                packed = {"episode": episode_name, "packed": place, "offset": offset}
                yield from _rows(episode, episode_name, features, packed, issues)
    finally:
        notes += issues.notes()


def _rows(
    episode: dict[str, Any], name: str, features: "Features", packed: dict, issues: IssueCounter
) -> Iterator[VideoRow]:
    words = _instructions(episode, features)
    split = SHARD.fullmatch(name.rpartition("/")[0])["split"]
    flags = {c: episode.get(f"episode_metadata/has_{c}") for c in features.cameras}
    all_missing = all(flag == [0] for flag in flags.values())
    for camera, (path, height, width) in features.cameras.items():
        frames = episode.get(path, [])
        if not frames:
            issues.add(f"episodes have no images of camera {camera}", name)
            continue
        # BridgeData V2 pads missing cameras with black images, and mostly flags them. Where a flag
        # contradicts the images, the images are trusted.
        is_flagged = flags[camera] == [0]
        if is_flagged and not all_missing and _is_blank(frames):
            issues.add(f"episodes have no camera {camera}, as flagged", name)
            continue
        if all(frame == frames[0] for frame in frames) and _is_blank(frames, brightest=BLANK):
            issues.add(f"episodes have only black images of camera {camera}", name)
            continue
        if is_flagged:
            issues.add(
                f"episodes flag camera {camera} as missing, but its images exist and are read", name
            )
        yield unopened_row(
            words,
            id=f"{name}/{camera}",
            video=f"{name}/{camera}",
            num_frames=len(frames),
            height=height,
            width=width,
            camera=camera,
            split=split,
            world={**packed, "feature": path},
        )


def _is_blank(frames: list[bytes], brightest: int = 255) -> bool:
    """Whether the first, middle and last image are of one colour each, not above `brightest`."""
    for frame in {frames[0], frames[len(frames) // 2], frames[-1]}:
        try:
            with Image.open(io.BytesIO(frame)) as image:
                bands = image.convert("RGB").getextrema()
        except (OSError, ValueError, Image.DecompressionBombError):
            return False  # an error names it when it is decoded
        if any(most - least > BLANK or most > brightest for least, most in bands):
            return False
    return True


def unpack_rlds(folder: Path, rows: list[VideoRow], out: Path) -> None:
    """Writes the frames of the rows, byte for byte, to folders below `out`.

    Raises:
        ValueError: a file is damaged.
    """
    last: tuple[str, int] | None = None
    episode: dict[str, Any] = {}
    for row in rows:
        if (out / row.video).is_dir():
            continue
        at = (row.world["packed"], row.world["offset"])
        if at != last:
            _, message = next(read_records(folder, *at))
            last, episode = at, parse_example(message, f"{str(folder / at[0])!r}, byte {at[1]}")
        write_frames(out / row.video, episode[row.world["feature"]])


def _data_sets(folder: Path) -> list[Path]:
    """Folders with a `features.json` and TFRecord files; mostly one per version."""
    for pattern in ("features.json", "*/features.json", "*/*/features.json"):
        folders = [path.parent for path in sorted(folder.glob(pattern))]
        folders = [root for root in folders if any(SHARD.fullmatch(p.name) for p in root.iterdir())]
        if folders:
            return sorted(folders, key=_version)
    return []


def _version(root: Path) -> tuple[str, list[int], str]:
    is_version = VERSION.fullmatch(root.name)
    name = root.parent.name if is_version else root.name
    return name, [int(n) for n in root.name.split(".")] if is_version else [], root.name


def _newest(folder: Path) -> Path | None:
    """The folder of the data set; of several versions, the last."""
    return next(reversed(_data_sets(folder)), None)


def _only_data_set(folder: Path, notes: list[str]) -> Path:
    """As `_newest`, with a note about the versions that are left out.

    Raises:
        ValueError: there are several data sets.
    """
    folders = _data_sets(folder)
    if len({_version(root)[0] for root in folders}) > 1 and len(folders) > 1:
        names = ", ".join(root.relative_to(folder).as_posix() for root in folders)
        raise ValueError(f"{str(folder)!r} holds several data sets: {names}. Give one of them.")
    if len(folders) > 1:
        left = ", ".join(root.name for root in folders[:-1])
        notes.append(f"version {folders[-1].name} is read; left out: {left}.")
    return folders[-1] if folders else folder


def _missing_shards(paths: list[Path]) -> Iterator[str]:
    """Names of shards that must exist by the total in the others' names, and do not."""
    existing = {path.name for path in paths}
    for stem, total in {tuple(path.name.rsplit("-", 3)[::3]) for path in paths}:
        for number in range(int(total) if len(total) < 7 else 0):
            name = f"{stem}-{number:05d}-of-{total}"
            if name not in existing:
                yield name


@dataclass
class Features:
    """What `features.json` names below `steps`.

    Attributes:
        cameras: path, height and width of the encoded colour images, by name.
        texts: paths of instructions.
        codes: paths of instructions stored as character codes, with their number per step.
        others: image features that are not read (depth, or stored as numbers).
    """

    cameras: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, features: dict[str, Any]) -> "Features":
        """The features of a `features.json`."""
        made = cls()
        found = list(_leaves(features))
        shown = [path.rpartition("/")[2] for path, one in found if "image" in one]
        for path, one in found:
            made._add(path, one, is_only=shown.count(path.rpartition("/")[2]) == 1)
        made.texts.sort(key=lambda path: (path.rpartition("/")[2] != "language_instruction", path))
        return made

    def _add(self, path: str, feature: dict[str, Any], *, is_only: bool) -> None:
        name, tensor = path.rpartition("/")[2], feature.get("tensor")
        is_instruction = "instruction" in name
        if isinstance(feature.get("image"), dict):
            sides = _sides(feature["image"])
            is_colour = len(sides) < 3 or sides[2] == 3
            if feature["image"].get("dtype", "uint8") == "uint8" and is_colour:
                size = (sides[0], sides[1]) if len(sides) == 3 else (0, 0)
                camera = name if is_only else path.removeprefix("steps/").replace("/", ".")
                self.cameras[camera] = (path, *size)
            else:
                self.others.append(name)
        elif is_instruction and ("text" in feature or _dig(feature, "tensor", "dtype") == "string"):
            self.texts.append(path)
        elif isinstance(tensor, dict):
            sides = _sides(tensor)
            if is_instruction and tensor.get("dtype") in ("int32", "int64") and len(sides) == 1:
                self.codes[path] = sides[0]
            elif tensor.get("dtype") == "uint8" and len(sides) == 3:
                self.others.append(name)


def _sides(feature: dict[str, Any]) -> list[int]:
    sides = _dig(feature, "shape", "dimensions")
    return [int(s) for s in sides if str(s).isdecimal()] if isinstance(sides, list) else []


def _leaves(feature: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths and values of the features below `steps` that hold values."""
    if not isinstance(feature, dict):
        return
    inner = _dig(feature, "featuresDict", "features")
    if isinstance(inner, dict):
        for name, one in inner.items():
            yield from _leaves(one, f"{path}/{name}" if path else name)
    yield from _leaves(_dig(feature, "sequence", "feature"), path)
    if path.startswith("steps/") and not isinstance(inner, dict):
        yield path, feature


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _instructions(episode: dict[str, Any], features: Features) -> list[str]:
    """The first instruction of each text feature, without duplicates."""
    found = []
    for path in features.texts:
        words = (w.decode("utf-8", "replace").strip() for w in episode.get(path, []) if w)
        found += [next((w for w in words if w), "")]
    for path, length in features.codes.items():
        letters = bytes(n for n in episode.get(path, [])[:length] if 0 < n < 256)
        found += [letters.decode("utf-8", "replace").strip()]
    return list(dict.fromkeys(w for w in found if w))


def read_records(folder: Path, name: str, offset: int = 0) -> Iterator[tuple[int, memoryview]]:
    """Offset and message of each record of a file from `offset` on; checksums are compared.

    Raises:
        ValueError: the file is missing, damaged or incomplete, or google-crc32c is not installed.
    """
    path = inside(folder, name)
    where = repr(str(folder / name))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(offset)
            while head := file.read(12):
                if len(head) < 12:
                    raise ValueError(f"{where} ends in the middle of a record at byte {offset}.")
                (length,) = struct.unpack("<Q", head[:8])
                _check(head[:8], head[8:], f"{where} is damaged at byte {offset}.")
                if length > min(MAX_RECORD, size - file.tell() - 4):
                    raise ValueError(f"{where} ends in the middle of a record at byte {offset}.")
                message = file.read(length)
                _check(message, file.read(4), f"{where} is damaged at byte {offset + 12}.")
                yield offset, memoryview(message)
                offset = file.tell()
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror}).") from None


def _check(content: bytes, expected: bytes, message: str) -> None:
    """Compares a masked CRC-32C: rotated right by 15 bits, plus a constant."""
    try:
        import google_crc32c
    except ImportError:
        raise ValueError(
            "this data set has TFRecord files. Install the package that checks them: "
            "pip install 'aid-video[data]'"
        ) from None
    crc = google_crc32c.value(content)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    if expected != struct.pack("<I", masked):
        raise ValueError(f"{message} Download the file again.")


def parse_example(message: memoryview, where: str) -> dict[str, list[bytes] | list[int]]:
    """The features of a `tf.train.Example` that are bytes or integers, by name.

    Raises:
        ValueError: it is not such a message.
    """
    found: dict[str, list[bytes] | list[int]] = {}
    try:
        for number, features in _fields(message):
            if number != 1:
                continue
            for entry_number, entry in _fields(features):
                if entry_number == 1:
                    parts = dict(_fields(entry))
                    kinds = list(_fields(parts.get(2, memoryview(b""))))
                    for kind, values in kinds:
                        if kind == 1:  # BytesList
                            found[str(parts[1], "utf-8")] = [bytes(v) for _, v in _fields(values)]
                        elif kind == 3:  # Int64List, packed or not
                            found[str(parts[1], "utf-8")] = _integers(values)
    except (IndexError, KeyError, TypeError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"{where} is not a tf.train.Example ({error}).") from None
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and content of each field of a protobuf message; IndexError if it is incomplete."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise IndexError(f"wire type {wire} at byte {at}")
        if length > len(message) - at:
            raise IndexError(f"a field of {length} bytes at byte {at}")
        yield number, message[at : at + length]
        at += length


def _integers(values: memoryview) -> list[int]:
    integers: list[int] = []
    for _, value in _fields(values):
        if isinstance(value, int):
            integers.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            integers.append(number)
    return [n - (1 << 64) if n >> 63 else n for n in integers]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A base-128 integer and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError(f"an unterminated integer at byte {at}")
