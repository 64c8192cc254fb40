"""Plain records that several rooms hand to each other. Imports nothing of ours."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Provenance = Literal["video", "first_frame", "text"]


@dataclass(frozen=True, kw_only=True)
class State:
    """One stage of a video in words, with the frames it spans (both ends included).

    It spans the whole video where nobody knows more.
    """

    text: str
    first_frame: int
    last_frame: int


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """One line of a manifest: a video, what it shows and where it is.

    `video` is relative to the manifest's folder: a file, or a folder of frame images in the order
    of their numbers. `start` and `stop` are the seconds of the file that the video spans; None is
    its end. `num_frames`, `fps`, `height` and `width` are 0 where nobody knows them before the
    pixels are read (a damaged file, frames without a rate). `instruction` is empty where a video
    has none. `wordings` are other ways to say the instruction. `state_writer` names who wrote the
    `states` (empty: whoever made the data) and `states_see` what they are made from. `camera` and
    `split` are the source's own names. `world` is what the source knows beyond that (for the
    table-top: seed, task, items with their true positions, camera, success).
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
    state_writer: str = ""
    states_see: Provenance = "video"
    world: dict[str, Any] = field(default_factory=dict)
    camera: str = ""
    split: str = ""
    start: float = 0.0
    stop: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "VideoRow":
        """The row again.

        Raises:
            ValueError: a key is unknown or missing, or a value is not what it must be.
        """
        try:
            states = [State(**state) for state in row.get("states", [])]
            made = cls(**{**row, "states": states})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"manifest row {row.get('id', '?')!r} is malformed: {error}") from None
        if wrong := made._first_wrong():
            raise ValueError(
                f"manifest row {row['id']!r} is malformed: {wrong} = {getattr(made, wrong)!r}."
            )
        return made

    def _first_wrong(self) -> str | None:
        """The name of the first field whose value cannot be, None if all can."""
        words = ("id", "video", "instruction", "camera", "split", "state_writer")
        counts = ("num_frames", "height", "width")
        seconds = ("fps", "start", *(() if self.stop is None else ("stop",)))
        fits = {
            **{name: isinstance(getattr(self, name), str) for name in words},
            "id": isinstance(self.id, str) and self.id != "",
            **{name: _is_number(getattr(self, name), int) for name in counts},
            **{name: _is_number(getattr(self, name), int, float) for name in seconds},
            "wordings": isinstance(self.wordings, list)
            and all(isinstance(wording, str) for wording in self.wordings),
            "states": all(isinstance(state.text, str) for state in self.states),
            "states_see": self.states_see in get_args(Provenance),
            "world": isinstance(self.world, dict),
        }
        if all(fits.values()) and self.stop is not None:
            fits["stop"] = self.stop > self.start
        return next((name for name, fit in fits.items() if not fit), None)


def _is_number(value: Any, *kinds: type) -> bool:
    """Whether it is a finite number of one of these kinds and not below zero; True is no number."""
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < float("inf")


class Stopped(Exception):
    """A run ended early because somebody asked it to; its state is saved."""
