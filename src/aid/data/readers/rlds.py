"""RLDS: episodes in TFRecord files as TensorFlow Datasets writes them, read without TensorFlow.

    bridge_dataset/1.0.0/features.json, dataset_info.json
    bridge_dataset/1.0.0/bridge_dataset-train.tfrecord-00000-of-01024

A row per episode and camera. Images are kept as they are encoded: `unpack_rlds` writes them out.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from aid.data.files import read_json
from aid.data.tally import Tally
from aid.data.tfrecord import parse_example, read_records
from aid.data.unpacking import write_frames
from aid.types import VideoRow

SHARD = re.compile(r".+-(?P<split>\w+)\.tfrecord-(?P<number>\d+)-of-\d+")

VERSION = re.compile(r"\d+\.\d+\.\d+")
BLANK = 8
"""Of 255: by how much the colours of a blank picture may differ, after JPEG."""


def is_rlds(folder: Path) -> bool:
    """Whether there is a `features.json` with TFRecord files beside it, at most two below."""
    return _home(folder) is not None


def shards(folder: Path) -> list[Path]:
    """The TFRecord files, sorted by split and number."""
    home = _home(folder) or folder
    return sorted(path for path in home.iterdir() if SHARD.fullmatch(path.name))


def read_rlds(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per episode and camera, in the order of the shards.

    Raises:
        ValueError: a file is damaged or malformed, no camera is kept as encoded images, or there
            are several data sets.
    """
    home = _only_home(folder, notes).relative_to(folder)
    name = (home / "features.json").as_posix()
    features = Features.of(read_json(folder, name, dict))
    if not features.cameras:
        raise ValueError(f"{str(folder / name)!r} names no colour image below 'steps'.")
    if features.others:
        notes.append(f"not read, because they are no colour images: {', '.join(features.others)}.")
    notes.append("RLDS does not say how many frames a second there are; give --fps if you know.")
    tally = Tally()
    for shard in _missing_shards(shards(folder)):
        tally.add("shards are not there", shard)
    try:
        for shard in shards(folder):
            place = shard.relative_to(folder).as_posix()
            for number, (offset, message) in enumerate(read_records(folder, place)):
                episode = parse_example(message, f"{str(shard)!r}, record {number}")
                episode_name = f"{shard.name}/{number}"
                packed = {"episode": episode_name, "packed": place, "offset": offset}
                yield from _rows(episode, episode_name, features, packed, tally)
    finally:
        notes += tally.notes()


def _rows(
    episode: dict[str, Any], name: str, features: "Features", packed: dict, tally: Tally
) -> Iterator[VideoRow]:
    said = _said(episode, features)
    split = SHARD.fullmatch(name.rpartition("/")[0])["split"]
    flags = {c: episode.get(f"episode_metadata/has_{c}") for c in features.cameras}
    says_none = all(flag == [0] for flag in flags.values())
    for camera, (path, height, width) in features.cameras.items():
        frames = episode.get(path, [])
        if not frames:
            tally.add(f"episodes have no pictures of camera {camera}", name)
            continue
        # BridgeData V2 fills up cameras that an episode lacks with black pictures, and mostly says
        # so; where a flag and the pictures contradict each other, the pictures count.
        is_flagged = flags[camera] == [0]
        if is_flagged and not says_none and _is_blank(frames):
            tally.add(f"episodes have no camera {camera}, as they say", name)
            continue
        if all(frame == frames[0] for frame in frames) and _is_blank(frames, brightest=BLANK):
            tally.add(f"episodes have nothing but black pictures of camera {camera}", name)
            continue
        if is_flagged:
            tally.add(
                f"episodes say that they have no camera {camera}, but its pictures are there and "
                "are read", name,
            )  # fmt: skip
        yield VideoRow(
            id=f"{name}/{camera}",
            video=f"{name}/{camera}",
            instruction=said[0] if said else "",
            wordings=said,
            num_frames=len(frames),
            fps=0.0,
            height=height,
            width=width,
            camera=camera,
            split=split,
            world={**packed, "feature": path},
        )


