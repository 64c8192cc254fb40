"""Notes for the user about files, counted by kind.

`Note` and `NoteCounter`: what was done to a video or picture beyond plain decoding.
`IssueCounter`: what the reader of a data set left out or corrected.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


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


@dataclass
class NoteCounter:
    """Notes of many files, counted by kind.

    `kinds` has for each text how many files it concerns, how many parts of them, and the first
    file's name; it can be written as JSON.
    """

    kinds: dict[str, list] = field(default_factory=dict)

    def add(self, name: str, notes: Iterable[Note]) -> None:
        """The notes of one file."""
        for text, number in _numbers(notes).items():
            kind = self.kinds.setdefault(text, [0, 0, name])
            kind[0] += 1
            kind[1] += number

    def merge(self, kinds: dict[str, list]) -> None:
        """Adds the counts of other files."""
        for text, (files, parts, first) in kinds.items():
            kind = self.kinds.setdefault(text, [0, 0, first])
            kind[0] += files
            kind[1] += parts

    def lines(self, noun: str = "video") -> list[str]:
        """One sentence for each kind.

        Args:
            noun: what a file is called.
        """
        return [
            f"{files} {noun}{'s' if files > 1 else ''}{f' ({parts} in all)' if parts else ''}, "
            f"the first is {first!r}: {text}."
            for text, (files, parts, first) in self.kinds.items()
        ]


def _numbers(notes: Iterable[Note]) -> dict[str, int]:
    numbers: Counter[str] = Counter()
    for note in notes:
        numbers[note.text] += note.number
    return dict(numbers)


class IssueCounter:
    """Counts issues by reason, each with the first name that it concerns."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Counts one more; `reason` follows the number: "videos have no instruction"."""
        number, first = self._found.get(reason, (0, name))
        self._found[reason] = (number + 1, first)

    def number(self, reason: str) -> int:
        """How many were counted for this reason."""
        return self._found.get(reason, (0, ""))[0]

    def notes(self) -> list[str]:
        """One sentence per reason, in the order in which the reasons first came up."""
        return [
            f"{number:,} {reason} (the first: {name[:120]!r})."
            for reason, (number, name) in self._found.items()
        ]
