"""LeRobot data sets, v2.0, v2.1 and v3.x, read from their files: a row per episode and camera.

    v2.x  meta/episodes.jsonl, meta/tasks.jsonl; an mp4 and a Parquet file per episode
    v3.x  meta/episodes/*/*.parquet, meta/tasks.parquet; many episodes in one mp4 and one Parquet

An episode with several tasks one after another becomes a row per task. Cameras that are stored as
images inside the Parquet files are unpacked by `unpack_lerobot`.

Video files of v3 hold many episodes each. The tables give the start of an episode
(`from_timestamp`), mostly its end (`to_timestamp`), and its number of frames (`length`); the file's
header gives the number of frames of the file. Where these contradict each other, the episodes'
lengths are used if together they fill the file; else episodes that overlap or end after the file
are left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aid.data.files import (
    inside,
    number_in,
    read_json,
    read_json_lines,
    read_parquet,
    write_frames,
)
from aid.data.headers import SAME_RATE, fill_in
from aid.data.readers import unopened_row
from aid.data.readers.lerobot_tasks import Tables, TaskSpan, spans_of
from aid.types import VideoRow
from aid.video.notes import IssueCounter

INFO = "meta/info.json"
# Where the files are unless info.json says otherwise.
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

SAME_CLOCK = 5e-4
"""Relative difference of two rates below which the frames of an hour have equal numbers."""
HALF_A_FRAME = 0.5
"""Difference, in frames, by which a listed time may deviate from its frame's."""


@dataclass(frozen=True)
class Camera:
    """An image feature: `kind` is "video" or "image"; height and width are 0 if unknown."""

    name: str
    kind: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class ListedSpan:
    """Where the tables say that an episode lies in a video file: seconds, and number of frames."""

    episode: int
    begin: float
    end: float | None
    length: int


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where an episode lies in a file: its first frame, number of frames, frames a second."""

    first: int
    length: int
    rate: float

    def seconds(self, frame: int) -> float:
        """The time of a frame of the episode, in seconds after the start of the file."""
        return (self.first + frame) / self.rate


@dataclass(frozen=True)
class Episode:
    """One episode: the file of its table, and of each camera the video file.

    `listed` says where in a file of several episodes it lies, by camera.
    """

    index: int
    length: int
    tasks: list[str]
    table: str
    videos: dict[str, str]
    listed: dict[str, ListedSpan] = field(default_factory=dict)


def is_lerobot(folder: Path) -> bool:
    """Whether it has LeRobot's `meta/info.json`."""
    return (folder / INFO).is_file()


def read_lerobot(folder: Path, notes: list[str]) -> Iterator[VideoRow]:
    """A row per episode, task and camera, in the order of the episodes.

    Raises:
        ValueError: the version is not supported, or a file is missing or malformed.
    """
    where = repr(str(folder / INFO))
    info = read_json(folder, INFO, dict)
    version = str(info.get("codebase_version"))
    major = {"v2.0": 2, "v2.1": 2}.get(version, 3 if re.fullmatch(r"v3\.\d+", version) else 0)
    if not major:
        raise ValueError(
            f"{where}: codebase_version {version!r} is not supported; v2.0, v2.1 and v3.x are. "
            "Convert it with LeRobot's own scripts."
        )
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise ValueError(f"{where}: features must be an object of objects.")
    fps = number_in(info, "fps", where)
    if fps <= 0:
        raise ValueError(f"{where}: fps must be above 0, got {fps}.")
    cameras = _cameras(features, notes)
    videos = [camera.name for camera in cameras if camera.kind == "video"]
    issues = IssueCounter()
    if major == 2:
        episodes, located = _episodes_v2(folder, info, videos), {}
    else:
        episodes = list(_episodes_v3(folder, info, videos))
        located = _locate(folder, _by_file(folder, episodes), fps, issues)
    tables = Tables(folder, features, fps, is_v3=major == 3, issues=issues)
    splits = _splits(info)
    number = 0
    try:
        for number, episode in enumerate(episodes, start=1):  # noqa: B007  (counted below)
            split = next((name for name, span in splits.items() if episode.index in span), "")
            tasks = spans_of(tables, episode.table, episode.index, episode.length, episode.tasks)
            for camera in cameras:
                file = episode.videos.get(camera.name)
                if camera.kind == "video" and (file is None or not inside(folder, file).is_file()):
                    issues.add(
                        f"episodes have no video of camera {camera.name!r}",
                        file or f"episode {episode.index}",
                    )
                    continue
                span = located.get((file, episode.index))
                if span is None and camera.name in episode.listed:
                    continue  # was counted by `_locate`
                yield from _rows(episode, camera, tasks, fps, split, span)
        total = info.get("total_episodes")
        if isinstance(total, int) and total != number:
            notes.append(f"info.json says {total:,} episodes, and {number:,} are listed.")
    finally:
        notes += issues.notes()