def _is_blank(frames: list[bytes], brightest: int = 255) -> bool:
    """Whether the first, the middle and the last picture have one colour each, none brighter."""
    for frame in {frames[0], frames[len(frames) // 2], frames[-1]}:
        try:
            with Image.open(io.BytesIO(frame)) as image:
                bands = image.convert("RGB").getextrema()
        except (OSError, ValueError, Image.DecompressionBombError):
            return False  # whoever decodes it says what is wrong
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


def _homes(folder: Path) -> list[Path]:
    """The folders of a `features.json`: versions' folders, mostly."""
    for pattern in ("features.json", "*/features.json", "*/*/features.json"):
        homes = [path.parent for path in sorted(folder.glob(pattern))]
        homes = [home for home in homes if any(SHARD.fullmatch(p.name) for p in home.iterdir())]
        if homes:
            return sorted(homes, key=_version)
    return []


def _version(home: Path) -> tuple[str, list[int], str]:
    is_version = VERSION.fullmatch(home.name)
    name = home.parent.name if is_version else home.name
    return name, [int(n) for n in home.name.split(".")] if is_version else [], home.name


def _home(folder: Path) -> Path | None:
    """The folder of the data set; of several versions the last."""
    return next(reversed(_homes(folder)), None)


def _only_home(folder: Path, notes: list[str]) -> Path:
    """Likewise, with a note of the versions that are left out.

    Raises:
        ValueError: there are several data sets.
    """
    homes = _homes(folder)
    if len({_version(home)[0] for home in homes}) > 1 and len(homes) > 1:
        names = ", ".join(home.relative_to(folder).as_posix() for home in homes)
        raise ValueError(f"{str(folder)!r} holds several data sets: {names}. Give one of them.")
    if len(homes) > 1:
        left = ", ".join(home.name for home in homes[:-1])
        notes.append(f"version {homes[-1].name} is read; left out: {left}.")
    return homes[-1] if homes else folder


def _missing_shards(paths: list[Path]) -> Iterator[str]:
    """Names of shards that the others say there are."""
    there = {path.name for path in paths}
    for stem, total in {tuple(path.name.rsplit("-", 3)[::3]) for path in paths}:
        for number in range(int(total) if len(total) < 7 else 0):
            name = f"{stem}-{number:05d}-of-{total}"
            if name not in there:
                yield name


@dataclass
class Features:
    """What `features.json` names below `steps`.

    `cameras` gives path, height and width by name; `texts` are paths of instructions, `codes` those
    that are numbers of letters, with how many there are a step; `others` are images that are read
    by nobody here (depth, or kept as numbers).
    """

    cameras: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Features":
        """What a `features.json` says."""
        made = cls()
        found = list(_leaves(told))
        shown = [path.rpartition("/")[2] for path, one in found if "image" in one]
        for path, one in found:
            made._add(path, one, is_only=shown.count(path.rpartition("/")[2]) == 1)
        made.texts.sort(key=lambda path: (path.rpartition("/")[2] != "language_instruction", path))
        return made

    def _add(self, path: str, feature: dict[str, Any], *, is_only: bool) -> None:
        name, tensor = path.rpartition("/")[2], feature.get("tensor")
        is_said = "instruction" in name
        if isinstance(feature.get("image"), dict):
            sides = _sides(feature["image"])
            is_colour = len(sides) < 3 or sides[2] == 3
            if feature["image"].get("dtype", "uint8") == "uint8" and is_colour:
                size = (sides[0], sides[1]) if len(sides) == 3 else (0, 0)
                camera = name if is_only else path.removeprefix("steps/").replace("/", ".")
                self.cameras[camera] = (path, *size)
            else:
                self.others.append(name)
        elif is_said and ("text" in feature or _dig(feature, "tensor", "dtype") == "string"):
            self.texts.append(path)
        elif isinstance(tensor, dict):
            sides = _sides(tensor)
            if is_said and tensor.get("dtype") in ("int32", "int64") and len(sides) == 1:
                self.codes[path] = sides[0]
            elif tensor.get("dtype") == "uint8" and len(sides) == 3:
                self.others.append(name)


def _sides(feature: dict[str, Any]) -> list[int]:
    sides = _dig(feature, "shape", "dimensions")
    return [int(s) for s in sides if str(s).isdecimal()] if isinstance(sides, list) else []


def _leaves(feature: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths of the features below `steps` that hold values."""
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


def _said(episode: dict[str, Any], features: Features) -> list[str]:
    """The first instruction of each text feature, each once."""
    said = []
    for path in features.texts:
        words = (w.decode("utf-8", "replace").strip() for w in episode.get(path, []) if w)
        said += [next((w for w in words if w), "")]
    for path, length in features.codes.items():
        letters = bytes(n for n in episode.get(path, [])[:length] if 0 < n < 256)
        said += [letters.decode("utf-8", "replace").strip()]
    return list(dict.fromkeys(w for w in said if w))
