"""Plain records that several packages pass to each other. Imports no other module of aid."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Provenance = Literal["video", "first_frame", "text"]


@dataclass(frozen=True, kw_only=True)
class State:
    """One stage of a video in words, with the frames it spans (both ends included).

    It spans the whole video if nothing more is known.
    """

    text: str
    first_frame: int
    last_frame: int

    def within(self, start: int, stop: int) -> "State | None":
        """The part in frames `start` to `stop` (excluded), counted from `start`; None if empty."""
        if self.first_frame >= stop or self.last_frame < start:
            return None
        first, last = max(self.first_frame, start), min(self.last_frame, stop - 1)
        return State(text=self.text, first_frame=first - start, last_frame=last - start)


@dataclass(frozen=True, kw_only=True)
class VideoRow:
    """One line of a manifest: a video, what it shows and where it is.

    Attributes:
        video: path below the manifest's folder: a file, or a folder of numbered frame images.
        instruction: empty if the video has none; `wordings` are paraphrases of it.
        num_frames: with `fps`, `height` and `width`, 0 if unknown before the pixels are read (a
            damaged file, frames without a rate).
        states: the stages; `state_writer` wrote them (empty: the maker of the data), and
            `states_see` says from what.
        world: further facts of the source (table-top: seed, task, items with their true positions,
            camera, success). `world["episode"]` names the recording of which a row is a camera or a
            part: rows of one episode must not be split between training and testing. Without it a
            row is an episode of its own.
        camera: the source's name, as is `split`.
        start: in seconds of the file, as is `stop`, the end of the span (None: of the file).
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
        name = str(row.get("id", "?"))[:80]
        if wrong := next((key for key, value in row.items() if not _can_be(key, value)), None):
            raise ValueError(
                f"manifest row {name!r} is malformed: {wrong} = {str(row[wrong])[:80]!r}."
            )
        try:
            states = [State(**state) for state in row.get("states", [])]
            made = cls(**{**row, "states": states})
        except TypeError as error:
            words = str(error).splitlines()[0]
            raise ValueError(f"manifest row {name!r} is malformed: {words}") from None
        if made.stop is not None and made.stop <= made.start:
            raise ValueError(
                f"manifest row {name!r} is malformed: start = {made.start}, stop = {made.stop}."
            )
        return made


def _can_be(key: str, value: Any) -> bool:
    """Whether a value out of a file can be that field of a `VideoRow`; True for unknown fields."""
    match key:
        case "id":
            return isinstance(value, str) and value != ""
        case "video" | "instruction" | "camera" | "split" | "state_writer":
            return isinstance(value, str)
        case "num_frames" | "height" | "width":
            return _is_number(value, int)
        case "fps" | "start":
            return _is_number(value, int, float)
        case "stop":
            return value is None or _is_number(value, int, float)
        case "wordings":
            return isinstance(value, list) and all(isinstance(words, str) for words in value)
        case "states":
            return isinstance(value, list) and all(_can_be_state(state) for state in value)
        case "states_see":
            return value in get_args(Provenance)
        case "world":
            return isinstance(value, dict)
    return True


def _can_be_state(value: Any) -> bool:
    """Whether a value out of a file can be a `State`, as far as its known fields go."""
    if not isinstance(value, dict) or not isinstance(value.get("text", ""), str):
        return False
    return all(_is_number(value.get(key, 0), int) for key in ("first_frame", "last_frame"))


def _is_number(value: Any, *kinds: type) -> bool:
    """Whether it is a number from 0 to 10^15 of one of these kinds; True is no number."""
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value <= 1e15


class Stopped(Exception):
    """A run ended early because somebody asked it to; its state is saved."""
