"""LeRobot data sets, v2.0, v2.1 and v3.x, read from their files: a row per episode and camera.

    v2.x  meta/episodes.jsonl, meta/tasks.jsonl; an mp4 and a Parquet file per episode
    v3.x  meta/episodes/*/*.parquet, meta/tasks.parquet; many episodes in one mp4 and one Parquet

An episode that is told several tasks one after another becomes a row per task. Cameras that are
kept as images inside the Parquet files are unpacked by `unpack_lerobot`. Of v3's video files, which
hold many episodes, the headers are read: `lerobot_places`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aid.data.files import inside, number_in, read_json, read_json_lines
from aid.data.parquet import read_parquet
from aid.data.readers.lerobot_places import Claim, Place, places_of
from aid.data.readers.lerobot_words import Words, words_of
from aid.data.tally import Tally
from aid.data.unpacking import write_frames
from aid.types import VideoRow

INFO = "meta/info.json"
# Where the files are if info.json does not say.
PATHS = {
    2: {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
    },
    3: {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    },
}


@dataclass(frozen=True)
class Camera:
    """A feature that shows something: `kind` is "video" or "image"; 0 is an unknown size."""

    name: str
    kind: str
    height: int
    width: int


@dataclass(frozen=True)
class Episode:
    """One episode: where its table is, and for each camera that it has its file.

    `claims` says where in a file of several episodes it lies, by camera.
    """

    index: int
    length: int
    tasks: list[str]
    table: str
    videos: dict[str, str]
    claims: dict[str, Claim] = field(default_factory=dict)


def is_lerobot(folder: Path) -> bool:
    """Whether it has LeRobot's `meta/info.json`."""
    return (folder / INFO).is_file()


