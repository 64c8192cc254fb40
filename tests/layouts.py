"""Small data sets in the layouts of others, with real encoders."""

import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import google_crc32c
import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image
from videos import moving_square

CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4", ".mov": "mjpeg"}


def write_video(
    path: Path, num_frames: int = 5, fps: int = 4, codec: str | None = None, step: int = 2
) -> Path:
    """A video of a moving square, 64 x 48, in the codec that goes with the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = moving_square(num_frames, start=4, step=step)[:, :48]
    codec = codec or CODECS[path.suffix.lower()]
    kind = {".avi": "avi", ".webm": "webm", ".mov": "mov"}.get(path.suffix.lower(), "mp4")
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.thread_count = 1
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def image_bytes(number: int = 0, kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """An encoded image whose grey says its number."""
    out = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), 10 + number, np.uint8)).save(out, kind)
    return out.getvalue()


def write_frames(folder: Path, pattern: str, num_frames: int = 4, first: int = 1) -> Path:
    """A folder of JPEG frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num_frames):
        (folder / pattern.format(number + first)).write_bytes(image_bytes(number))
    return folder


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_table(path: Path, columns: dict[str, list], **types: pyarrow.DataType) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), path)


# LeRobot, by the published v2.1 and v3.0 specifications.


def lerobot_info(version: str, cameras: list[str], num_episodes: int, kind: str = "video") -> dict:
    is_v3 = version.startswith("v3")
    facts = {"video.height": 48, "video.width": 64, "video.codec": "h264", "video.fps": 4.0}
    features = {
        camera: {
            "dtype": kind,
            "shape": [48, 64, 3],
            "names": ["height", "width", "channels"],
            **({"video_info" if version == "v2.0" else "info": facts} if kind == "video" else {}),
        }
        for camera in cameras
    }
    for name in ("frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "int64", "shape": [1], "names": None}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features["action"] = {"dtype": "float32", "shape": [2], "names": ["x", "y"]}
    v2 = {
        "total_videos": len(cameras) * num_episodes,
        "total_chunks": 1,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
    }
    v3 = {
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    return {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": num_episodes,
        "total_frames": 0,
        "total_tasks": 2,
        "chunks_size": 1000,
        "fps": 4,
        "splits": {"train": f"0:{num_episodes}"},
        **(v3 if is_v3 else v2),
        "features": features,
    }


def frame_table(index: int, length: int, tasks: list[int], **more: list) -> dict[str, list]:
    """The columns of an episode's frames."""
    return {
        "action": [[0.0, 1.0]] * length,
        "timestamp": [frame / 4 for frame in range(length)],
        "frame_index": list(range(length)),
        "episode_index": [index] * length,
        "index": list(range(length)),
        "task_index": tasks,
        **more,
    }


def write_lerobot_v2(
    folder: Path,
    version: str = "v2.1",
    cameras: tuple[str, ...] = ("observation.images.top", "observation.images.wrist"),
    lengths: tuple[int, ...] = (5, 6),
) -> Path:
    """Two episodes, each with its own mp4 and Parquet file; the second has another task."""
    write_json(folder / "meta/info.json", lerobot_info(version, [*cameras], len(lengths)))
    said = ["put the cube in the bowl", "öffne die Schublade"]
    write_lines(
        folder / "meta/tasks.jsonl",
        [{"task_index": number, "task": task} for number, task in enumerate(said)],
    )
    write_lines(
        folder / "meta/episodes.jsonl",
        [
            {"episode_index": index, "tasks": [said[index % 2]], "length": length}
            for index, length in enumerate(lengths)
        ],
    )
    for index, length in enumerate(lengths):
        table = frame_table(index, length, [index % 2] * length)
        write_table(folder / f"data/chunk-000/episode_{index:06d}.parquet", table)
        for camera in cameras:
            write_video(
                folder / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4", num_frames=length
            )
    return folder


def write_lerobot_v3(
    folder: Path,
    cameras: tuple[str, ...] = ("observation.images.top", "observation.images.wrist"),
    lengths: tuple[int, ...] = (5, 6, 4),
    codec: str = "libx264",
    tasks_column: str = "__index_level_0__",
    more_columns: dict[str, list] | None = None,
    more_features: dict[str, dict] | None = None,
    column_types: dict[str, pyarrow.DataType] | None = None,
    task_numbers: list[int] | None = None,
    tasks_of: list[list[str]] | None = None,
) -> Path:
    """All episodes in one mp4 per camera and one Parquet file."""
    said = ["put the cube in the bowl", "öffne die Schublade"]
    info = lerobot_info("v3.0", [*cameras], len(lengths))
    info["features"] |= more_features or {}
    write_json(folder / "meta/info.json", info)
    write_table(folder / "meta/tasks.parquet", {"task_index": [0, 1], tasks_column: said})
    begins = np.cumsum([0, *lengths])
    episodes: dict[str, list] = {
        "episode_index": list(range(len(lengths))),
        "tasks": tasks_of or [[said[index % 2]] for index in range(len(lengths))],
        "length": list(lengths),
        "data/chunk_index": [0] * len(lengths),
        "data/file_index": [0] * len(lengths),
        "dataset_from_index": begins[:-1].tolist(),
        "dataset_to_index": begins[1:].tolist(),
        "stats/action/mean": [[0.0, 1.0]] * len(lengths),
        "meta/episodes/chunk_index": [0] * len(lengths),
        "meta/episodes/file_index": [0] * len(lengths),
    }
    for camera in cameras:
        episodes |= {
            f"videos/{camera}/chunk_index": [0] * len(lengths),
            f"videos/{camera}/file_index": [0] * len(lengths),
            f"videos/{camera}/from_timestamp": (begins[:-1] / 4).tolist(),
            f"videos/{camera}/to_timestamp": (begins[1:] / 4).tolist(),
        }
        write_video(
            folder / f"videos/{camera}/chunk-000/file-000.mp4",
            num_frames=int(begins[-1]),
            codec=codec,
        )
    write_table(folder / "meta/episodes/chunk-000/file-000.parquet", episodes)
    frames: dict[str, list] = {}
    for index, length in enumerate(lengths):
        for name, values in frame_table(index, length, [index % 2] * length).items():
            frames.setdefault(name, []).extend(values)
    if task_numbers:
        frames["task_index"] = task_numbers
    frames |= more_columns or {}
    write_table(folder / "data/chunk-000/file-000.parquet", frames, **(column_types or {}))
    return folder


# TFRecord: the format's own framing, and tf.train.Example by its field numbers.


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def example_message(features: dict[str, list]) -> bytes:
    """A tf.train.Example of byte and integer lists."""
    entries = b""
    for name, values in features.items():
        if values and isinstance(values[0], int):
            kind = _field(3, _field(1, b"".join(_varint(value) for value in values)))
        else:
            kind = _field(1, b"".join(_field(1, value) for value in values))
        entries += _field(1, _field(1, name.encode()) + _field(2, kind))
    return _field(1, entries)


def masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def write_records(path: Path, messages: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for message in messages:
            head = struct.pack("<Q", len(message))
            file.write(head + masked_crc(head) + message + masked_crc(message))
    return path
