"""A state writer that asks a language model, and stores every answer.

`local_model.py` and `server.py` are the models, `prompt.py` makes the prompt and `answers.py` reads
the answer. Answers are stored verbatim, by what they depend on (frame, instruction, model, prompt),
so no question is asked twice, and a better parser needs no new answers.

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
    """The text of an answer, or the reason why there is none."""

    text: str = ""
    failure: str = ""


@dataclass(frozen=True)
class WrittenStates:
    """The result of one question: states, or the kind of failure with its detail.

    `failure` is "" for usable answers, "no answer" if the model gave none, and otherwise the `kind`
    of `UnusableAnswer`.
    """

    states: list[str]
    failure: str = ""
    detail: str = ""
    answer: str = ""


@runtime_checkable
class Model(Protocol):
    """A language model that answers questions."""

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yields the index and the answer of each question when it is known, in any order."""
        ...

    def release(self) -> None:
        """Frees the memory; the next question loads the model again."""
        ...


class LanguageModelStateWriter:
    """Asks a language model for the states of each video, once.

    Args:
        name: everything that an answer depends on: the model, the prompt's version, the options.
        sees: "first_frame", or "text" for a model that does not get the frame.
        model: the language model.
        num_states: number of states of each video.
        answers_file: the file of the answers, continued if it exists; None keeps them in memory
            only.
    """

    def __init__(
        self,
        name: str,
        sees: Provenance,
        model: Model,
        num_states: int,
        answers_file: Path | None = None,
    ) -> None:
        self.name, self.sees, self.model, self.num_states = name, sees, model, num_states
        self.answers_file = answers_file
        self._answers = {} if answers_file is None else read_answers(answers_file)

    def write(
        self, frames: list[UInt8[np.ndarray, "_ _ 3"]], instructions: list[str]
    ) -> list[list[str]]:
        """The states of each video; none, and a warning, if the answer cannot be used."""
        results = self.ask(frames, instructions)
        if failed := Counter(one.failure for one in results if one.failure):
            kinds = ", ".join(f"{number} {kind}" for kind, number in failed.items())
            first = next(one.detail for one in results if one.failure)
            warnings.warn(
                f"{failed.total()} of {len(results)} answers of {self.name!r} could not be used "
                f"({kinds}), the first because {first}. These videos have no states.",
                stacklevel=2,
            )
        return [one.states for one in results]

    def ask(
        self,
        frames: Sequence[UInt8[np.ndarray, "_ _ 3"]],
        instructions: Sequence[str],
        on_answer: OnAnswer | None = None,
    ) -> list[WrittenStates]:
        """The result of each question. An empty instruction is not asked and has no states.

        Args:
            frames: first frame of each video; a model that sees no frame ignores them.
            instructions: one for each frame.
            on_answer: called with (answered, number of questions), first for the stored answers.

        Raises:
            ValueError: the model cannot be loaded, or refuses all questions.
        """
        questions = [
            Question(instruction, frame if self.sees == "first_frame" else None)
            for frame, instruction in zip(frames, instructions, strict=True)
        ]
        keys = [self._key(question) for question in questions]
        unanswered = {
            key: question
            for key, question in zip(keys, questions, strict=True)
            if question.instruction and key not in self._answers
        }
        failures: dict[str, str] = {}
        new_keys, done = list(unanswered), len(questions) - len(unanswered)
        if on_answer is not None:
            on_answer(done, len(questions))
        for index, answer in self.model.ask(list(unanswered.values())) if new_keys else ():
            key, done = new_keys[index], done + 1
            if answer.failure:
                failures[key] = answer.failure
            else:
                self._store(key, unanswered[key].instruction, answer.text)
            if on_answer is not None:
                on_answer(done, len(questions))
        return [
            self._result(key, question, failures)
            for key, question in zip(keys, questions, strict=True)
        ]

    def release(self) -> None:
        """Frees the model's memory; the answers stay."""
        self.model.release()

    def _key(self, question: Question) -> str:
        frame = ""
        if question.frame is not None:
            shape = repr(question.frame.shape).encode()
            pixels = np.ascontiguousarray(question.frame).tobytes()
            frame = hashlib.sha256(shape + pixels).hexdigest()
        text = json.dumps([self.name, question.instruction, frame])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _store(self, key: str, instruction: str, text: str) -> None:
        self._answers[key] = text
        if self.answers_file is not None:
            self.answers_file.parent.mkdir(exist_ok=True)
            line = {"key": key, "writer": self.name, "instruction": instruction, "answer": text}
            with self.answers_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _result(self, key: str, question: Question, failures: dict[str, str]) -> WrittenStates:
        if not question.instruction:
            return WrittenStates([])
        if key in failures:
            return WrittenStates([], "no answer", failures[key])
        answer = self._answers[key]
        try:
            return WrittenStates(read_answer(answer, self.num_states), answer=answer)
        except UnusableAnswer as error:
            return WrittenStates([], error.kind, str(error), answer)


def read_answers(path: Path) -> dict[str, str]:
    """The answers of a file by their keys; an incomplete last line of a killed run is removed.

    Raises:
        ValueError: a complete line is no answer.
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
