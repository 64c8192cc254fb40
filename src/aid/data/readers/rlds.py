"""RLDS: episodes in TFRecord files as TensorFlow Datasets writes them, read without TensorFlow.

    bridge_dataset/1.0.0/features.json, dataset_info.json
    bridge_dataset/1.0.0/bridge_dataset-train.tfrecord-00000-of-01024

A row per episode and camera. Images are kept as they are encoded: `unpack_rlds` writes them out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aid.data.files import read_json
from aid.data.tfrecord import parse_example, read_records
from aid.data.unpacking import write_frames
from aid.types import VideoRow

SHARD = re.compile(r".+-(?P<split>\w+)\.tfrecord-(?P<number>\d+)-of-\d+")


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
        ValueError: a file is damaged or malformed, or no camera is kept as encoded images.
    """
    home = (_home(folder) or folder).relative_to(folder)
    name = (home / "features.json").as_posix()
    kinds = dict(_kinds(read_json(folder, name, dict)))
    cameras = {path: facts for path, facts in kinds.items() if isinstance(facts, tuple)}
    texts = [path for path, facts in kinds.items() if facts == "text"]
    if not cameras:
        raise ValueError(f"{str(folder / name)!r} names no colour image below 'steps'.")
    texts.sort(key=lambda path: (path.rpartition("/")[2] != "language_instruction", path))
    notes.append("RLDS does not say how many frames a second there are; give --fps if you know.")
    for shard in shards(folder):
        place = shard.relative_to(folder).as_posix()
        split = SHARD.fullmatch(shard.name)["split"]
        for number, (offset, message) in enumerate(read_records(folder, place)):
            episode = parse_example(message, f"{str(shard)!r}, record {number}")
            said = _said(episode, texts)
            for path, (height, width) in cameras.items():
                camera = path.rpartition("/")[2]
                frames = episode.get(path, [])
                # BridgeData V2 fills up cameras that an episode lacks and says so here.
                if not frames or episode.get(f"episode_metadata/has_{camera}") == [0]:
                    continue
                yield VideoRow(
                    id=f"{shard.name}/{number}/{camera}",
                    video=f"{shard.name}/{number}/{camera}",
                    instruction=said[0] if said else "",
                    wordings=said,
                    num_frames=len(frames),
                    fps=0.0,
                    height=height,
                    width=width,
                    camera=camera,
                    split=split,
                    world={
                        "episode": f"{shard.name}/{number}",
                        "packed": place,
                        "offset": offset,
                        "feature": path,
                    },
                )


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


def _home(folder: Path) -> Path | None:
    """The folder of `features.json`: a version's folder, mostly."""
    for pattern in ("features.json", "*/features.json", "*/*/features.json"):
        homes = [path.parent for path in sorted(folder.glob(pattern))]
        homes = [home for home in homes if any(SHARD.fullmatch(p.name) for p in home.iterdir())]
        if homes:
            return homes[-1]  # of several versions the last
    return None


def _kinds(feature: Any, path: str = "") -> Iterator[tuple[str, str | tuple[int, int]]]:
    """Paths of colour images with their size (height, width), and of instructions ("text")."""
    if not isinstance(feature, dict):
        return
    inner = _dig(feature, "featuresDict", "features")
    if isinstance(inner, dict):
        for name, one in inner.items():
            yield from _kinds(one, f"{path}/{name}" if path else name)
    yield from _kinds(_dig(feature, "sequence", "feature"), path)
    if not path.startswith("steps/"):
        return
    image = feature.get("image")
    if isinstance(image, dict):
        sides = _dig(image, "shape", "dimensions")
        sides = [int(s) for s in sides if str(s).isdecimal()] if isinstance(sides, list) else []
        is_colour = image.get("dtype", "uint8") == "uint8" and (len(sides) < 3 or sides[2] == 3)
        if is_colour:
            yield path, (sides[0], sides[1]) if len(sides) == 3 else (0, 0)
    is_text = "text" in feature or _dig(feature, "tensor", "dtype") == "string"
    if is_text and "instruction" in path.rpartition("/")[2]:
        yield path, "text"


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _said(episode: dict[str, Any], texts: list[str]) -> list[str]:
    """The first instruction of each text feature, each once."""
    said = []
    for path in texts:
        words = (w.decode("utf-8", "replace").strip() for w in episode.get(path, []) if w)
        said += [next((w for w in words if w), "")]
    return list(dict.fromkeys(w for w in said if w))
