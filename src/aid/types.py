"""Plain records that several rooms hand to each other. Imports nothing of ours."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class State:
    """One stage of a video in words, with the frames it spans (both ends included)."""

    text: str
    first_frame: int
    last_frame: int


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """One line of a manifest: a video, what it shows and where it is.

    `video` is relative to the manifest's folder. `instruction` is empty where a video has none.
    `wordings` are other ways to say the instruction. `world` is what the source knows beyond that
    (for the table-top: seed, task, items with their true positions, camera, success).
    """

    id: str
    video: str
    instruction: str
    num_frames: int
    fps: float
    height: int
    width: int
    wordings: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    world: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "VideoRow":
        """The row again; unknown or missing keys raise a `ValueError` that names them."""
        try:
            states = [State(**state) for state in row.get("states", [])]
            return cls(**{**row, "states": states})
        except TypeError as error:
            raise ValueError(f"manifest row {row.get('id', '?')!r} is malformed: {error}") from None
