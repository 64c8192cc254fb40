"""The table-top's state writer: it understands the sentence (`language`) and needs no model."""

import warnings
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from aid.tabletop import STATE_WRITER, language


class RuleStateWriter:
    """Finds the task in an instruction and writes the four states of a successful video.

    It sees the text only, so it cannot know whether the arm will miss. An instruction that names no
    task of the table-top gets no states, and a warning that says what was not understood.
    """

    name = STATE_WRITER
    sees: Literal["text"] = "text"

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each instruction; none for "" and for those that are not understood."""
        return [self._states(instruction) for instruction in instructions]

    def _states(self, instruction: str) -> list[str]:
        if not instruction:
            return []
        try:
            return language.states(language.understand(instruction).task)
        except language.NotUnderstood as error:
            warnings.warn(
                f"no states for an instruction: {error} The video is predicted from frame and "
                "instruction alone.",
                stacklevel=2,
            )
            return []