def read_lerobot(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per episode, task and camera, in the order of the episodes.

    Raises:
        ValueError: the version is not known, or a file is missing or malformed.
    """
    where = repr(str(folder / INFO))
    info = read_json(folder, INFO, dict)
    version = str(info.get("codebase_version"))
    major = {"v2.0": 2, "v2.1": 2}.get(version, 3 if re.fullmatch(r"v3\.\d+", version) else 0)
    if not major:
        raise ValueError(
            f"{where}: codebase_version {version!r} is not read; v2.0, v2.1 and v3.x are. Convert "
            "it with LeRobot's own scripts."
        )
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise ValueError(f"{where}: features must be an object of objects.")
    fps = number_in(info, "fps", where)
    if fps <= 0:
        raise ValueError(f"{where}: fps must be above 0, got {fps}.")
    cameras = _cameras(features, notes)
    videos = [camera.name for camera in cameras if camera.kind == "video"]
    tally = Tally()
    if major == 2:
        episodes, places = _episodes_v2(folder, info, videos), {}
    else:
        episodes = list(_episodes_v3(folder, info, videos))
        places = places_of(folder, _claims(folder, episodes), fps, tally)
    words = Words(folder, features, fps, is_v3=major == 3, tally=tally)
    splits = _splits(info)
    number = 0
    try:
        for number, episode in enumerate(episodes, start=1):  # noqa: B007  (counted below)
            split = next((name for name, span in splits.items() if episode.index in span), "")
            spans = words_of(words, episode.table, episode.index, episode.length, episode.tasks)
            for camera in cameras:
                file = episode.videos.get(camera.name)
                if camera.kind == "video" and (file is None or not inside(folder, file).is_file()):
                    tally.add(f"episodes have no video of camera {camera.name!r}",
                              file or f"episode {episode.index}")  # fmt: skip
                    continue
                place = places.get((file, episode.index))
                if place is None and camera.name in episode.claims:
                    continue  # counted with the files
                yield from _rows(episode, camera, spans, fps, split, place)
        told = info.get("total_episodes")
        if isinstance(told, int) and told != number:
            notes.append(f"info.json says {told:,} episodes, and {number:,} are listed.")
    finally:
        notes += tally.notes()


def _claims(folder: Path, episodes: list[Episode]) -> dict[str, list[Claim]]:
    """What the tables say of each video file that is there."""
    found: dict[str, list[Claim]] = {}
    for episode in episodes:
        for camera, claim in episode.claims.items():
            found.setdefault(episode.videos[camera], []).append(claim)
    return {file: claims for file, claims in found.items() if inside(folder, file).is_file()}


def _rows(
    episode: Episode,
    camera: Camera,
    spans: list[Any],
    fps: float,
    split: str,
    place: Place | None,
) -> Iterator[VideoRow]:
    name = f"episode_{episode.index:06d}/{camera.name}"
    packed = {"packed": episode.table} if camera.kind == "image" else {}
    place = place or Place(first=0, length=episode.length, rate=fps)
    is_alone = camera.name not in episode.claims
    # A file may play at another rate than the tables count at.
    scale = place.length / episode.length if episode.length else 1.0
    for number, span in enumerate(spans):
        start, stop = round(span.start * scale), round(span.stop * scale)
        is_whole = len(spans) == 1 and is_alone
        yield VideoRow(
            id=name if len(spans) == 1 else f"{name}/{number}",
            video=episode.videos.get(camera.name, name),
            instruction=span.instruction,
            num_frames=stop - start,
            fps=place.rate,
            height=camera.height,
            width=camera.width,
            wordings=span.wordings,
            states=span.states,
            world={"episode": str(episode.index), **packed},
            camera=camera.name,
            split=split,
            start=0.0 if is_whole else place.seconds(start),
            stop=None if is_whole else place.seconds(stop),
        )


def tables(folder: Path) -> list[Path]:
    """The Parquet files, which may hold images; sorted."""
    return sorted(folder.glob("data/*/*.parquet"))


def unpack_lerobot(folder: Path, rows: list[VideoRow], out: Path) -> None:
    """Writes the frames of image cameras, byte for byte, to the rows' folders below `out`.

    Raises:
        ValueError: a table is damaged or does not hold the images itself.
    """
    for row in rows:
        if (out / row.video).is_dir():
            continue
        table = read_parquet(folder, row.world["packed"], [row.camera], int(row.world["episode"]))
        cells = table.column(row.camera).to_pylist() if row.camera in table.column_names else []
        frames = [cell.get("bytes") if isinstance(cell, dict) else None for cell in cells]
        if not frames or not all(frames):
            raise ValueError(
                f"{str(folder / row.world['packed'])!r} does not hold the images of {row.camera!r} "
                f"for episode {row.world['episode']}. Save the data set with its images embedded."
            )
        write_frames(out / row.video, frames)


def _cameras(features: dict[str, dict], notes: list[str]) -> list[Camera]:
    """The features that show colours. Images only if there is no video: they must be unpacked."""
    shown = {n: f for n, f in features.items() if f.get("dtype") in ("video", "image")}
    depth = [n for n, f in shown.items() if _is_depth(n, f)]
    if depth:
        notes.append(f"depth is not read: {', '.join(depth)}.")
    mono = [n for n, f in shown.items() if n not in depth and _num_channels(f) not in (0, 3, 4)]
    if mono:
        notes.append(f"cameras without colours are left out (depth?): {', '.join(mono)}.")
    cameras = [_camera(n, f) for n, f in shown.items() if n not in (*depth, *mono)]
    videos = [camera for camera in cameras if camera.kind == "video"]
    if videos and len(videos) < len(cameras):
        left = [camera.name for camera in cameras if camera.kind == "image"]
        notes.append(f"kept as images beside videos and left out: {', '.join(left)}.")
    return videos or cameras


def _facts(feature: dict) -> dict:
    """What a feature says of its video: under "info" (v2.1, v3) or "video_info" (v2.0)."""
    both = (feature.get("video_info"), feature.get("info"))
    return {key: value for facts in both if isinstance(facts, dict) for key, value in facts.items()}


def _is_depth(name: str, feature: dict) -> bool:
    facts = _facts(feature)
    is_told = facts.get("is_depth_map") or facts.get("video.is_depth_map")
    return bool(is_told) or bool(re.search(r"(?<![a-z])(depth|disparity)", name.lower()))


def _sides(feature: dict) -> dict[str, Any]:
    """The feature's shape by the first letter of its axes: "h", "w" and "c"."""
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        return {}
    # Both orders are written; "names" tells, and without it the axis that is short.
    given = [str(n).lower() for n in names] if isinstance(names, list) else []
    if len(given) != len(shape):
        is_first = len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
        given = ["channel", "height", "width"] if is_first else ["height", "width", "channel"]
    return {axis[:1]: side for axis, side in zip(given, shape, strict=False)}


def _num_channels(feature: dict) -> int:
    """Colours of a feature; 0 where it does not say."""
    sides = _sides(feature)
    channels = sides.get("c", 1 if sides else _facts(feature).get("video.channels"))
    return channels if isinstance(channels, int) else 0


def _camera(name: str, feature: dict) -> Camera:
    facts, sides = _facts(feature), _sides(feature)
    size = [facts.get(f"video.{side}") or sides.get(side[0]) for side in ("height", "width")]
    height, width = (v if isinstance(v, int) and v > 0 else 0 for v in size)
    return Camera(name, str(feature["dtype"]), height, width)


def _splits(info: dict) -> dict[str, range]:
    """Episodes of each split, from texts like "0:50"."""
    splits = info.get("splits") if isinstance(info.get("splits"), dict) else {}
    found = {str(n): re.fullmatch(r"(\d{1,9}):(\d{1,9})", str(s)) for n, s in splits.items()}
    return {name: range(int(m[1]), int(m[2])) for name, m in found.items() if m}


def _path(info: dict, key: str, major: int, **values: int | str) -> str:
    """A path of the template in info.json. The template is a stranger's: only names and widths."""
    template = info.get(key) or PATHS[major][key]

    def put(found: re.Match) -> str:
        value = values.get(found[1])
        if value is None:
            raise ValueError(f"{INFO}: {key} {template!r} asks for {found[0]!r}, which is unknown.")
        return str(value).zfill(int(found[2] or 0)) if isinstance(value, int) else value

    return re.sub(r"\{(\w+)(?::0?(\d{1,2})d)?\}", put, str(template))


def _episodes_v2(folder: Path, info: dict, cameras: list[str]) -> Iterator[Episode]:
    name = "meta/episodes.jsonl"
    size = int(number_in(info, "chunks_size", repr(str(folder / INFO)))) or 1
    for line, episode in read_json_lines(folder, name):
        where = f"{str(folder / name)!r}, line {line}"
        index = int(number_in(episode, "episode_index", where))
        at = {"episode_chunk": index // size, "episode_index": index}
        yield Episode(
            index=index,
            length=int(number_in(episode, "length", where)),
            tasks=_tasks(episode, where),
            table=_path(info, "data_path", 2, **at),
            videos={c: _path(info, "video_path", 2, video_key=c, **at) for c in cameras},
        )


def _episodes_v3(folder: Path, info: dict, cameras: list[str]) -> Iterator[Episode]:
    names = sorted(
        p.relative_to(folder).as_posix() for p in folder.glob("meta/episodes/*/*.parquet")
    )
    if not names:
        raise ValueError(f"{str(folder)!r} has no meta/episodes/*/*.parquet. Fetch it whole again.")
    keys = ["chunk_index", "file_index", "from_timestamp", "to_timestamp"]
    columns = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    columns += [f"videos/{camera}/{key}" for camera in cameras for key in keys]
    found = []
    for name in names:
        found += [(name, e) for e in read_parquet(folder, name, columns).to_pylist()]
    for name, _ in found[:1]:
        number_in(found[0][1], "episode_index", repr(str(folder / name)))
    for name, episode in sorted(found, key=lambda pair: pair[1]["episode_index"]):
        where = f"{str(folder / name)!r}, episode {episode['episode_index']}"

        def numbers(prefix: str, names: list[str], of: dict = episode, at: str = where) -> dict:
            return {key: number_in(of, f"{prefix}/{key}", at) for key in names}

        index = int(number_in(episode, "episode_index", where))
        length = int(number_in(episode, "length", where))
        videos, claims = {}, {}
        for camera in cameras:
            if episode.get(f"videos/{camera}/file_index") is None:
                continue  # the episode was filmed without it
            told = numbers(f"videos/{camera}", keys[:3])
            file = {"chunk_index": int(told["chunk_index"]), "file_index": int(told["file_index"])}
            videos[camera] = _path(info, "video_path", 3, video_key=camera, **file)
            end = episode.get(f"videos/{camera}/to_timestamp")
            claims[camera] = Claim(
                episode=index, begin=told["from_timestamp"], length=length,
                end=None if end is None else numbers(f"videos/{camera}", keys[3:])["to_timestamp"],
            )  # fmt: skip
        data = {key: int(n) for key, n in numbers("data", keys[:2]).items()}
        yield Episode(
            index=index,
            length=length,
            tasks=_tasks(episode, where),
            table=_path(info, "data_path", 3, **data),
            videos=videos,
            claims=claims,
        )


def _tasks(episode: dict, where: str) -> list[str]:
    tasks = episode.get("tasks")
    tasks = [] if tasks is None else [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise ValueError(f"{where}: tasks must be a list of texts, got {str(tasks)[:80]}.")
    return tasks
