"""The table-top's state writer: it applies the grammar of `language.py` and needs no model."""

import warnings
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from aid.tabletop import STATE_WRITER, language


class RuleStateWriter:
    """Parses a table-top instruction and writes the four states of a successful video.

    It sees the text only, so it cannot know whether the arm will miss. An instruction outside the
    grammar gets no states, and a warning that names the unknown words.
    """

    name = STATE_WRITER
    sees: Literal["text"] = "text"

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each instruction; none for "" and for instructions outside the grammar."""
        return [self._states(instruction) for instruction in instructions]

    def _states(self, instruction: str) -> list[str]:
        if not instruction:
            return []
        try:
            return language.states(language.parse(instruction))
        except ValueError:
            unknown = language.unknown_words(instruction)
            reason = (
                f"it does not know {', '.join(map(repr, unknown))}"
                if unknown
                else "it knows the words but not this sentence"
            )
            warnings.warn(
                f"no states for the instruction {instruction!r}: the table-top grammar cannot "
                f"parse it, {reason}. The video is predicted from frame and instruction alone.",
                stacklevel=2,
            )
            return []