def _by_file(folder: Path, episodes: list[Episode]) -> dict[str, list[ListedSpan]]:
    """The listed spans of each video file that exists."""
    found: dict[str, list[ListedSpan]] = {}
    for episode in episodes:
        for camera, span in episode.listed.items():
            found.setdefault(episode.videos[camera], []).append(span)
    return {file: spans for file, spans in found.items() if inside(folder, file).is_file()}


def _rows(
    episode: Episode,
    camera: Camera,
    tasks: list[TaskSpan],
    fps: float,
    split: str,
    span: Span | None,
) -> Iterator[VideoRow]:
    name = f"episode_{episode.index:06d}/{camera.name}"
    packed = {"packed": episode.table} if camera.kind == "image" else {}
    span = span or Span(first=0, length=episode.length, rate=fps)
    is_alone = camera.name not in episode.listed
    # The rate of a file may differ from that of the tables.
    scale = span.length / episode.length if episode.length else 1.0
    for number, task in enumerate(tasks):
        start, stop = round(task.start * scale), round(task.stop * scale)
        is_whole = len(tasks) == 1 and is_alone
        yield VideoRow(
            id=name if len(tasks) == 1 else f"{name}/{number}",
            video=episode.videos.get(camera.name, name),
            instruction=task.instruction,
            num_frames=stop - start,
            fps=span.rate,
            height=camera.height,
            width=camera.width,
            wordings=task.wordings,
            states=task.states,
            world={"episode": str(episode.index), **packed},
            camera=camera.name,
            split=split,
            start=0.0 if is_whole else span.seconds(start),
            stop=None if is_whole else span.seconds(stop),
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
                f"for episode {row.world['episode']}. Save the data set with embedded images."
            )
        write_frames(out / row.video, frames)


def _cameras(features: dict[str, dict], notes: list[str]) -> list[Camera]:
    """The colour features. Image features only if there is no video: they must be unpacked."""
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
    """The facts about a feature's video: under "info" (v2.1, v3) or "video_info" (v2.0)."""
    both = (feature.get("video_info"), feature.get("info"))
    return {key: value for facts in both if isinstance(facts, dict) for key, value in facts.items()}


def _is_depth(name: str, feature: dict) -> bool:
    facts = _facts(feature)
    is_flagged = facts.get("is_depth_map") or facts.get("video.is_depth_map")
    return bool(is_flagged) or bool(re.search(r"(?<![a-z])(depth|disparity)", name.lower()))


def _sides(feature: dict) -> dict[str, Any]:
    """The feature's shape by the first letter of its axes: "h", "w" and "c"."""
    shape, names = feature.get("shape"), feature.get("names")
    if not isinstance(shape, list) or len(shape) not in (2, 3):
        return {}
    # Both orders are in use; "names" decides, or without it the axis of length 1 or 3.
    given = [str(n).lower() for n in names] if isinstance(names, list) else []
    if len(given) != len(shape):
        is_first = len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)
        given = ["channel", "height", "width"] if is_first else ["height", "width", "channel"]
    return {axis[:1]: side for axis, side in zip(given, shape, strict=False)}


