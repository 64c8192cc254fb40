"""What `prepare` was asked for, as plain values."""

import functools
from dataclasses import dataclass, field

from aid.config import ConditionConfig, FrameConfig, to_json
from aid.data.shards import open_shard
from aid.data.store import Store
from aid.models.backbone import Backbone, load_backbone


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished shard: its file, how many rows it holds, which rows were left out and why."""

    name: str
    num_rows: int
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every shard of a cache has in common.

    `data` and `out` are paths or URLs, `backbone` is a folder.
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
        """The frozen encoders, loaded when they are first needed."""
        parts = ("vae", "image_encoder", "text_encoder", "tokenizer")
        return load_backbone(self.backbone, parts)

    def has_whole(self, name: str) -> bool:
        """Whether a shard is there and undamaged."""
        if not self.store.has(name):
            return False
        if self.store.folder is not None:  # elsewhere files appear whole
            try:
                open_shard(self.store.folder / name)
            except ValueError:
                return False
        return True
