"""What one visitor may ask of the studio, and all of them together. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_SEED = 2**32 - 1
MAX_GUIDANCE = 100.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of uploads, requests and the queue."""

    megabytes: int = 20
    """Of one uploaded file."""
    megapixels: float = 16.0
    """Of an image, or of one frame of a video; checked before anything is decoded."""
    seconds: float = 60.0
    """Of a video; checked before anything is decoded."""
    decoded_megabytes: int = 512
    """Memory for decoding, all requests together by what their headers say; one waits for another.
    A process that reads a file may take as much and no more, whatever the file says."""
    reading_seconds: float = 10.0
    """For reading a file; then the process that reads it is killed."""
    kept_megabytes: int = 1024
    """Disk for uploads and results, all visitors together; the oldest go after an hour."""
    num_steps: int = 100
    """Sampling steps of one video."""
    videos: int = 12
    """Videos of one comparison."""
    characters: int = 300
    """Of an instruction or of one state."""
    states: int = 12
    """Number of states."""
    waiting: int = 24
    """Requests in the queue, all visitors together."""
    waiting_each: int = 3
    """Requests in the queue of one visitor."""

    def __post_init__(self) -> None:
        """Refuses limits that would let nothing in."""
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"limits.{name} must be above 0, got {value}.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to draw; made by `checked_settings` only, so the numbers are sane."""

    num_steps: int
    image_guidance: float
    text_guidance: float
    seed: int


def checked_settings(
    limits: Limits, *, num_steps: Any, image_guidance: Any, text_guidance: Any, seed: Any
) -> Settings:
    """Settings of whatever a visitor sent.

    Raises:
        ValueError: one of them is no number, or out of its range.
    """
    return Settings(
        num_steps=int(_number("num_steps", num_steps, 1, limits.num_steps, is_whole=True)),
        image_guidance=_number("s_V", image_guidance, 0, MAX_GUIDANCE),
        text_guidance=_number("s_T", text_guidance, 0, MAX_GUIDANCE),
        seed=int(_number("seed", seed, 0, MAX_SEED, is_whole=True)),
    )


def _number(
    name: str, value: Any, low: int | float, high: int | float, is_whole: bool = False
) -> float:
    # The comparison alone refuses NaN, infinities and whole numbers of any length.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (is_whole and value != int(value)):
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(f"{name} must be {kind} from {low:g} to {high:g}, got {shown(value)}.")
    return float(value)


def checked_text(name: str, value: Any, limits: Limits) -> str:
    """The text without blanks around it; control characters become blanks.

    Raises:
        ValueError: it is no text, or too long.
    """
    if not isinstance(value, str):
        raise ValueError(f"the {name} must be text, got {shown(value)}.")
    text = "".join(letter if letter.isprintable() else " " for letter in value).strip()
    if len(text) > limits.characters:
        raise ValueError(
            f"the {name} has {len(text)} characters; the limit is {limits.characters}. Shorten it."
        )
    return text


def checked_instruction(value: Any, limits: Limits) -> str:
    """An instruction that says something.

    Raises:
        ValueError: it is no text, too long or empty.
    """
    text = checked_text("instruction", value, limits)
    if not text:
        raise ValueError(
            "the instruction is empty. Say what should happen, or click a suggested one."
        )
    return text


def checked_lines(name: str, value: Any, limits: Limits, most: int) -> list[str]:
    """The lines of a text, or a list of texts, without the empty ones.

    Raises:
        ValueError: there are too many, or one is no text or too long.
    """
    if isinstance(value, str):
        # Read no further than a text within the limits could be.
        parts: Sequence[Any] = value[: (limits.characters + 2) * (most + 50)].splitlines()
    elif isinstance(value, list):
        parts = value
    else:
        raise ValueError(f"the {name}s must be text, one a line, got {shown(value)}.")
    if len(parts) > most + 50:
        raise ValueError(f"{len(parts)} {name}s are too many; the limit is {most}.")
    lines = [line for part in parts if (line := checked_text(name, part, limits))]
    if len(lines) > most:
        raise ValueError(f"{len(lines)} {name}s are too many; the limit is {most}.")
    return lines


def checked_numbers(name: str, value: Any, most: int) -> list[float]:
    """Numbers of guidance, from "1, 2.5 4" or a list; each once, in order.

    Raises:
        ValueError: there are none or too many, or one is no number in range.
    """
    parts = value[:200].replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list) or not 1 <= len(parts) <= most:
        raise ValueError(
            f"{name} needs 1 to {most} numbers, such as 1, 2.5, 4; got {shown(value)}."
        )
    numbers = []
    for part in parts:
        try:
            part = float(part) if isinstance(part, str) else part
        except ValueError:
            raise ValueError(f"{name}: {shown(part)} is not a number.") from None
        numbers.append(_number(name, part, 0, MAX_GUIDANCE))
    return list(dict.fromkeys(numbers))


def shown(value: Any) -> str:
    """A value as an error may repeat it: short, whatever was sent."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a number of great length"  # printing it could take minutes
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
