"""An encoding job: the settings that all shards of a cache share, and the frozen encoders."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from aid.conditioning.encoders import BATCH as TEXT_BATCH
from aid.conditioning.encoders import encode_sentences
from aid.config import ConditionConfig, FrameConfig, Precision, to_json
from aid.data.frames import floats
from aid.data.shards import is_whole
from aid.data.store import Store
from aid.models.backbone import Backbone, load_backbone
from aid.models.devices import choose_device, dtype_of


@dataclass(frozen=True, kw_only=True)
class ShardResult:
    """A finished shard.

    Attributes:
        name: of its file.
        num_rows: in it.
        facts: size and SHA-256 of the file.
        skipped: ids of rows that were left out, and the reasons.
        notes: counts of a `NoteCounter`: what was done to the rows' files beyond plain decoding.
    """

    name: str
    num_rows: int
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a process has done since its last report.

    Attributes:
        done: rows that are finished.
        encoded: those of them that were encoded now.
        seconds: that it took.
        waited: seconds of them in which the encoders waited for decoding.
    """

    done: int = 0
    encoded: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def __add__(self, more: "Progress") -> "Progress":
        """The sum of both."""
        return Progress(
            done=self.done + more.done, encoded=self.encoded + more.encoded,
            seconds=self.seconds + more.seconds, waited=self.waited + more.waited,
        )  # fmt: skip

    def __sub__(self, less: "Progress") -> "Progress":
        """What was done since `less`."""
        return Progress(
            done=self.done - less.done, encoded=self.encoded - less.encoded,
            seconds=self.seconds - less.seconds, waited=self.waited - less.waited,
        )  # fmt: skip


OnProgress = Callable[[Progress], None]
"""Called after every batch and every shard."""


def row_as_json(row: Any) -> dict[str, Any]:
    """A row as JSON values, as far as another process needs it to make a shard."""
    values = asdict(row)
    for name in ("world", "wordings", "states"):  # only rank 0 needs them
        values.pop(name, None)
    return values


@dataclass(frozen=True, kw_only=True)
class EncodingJob:
    """The settings that all shards of a cache share.

    Attributes:
        data: path or URL of the videos.
        out: path or URL of the cache.
        backbone: its folder; `backbone_id` is its hash.
        num_frames: of a video.
        height: of the frames in pixels; `width` likewise.
        skip_corrupt: whether damaged videos are left out instead of raising an error.
        num_threads: for decoding.
        device: as the user gave it; every process derives its own from it.
        precision: of the encoders.
        batch_size: number of frames that are encoded at once.
    """

    data: str
    out: str
    backbone: str
    backbone_id: str
    condition: ConditionConfig
    frames: FrameConfig
    num_frames: int
    height: int
    width: int
    skip_corrupt: bool = False
    num_threads: int = 2
    device: str | None = None
    precision: Precision = "float32"
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Raises for settings that cannot be run."""
        dtype_of(self.precision)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 frame, got {self.batch_size}.")

    def arithmetic(self) -> list[str]:
        """Everything that decides what the encoders compute from pixels and text.

        Not included are device and batch size: they change results by no more than the rounding to
        float16, in which a cache is stored (on CUDA, too, where convolutions in float32 use TF32
        with the 10 bits of float16). Half precision changes what is stored.
        """
        return [self.backbone_id, self.precision]

    def decoding(self) -> dict:
        """Everything that decides which pixels are decoded from a video."""
        frames = to_json(self.frames)
        rate = self.frames.rate(self.num_frames)
        chosen = {name: frames[name] for name in ("sampling", "height", "width")}
        return {
            "frames": chosen if rate is None else chosen | {"rate": rate},
            "num_frames": self.num_frames,
            "num_given_frames": self.condition.num_given_frames,
            "size": [self.height, self.width],
        }

    @functools.cached_property
    def source(self) -> Store:
        """The folder of the videos."""
        return Store(self.data)

    @functools.cached_property
    def store(self) -> Store:
        """The folder of the cache."""
        return Store(self.out)

    @functools.cached_property
    def parts(self) -> Backbone:
        """The frozen encoders on this process's device, loaded when they are first used.

        On an accelerator they first encode a batch of black frames, so that too little memory is
        noticed before hours of decoding.

        Raises:
            ValueError: the backbone is incomplete, or the device has too little memory.
        """
        parts = ("vae", "image_encoder", "text_encoder", "tokenizer")
        loaded = load_backbone(self.backbone, parts, dtype_of(self.precision))
        with self.memory():
            loaded.to(self.place)
            if self.place.type != "cpu":
                self._try_batch(loaded)
        return loaded

    def _try_batch(self, parts: Backbone) -> None:
        """Encodes the largest batches of all later steps."""
        size = (self.height, self.width)
        videos = max(1, self.batch_size // self.num_frames)
        frames = torch.zeros(videos, self.num_frames, 3, *size, dtype=torch.uint8)
        parts.encode(floats(self.put(frames)), self.batch_size)
        parts.encode_image(self.put(torch.zeros(self.batch_size, 3, *size)))
        sentences = [str(number) for number in range(TEXT_BATCH)]
        encode_sentences(parts.tokenizer, parts.part("text_encoder"), sentences)

    @functools.cached_property
    def place(self) -> torch.device:
        """The device of this process.

        Raises:
            ValueError: the device is not on this machine.
        """
        return choose_device(self.device)

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the device; pinned memory is copied asynchronously."""
        return tensor.to(self.place, non_blocking=self.place.type == "cuda")

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor in pinned memory for CUDA; unchanged for other devices."""
        return tensor.pin_memory() if self.place.type == "cuda" else tensor

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Converts an out-of-memory error of the device into a ValueError.

        Raises:
            ValueError: the device is out of memory.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            fewer = self.batch_size // 2
            remedy = f"Encode fewer at once: --batch_size {fewer}" if fewer else "Use --device cpu"
            raise ValueError(
                f"{str(self.place)!r} has too little memory for encoding {self.batch_size} frames "
                f"of {self.width} x {self.height} pixels at once in {self.precision}. {remedy}"
            ) from None

    def has_whole(self, name: str) -> bool:
        """Whether a shard exists and is undamaged; behind a URL, whether it exists."""
        if not self.store.has(name):
            return False
        return self.store.folder is None or is_whole(self.store.folder / name)


Encode = Callable[[EncodingJob, Iterable[list[Any]], OnProgress], Iterator[ShardResult]]
"""Makes shards of rows."""