def _num_channels(feature: dict) -> int:
    """Colour channels of a feature; 0 if unknown."""
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
    """A path from a template in info.json. It is untrusted: only names and widths are allowed."""
    template = info.get(key) or PATHS[major][key]

    def put(found: re.Match) -> str:
        value = values.get(found[1])
        if value is None:
            raise ValueError(
                f"{INFO}: {key} {template!r} refers to {found[0]!r}, which is unknown."
            )
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
        raise ValueError(
            f"{str(folder)!r} has no meta/episodes/*/*.parquet. Download it completely again."
        )
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

        def numbers(prefix: str, names: list[str], of: dict = episode, line: str = where) -> dict:
            return {key: number_in(of, f"{prefix}/{key}", line) for key in names}

        index = int(number_in(episode, "episode_index", where))
        length = int(number_in(episode, "length", where))
        videos, listed = {}, {}
        for camera in cameras:
            if episode.get(f"videos/{camera}/file_index") is None:
                continue  # the episode has no video of this camera
            at = numbers(f"videos/{camera}", keys[:3])
            file = {key: int(at[key]) for key in keys[:2]}
            videos[camera] = _path(info, "video_path", 3, video_key=camera, **file)
            end = episode.get(f"videos/{camera}/to_timestamp")
            if end is not None:
                end = numbers(f"videos/{camera}", keys[3:])["to_timestamp"]
            listed[camera] = ListedSpan(
                episode=index, begin=at["from_timestamp"], end=end, length=length
            )
        data = {key: int(n) for key, n in numbers("data", keys[:2]).items()}
        yield Episode(
            index=index,
            length=length,
            tasks=_tasks(episode, where),
            table=_path(info, "data_path", 3, **data),
            videos=videos,
            listed=listed,
        )


def _tasks(episode: dict, where: str) -> list[str]:
    tasks = episode.get("tasks")
    tasks = [] if tasks is None else [tasks] if isinstance(tasks, str) else tasks
    if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise ValueError(f"{where}: tasks must be a list of texts, got {str(tasks)[:80]}.")
    return tasks


def _locate(
    folder: Path, listed: dict[str, list[ListedSpan]], fps: float, issues: IssueCounter
) -> dict[tuple[str, int], Span]:
    """Spans by file and episode; contradictory ones are left out and counted.

    Args:
        listed: by file.
        fps: of the data set, as info.json says.
    """
    found: dict[tuple[str, int], Span] = {}
    headers = fill_in(folder, [unopened_row(id=name, video=name) for name in listed])
    for name, header in zip(listed, headers, strict=True):
        rate = header.fps or fps
        if abs(rate / fps - 1) > SAME_RATE:
            reason = "video files have another frame rate than info.json says; theirs is used"
            issues.add(reason, f"{name}: {rate:g}, not {fps:g}")
        elif abs(rate / fps - 1) < SAME_CLOCK:
            rate = fps
        ordered = sorted(listed[name], key=lambda one: (one.begin, one.episode))
        spans = _spans(ordered, rate, fps, header.num_frames)
        for one, span in zip(ordered, spans, strict=True):
            where = f"{name}, episode {one.episode}"
            if span is None:
                reason = "episodes are left out: their times in the table contradict the video file"
                issues.add(reason, where)
                continue
            if abs(span.first - one.begin * rate) > HALF_A_FRAME:
                reason = (
                    "episodes lie elsewhere in the video file than their table says; their lengths "
                    "fill the file and are used"
                )
                issues.add(reason, where)
            if span.length not in (round(one.length * rate / fps), one.length):
                reason = (
                    "episodes have another number of frames in the video than their table says; "
                    "the video's is used"
                )
                issues.add(reason, f"{where}: {span.length}, not {one.length}")
            found[name, one.episode] = span
    return found


def _spans(listed: list[ListedSpan], rate: float, fps: float, total: int) -> list[Span | None]:
    """The spans of a file's episodes in order; None for contradictory ones.

    Args:
        rate: of the file.
        fps: at which the tables count.
        total: frames of the file; 0 if it cannot be opened.
    """
    lengths = [one.length for one in listed]
    if total and sum(lengths) == total:  # one after another, whatever the times say
        firsts = [sum(lengths[:number]) for number in range(len(lengths))]
        return [
            Span(first=first, length=length, rate=rate)
            for first, length in zip(firsts, lengths, strict=True)
        ]
    spans: list[Span | None] = []
    for one in listed:
        length = one.length * rate / fps
        if one.end is not None and one.end > one.begin:
            length = (one.end - one.begin) * rate
        spans.append(Span(first=round(one.begin * rate), length=max(1, round(length)), rate=rate))
    if not total:  # an error names the file when it is decoded
        return spans
    ends = [span.first + span.length for span in spans]
    wrong = {number for number, end in enumerate(ends) if end > total}
    for number in range(1, len(spans)):
        if ends[number - 1] > spans[number].first:
            wrong |= {number - 1, number}
    return [None if number in wrong else span for number, span in enumerate(spans)]
