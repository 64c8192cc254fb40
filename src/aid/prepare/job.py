"""What `prepare` was asked for, as plain values."""

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
class Made:
    """A finished shard: its file, how many rows it holds, which rows were left out and why.

    `notes` are those of a `NoteCounter`: what was done to the rows' files beyond plain decoding.
    `facts` are the size and the SHA-256 of the file, from the process that wrote or found it.
    """

    name: str
    num_rows: int
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    notes: dict[str, list] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a process has done since it last said so.

    `done` rows need no more work; `encoded` of them were encoded now, which took `seconds`, of
    which the encoders `waited` so many for frames to be decoded.
    """

    done: int = 0
    encoded: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def __add__(self, more: "Spent") -> "Spent":
        """Both together."""
        return Spent(
            done=self.done + more.done, encoded=self.encoded + more.encoded,
            seconds=self.seconds + more.seconds, waited=self.waited + more.waited,
        )  # fmt: skip

    def __sub__(self, less: "Spent") -> "Spent":
        """What has come since."""
        return Spent(
            done=self.done - less.done, encoded=self.encoded - less.encoded,
            seconds=self.seconds - less.seconds, waited=self.waited - less.waited,
        )  # fmt: skip


Tell = Callable[[Spent], None]
"""Called whenever a batch or a shard is done."""


def line_of(row: Any) -> dict[str, Any]:
    """A row as JSON values, as far as a process elsewhere needs it to make its shard."""
    values = asdict(row)
    for name in ("world", "wordings", "states"):  # only the command itself needs them
        values.pop(name, None)
    return values


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every shard of a cache has in common.

    `data` and `out` are paths or URLs, `backbone` is a folder. `device` is what the user asked for;
    every process takes its own from it. `batch_size` is how many frames are encoded at once.
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
        """Refuses settings that cannot be run."""
        dtype_of(self.precision)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 frame, got {self.batch_size}.")

    def arithmetic(self) -> list[str]:
        """Everything that decides which numbers the encoders make of pixels and words.

        Device and batch size are not in it: they change results by no more than the rounding of
        the float16 in which a cache is stored. (That goes for CUDA, too, whose convolutions
        compute float32 in TF32, with the 10 bits of float16.) Half precision changes what is
        stored.
        """
        return [self.backbone_id, self.precision]

    def decoding(self) -> dict:
        """Everything that decides which pixels come out of a video."""
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
        """Where the videos are."""
        return Store(self.data)

    @functools.cached_property
    def store(self) -> Store:
        """Where the cache is."""
        return Store(self.out)

    @functools.cached_property
    def parts(self) -> Backbone:
        """The frozen encoders on this process's device, loaded when they are first needed.

        On an accelerator they encode a batch of black frames first, so that too little memory is
        noticed before hours have gone into decoding.

        Raises:
            ValueError: the backbone is not whole, or the device has too little memory.
        """
        parts = ("vae", "image_encoder", "text_encoder", "tokenizer")
        loaded = load_backbone(self.backbone, parts, dtype_of(self.precision))
        with self.memory():
            loaded.to(self.place)
            if self.place.type != "cpu":
                self._try_batch(loaded)
        return loaded

    def _try_batch(self, parts: Backbone) -> None:
        """Encodes as much at once as any later step."""
        size = (self.height, self.width)
        videos = max(1, self.batch_size // self.num_frames)
        frames = torch.zeros(videos, self.num_frames, 3, *size, dtype=torch.uint8)
        parts.encode(floats(self.put(frames)), self.batch_size)
        parts.encode_image(self.put(torch.zeros(self.batch_size, 3, *size)))
        sentences = [str(number) for number in range(TEXT_BATCH)]
        encode_sentences(parts.tokenizer, parts.part("text_encoder"), sentences)

    @functools.cached_property
    def place(self) -> torch.device:
        """Where this process computes.

        Raises:
            ValueError: the device is not on this machine.
        """
        return choose_device(self.device)

    def put(self, tensor: Tensor) -> Tensor:
        """A tensor of the CPU's on the device; pinned memory is copied while the CPU goes on."""
        return tensor.to(self.place, non_blocking=self.place.type == "cuda")

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor in memory that a CUDA device reads by itself; as it is for other devices."""
        return tensor.pin_memory() if self.place.type == "cuda" else tensor

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Turns a device that is out of memory into one sentence.

        Raises:
            ValueError: it is.
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
        """Whether a shard is there and undamaged."""
        if not self.store.has(name):
            return False
        return self.store.folder is None or is_whole(
            self.store.folder / name
        )  # URLs: or not at all


Encode = Callable[[Job, Iterable[list[Any]], Tell], Iterator[Made]]
"""Makes shards of rows."""
