"""A state writer that asks a language model, and writes every answer down.

`local_model.py` and `server.py` are the models that it asks, `prompt.py` is the question and
`answers.py` reads what comes back. Answers are kept as they were said, under what they answer
(frame, instruction, model, prompt), so nothing is asked twice and a better reader needs no new
answers.

Reference: AID, method: an MLLM reads first frame and instruction and tells the stages.
"""

import hashlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from aid.conditioning.answers import UnusableAnswer, read_answer
from aid.types import Provenance

OnAnswer = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """One video: its instruction, and its first frame for models that see it."""

    instruction: str
    frame: UInt8[np.ndarray, "_ _ 3"] | None


@dataclass(frozen=True)
class Answer:
    """The words of an answer, or why there are none."""

    text: str = ""
    failure: str = ""


@dataclass(frozen=True)
class Said:
    """What came of one question: states, or the kind of failure with its detail.

    `failure` is "" for usable answers, "no answer" where the model could not be asked, and else
    the `kind` of `UnusableAnswer`.
    """

    states: list[str]
    failure: str = ""
    detail: str = ""
    answer: str = ""


@runtime_checkable
class Model(Protocol):
    """A language model that can be asked."""

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """The number of each question with its answer, as soon as it is there, in any order."""
        ...

    def release(self) -> None:
        """Gives memory back; the next question loads the model again."""
        ...


class AskingStateWriter:
    """Asks a model for the states of each video, once.

    Args:
        name: all that decides an answer: the model, the prompt's version, the options.
        sees: "first_frame", or "text" for a model that is not shown the frame.
        model: who is asked.
        num_states: of each video.
        book: file of the answers, continued if it exists; None keeps them in memory only.
    """

    def __init__(
        self, name: str, sees: Provenance, model: Model, num_states: int, book: Path | None = None
    ) -> None:
        self.name, self.sees, self.model, self.num_states = name, sees, model, num_states
        self.book = book
        self._answers = {} if book is None else read_book(book)

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each video; none, and a warning, where the answer cannot be used."""
        said = self.tell(frames, instructions)
        if failed := Counter(one.failure for one in said if one.failure):
            kinds = ", ".join(f"{number} {kind}" for kind, number in failed.items())
            first = next(one.detail for one in said if one.failure)
            warnings.warn(
                f"{failed.total()} of {len(said)} answers of {self.name!r} could not be used "
                f"({kinds}), the first because {first}. These videos have no states.",
                stacklevel=2,
            )
        return [one.states for one in said]

    def tell(
        self,
        frames: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        instructions: Sequence[str],
        on_answer: OnAnswer | None = None,
    ) -> list[Said]:
        """What came of each question. "" is not asked about and has no states.

        Args:
            frames: first frame of each video, ignored by a model that sees none.
            instructions: one for each frame.
            on_answer: called with (answered, all), once for what is known already.

        Raises:
            ValueError: the model cannot be loaded or refuses to be asked at all.
        """
        questions = [
            Question(instruction, frame if self.sees == "first_frame" else None)
            for frame, instruction in zip(frames, instructions, strict=True)
        ]
        keys = [self._key(question) for question in questions]
        open_ = {
            key: question
            for key, question in zip(keys, questions, strict=True)
            if question.instruction and key not in self._answers
        }
        failures: dict[str, str] = {}
        asked, done = list(open_), len(questions) - len(open_)
        if on_answer is not None:
            on_answer(done, len(questions))
        for index, answer in self.model.ask(list(open_.values())) if asked else ():
            key, done = asked[index], done + 1
            if answer.failure:
                failures[key] = answer.failure
            else:
                self._keep(key, open_[key].instruction, answer.text)
            if on_answer is not None:
                on_answer(done, len(questions))
        return [
            self._said(key, question, failures)
            for key, question in zip(keys, questions, strict=True)
        ]

    def release(self) -> None:
        """Gives the model's memory back. Answers stay."""
        self.model.release()

    def _key(self, question: Question) -> str:
        seen = ""
        if question.frame is not None:
            shape = repr(question.frame.shape).encode()
            pixels = np.ascontiguousarray(question.frame).tobytes()
            seen = hashlib.sha256(shape + pixels).hexdigest()
        said = json.dumps([self.name, question.instruction, seen])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def _keep(self, key: str, instruction: str, text: str) -> None:
        self._answers[key] = text
        if self.book is not None:
            self.book.parent.mkdir(exist_ok=True)
            line = {"key": key, "writer": self.name, "instruction": instruction, "answer": text}
            with self.book.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _said(self, key: str, question: Question, failures: dict[str, str]) -> Said:
        if not question.instruction:
            return Said([])
        if key in failures:
            return Said([], "no answer", failures[key])
        answer = self._answers[key]
        try:
            return Said(read_answer(answer, self.num_states), answer=answer)
        except UnusableAnswer as error:
            return Said([], error.kind, str(error), answer)


def read_book(path: Path) -> dict[str, str]:
    """The answers of a book by their keys; a line that a kill has torn is removed from the file.

    Raises:
        ValueError: a whole line is no answer.
    """
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    answers = {}
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            values = json.loads(line)
            answers[values["key"]] = str(values["answer"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{str(path)!r}, line {number}: not an answer. Delete the line, or the file to ask "
                "for everything again."
            ) from None
    return answers
