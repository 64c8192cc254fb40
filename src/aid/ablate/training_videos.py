"""The training videos of a method: latents and text tokens of a cache, or the data set's pixels.

Pixels are decoded once, as uint8, into safetensors files beside the cache, and memory-mapped.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aid.config import FrameConfig, SourceConfig, from_json
from aid.data.cache import Cache
from aid.data.frames import floats, read_frames
from aid.data.shards import pieces
from aid.data.sources import read_source, with_instructions
from aid.data.store import Store
from aid.data.windows import cut_windows
from aid.rivals.method import Sizes, Videos
from aid.types import VideoRow
from aid.video import remove_leftovers, to_uint8, whole_file

MOST_BYTES = 64 * 2**20
"""Of the pixels in one file."""


def pixel_folder(cache: Path) -> Path:
    """Where the pixels of a cache's videos lie."""
    return cache.with_name(f"{cache.name}_pixels")


def sizes_of(cache: Cache, space: str) -> Sizes:
    """The sizes of a cache's videos and text tokens."""
    made = cache.settings["fingerprint"]
    if space == "pixels":
        channels, height, width = 3, made["height"], made["width"]
    else:
        channels, height, width = cache.batch([0]).latents.shape[2:]
    return Sizes(
        num_frames=made["num_frames"], channels=channels, height=height, width=width,
        text_dim=cache.settings["text_dim"], text_length=cache.settings["sentence_length"],
    )  # fmt: skip


class TrainingVideos:
    """The videos of a cache as `Videos`; `len` is their number.

    Args:
        cache: has the latents and the text tokens.
        space: what the videos are.

    Raises:
        ValueError: pixels are wanted and not decoded, or damaged.
    """

    def __init__(self, cache: Cache, space: str) -> None:
        self.cache = cache
        self._pixels = PixelFiles(cache) if space == "pixels" else None

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.cache)

    def batch(self, indices: Sequence[int], generator: torch.Generator) -> Videos:
        """Some videos; the generator draws a wording of each instruction."""
        batch = self.cache.batch(list(indices), generator)
        videos = batch.latents
        if self._pixels is not None:
            videos = torch.stack([floats(self._pixels[index]) for index in indices])
        return Videos(
            videos=videos, text=batch.instruction_tokens, text_mask=batch.instruction_mask
        )


class PixelFiles:
    """The decoded videos of a cache, each read when it is asked for.

    Raises:
        ValueError: a file is missing or damaged, or is another cache's.
    """

    def __init__(self, cache: Cache) -> None:
        self._files = ExitStack()
        self._slices, self._number = [], 0
        for path, rows in _planned(cache):
            try:
                file = self._files.enter_context(safe_open(path, framework="pt"))
                is_own = (file.metadata() or {}).get("rows") == _fingerprint(cache, rows)
            except (SafetensorError, OSError):
                is_own = False
            if not is_own:
                raise ValueError(
                    f"{str(path)!r} does not hold the pixels of cache {str(cache.folder)!r}. Give "
                    "the data set, from which they are decoded: --data"
                )
            self._slices.append(file.get_slice("videos"))
        self._each = len(next(_planned(cache))[1])

    def __getitem__(self, index: int) -> UInt8[Tensor, "f 3 H W"]:
        """One video."""
        shard, place = divmod(index, self._each)
        return self._slices[shard][place]


def decode_pixels(
    cache: Cache, data: Path | str, on_video: Callable[[str, int, int], None] | None = None
) -> None:
    """Decodes the videos of a cache into files beside it; those that are there are kept.

    Args:
        cache: of the videos; it knows which frames of them, at which size.
        data: the data set that it was made from.
        on_video: called with (task, videos done, number of videos).

    Raises:
        ValueError: a video of the cache is not in the data set, or cannot be read.
    """
    made = cache.settings["fingerprint"]
    frames = from_json(FrameConfig, cache.settings.get("frames", {}))
    source = read_source(data, from_json(SourceConfig, cache.settings.get("source", {})))
    rows = cut_windows(
        with_instructions(source.rows, []) or source.rows, frames, made["num_frames"]
    )
    by_id = {row.id: row for row in rows}
    folder, done = pixel_folder(cache.folder), 0
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    for path, names in _planned(cache):
        fingerprint = _fingerprint(cache, names)
        if not _is_made(path, fingerprint):
            if missing := [name for name in names if name not in by_id]:
                raise ValueError(
                    f"video {missing[0]!r} of cache {str(cache.folder)!r} is not in {str(data)!r}. "
                    "Give the data set that the cache was made from."
                )
            chosen = [by_id[name] for name in names]
            pixels = torch.stack(list(_read(source.place, chosen, frames, made)))
            with whole_file(path) as temporary:
                save_file({"videos": pixels}, temporary, metadata={"rows": fingerprint})
        done += len(names)
        if on_video is not None:
            on_video("pixels", done, len(cache))


def _read(
    place: Path | str, rows: Sequence[VideoRow], frames: FrameConfig, made: dict[str, Any]
) -> Iterator[UInt8[Tensor, "f 3 H W"]]:
    with Store(place).local([row.video for row in rows]) as paths:
        for row in rows:
            read = read_frames(
                paths[row.video], row, frames, made["num_frames"], made["height"], made["width"]
            )
            video = torch.from_numpy(to_uint8(floats(read.pixels)))
            yield video.permute(0, 3, 1, 2).contiguous()


def _planned(cache: Cache) -> Iterator[tuple[Path, list[str]]]:
    """The files and the ids of the videos in each."""
    made = cache.settings["fingerprint"]
    video = made["num_frames"] * 3 * made["height"] * made["width"]
    names = [row["id"] for row in cache.rows]
    for number, some in enumerate(pieces(names, max(1, MOST_BYTES // video))):
        yield pixel_folder(cache.folder) / f"videos-{number:04d}.safetensors", some


def _fingerprint(cache: Cache, names: Sequence[str]) -> str:
    made = cache.settings["fingerprint"]
    known = {key: made.get(key) for key in ("manifest", "num_frames", "height", "width")}
    return json.dumps({**known, "first": names[0], "number": len(names)}, sort_keys=True)


def _is_made(path: Path, fingerprint: str) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("rows") == fingerprint
    except (SafetensorError, OSError):
        return False
