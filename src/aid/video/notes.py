"""What was done to a video or picture beyond plain decoding, for a person to read."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One thing that was done to a file.

    `text` is the same for all files of a kind, so that notes can be counted. `number` is how many
    parts of this file it concerns (frames, files of a folder); 0 where it concerns the file.
    """

    text: str
    number: int = 0

    def __str__(self) -> str:
        """The note of one file, without its name."""
        return f"{self.text} ({self.number})" if self.number else self.text


def summarise(notes: Iterable[tuple[str, Note]], noun: str = "videos") -> list[str]:
    """One sentence for each kind of note, with how many files it concerns and the first of them.

    Args:
        notes: pairs of a file's name and a note of it.
        noun: what the files are called.
    """
    kinds: dict[str, tuple[dict[str, None], int]] = {}
    for name, note in notes:
        names, number = kinds.get(note.text, ({}, 0))
        kinds[note.text] = (names | {name: None}, number + note.number)
    return [
        f"{len(names)} {noun if len(names) > 1 else noun.removesuffix('s')}"
        f"{f' ({number} in all)' if number else ''}, the first is {next(iter(names))!r}: {text}."
        for text, (names, number) in kinds.items()
    ]
