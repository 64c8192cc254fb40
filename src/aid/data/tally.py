"""What a reader leaves out or mends, counted by reason, for its notes.

Called by the readers and by `data.sources`. A note says how many and why, and names the first.
"""


class Tally:
    """Counts by reason, each with the first name."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Counts one more; `reason` goes on after the number: "videos have no words"."""
        number, first = self._found.get(reason, (0, name))
        self._found[reason] = (number + 1, first)

    def number(self, reason: str) -> int:
        """How many were counted for this reason."""
        return self._found.get(reason, (0, ""))[0]

    def notes(self) -> list[str]:
        """A sentence per reason, in the order in which they came up."""
        return [
            f"{number:,} {reason} (the first: {name[:120]!r})."
            for reason, (number, name) in self._found.items()
        ]
