import json

import numpy as np
import pytest

from aid.conditioning.language_model import Answer, LanguageModelStateWriter, read_answers

RED, BLUE = (np.full((4, 4, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))


class Scripted:
    """A model whose answers are known, and that remembers what it was asked."""

    def __init__(self, **answers):
        self.answers, self.asked, self.is_released = answers, [], False

    def ask(self, questions):
        for index, question in reversed(list(enumerate(questions))):
            self.asked.append(question)
            said = self.answers.get(question.instruction, f"1. {question.instruction}\n2. done")
            yield index, Answer(said) if said is not None else Answer(failure="gone")

    def release(self):
        self.is_released = True


def writer_of(model, answers_file=None, name="vlm:a/b?prompt=1", sees="first_frame"):
    return LanguageModelStateWriter(name, sees, model, 2, answers_file)


def test_states_keep_the_order_of_the_questions_and_equal_questions_are_asked_once():
    model = Scripted()
    written = writer_of(model).write([RED, RED, RED], ["push", "lift", "push"])
    assert written == [["push", "done"], ["lift", "done"], ["push", "done"]]
    assert len(model.asked) == 2


def test_an_answer_belongs_to_frame_instruction_model_and_prompt(tmp_path):
    answers_file, model = tmp_path / "answers.jsonl", Scripted()
    writer_of(model, answers_file).write([RED], ["push"])
    writer_of(model, answers_file).write([RED.copy()], ["push"])
    assert len(model.asked) == 1, "a new writer finds it in the answers_file"
    for frame, said, name in (
        (BLUE, "push", "vlm:a/b?prompt=1"),
        (RED.reshape(2, 8, 3), "push", "vlm:a/b?prompt=1"),
        (RED, "lift", "vlm:a/b?prompt=1"),
        (RED, "push", "vlm:a/c?prompt=1"),
        (RED, "push", "vlm:a/b?prompt=2"),
        (RED, "push", "vlm:a/b?prompt=1&states=3"),
    ):
        before = len(model.asked)
        writer_of(model, answers_file, name).write([frame], [said])
        assert len(model.asked) == before + 1, (said, name)


def test_answers_of_a_text_model_do_not_depend_on_the_frame():
    model = Scripted()
    writer_of(model, sees="text").write([RED, BLUE], ["push", "push"])
    assert [question.frame for question in model.asked] == [None]


def test_an_unusable_answer_gives_no_states_and_a_warning():
    model = Scripted(lift="I'm sorry.", drop="1. one", turn=None)
    writer = writer_of(model)
    with pytest.warns(UserWarning, match=r"3 of 5 .*1 refusal, 1 too few, 1 no answer"):
        written = writer.write([RED] * 5, ["push", "lift", "drop", "turn", ""])
    assert written == [["push", "done"], [], [], [], []]
    said = writer.ask([RED] * 2, ["lift", "turn"])
    assert (said[0].failure, said[0].answer) == ("refusal", "I'm sorry.")
    assert (said[1].failure, said[1].detail) == ("no answer", "gone")


def test_an_unusable_answer_is_stored_and_a_failed_request_is_not(tmp_path):
    model = Scripted(lift="no", turn=None)
    writer = writer_of(model, tmp_path / "answers.jsonl")
    for _ in range(2):
        writer.ask([RED] * 2, ["lift", "turn"])
    assert [question.instruction for question in model.asked].count("lift") == 1
    assert [question.instruction for question in model.asked].count("turn") == 2


def test_progress_counts_stored_answers():
    writer, seen = writer_of(Scripted()), []
    writer.ask([RED], ["push"])
    writer.ask([RED] * 3, ["push", "lift", "drop"], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_damaged_line_is_refused_and_an_incomplete_last_line_is_removed(tmp_path):
    answers_file = tmp_path / "answers.jsonl"
    line = json.dumps({"key": "k", "answer": "1. a"})
    answers_file.write_text(f"{line}\n{line[:9]}")
    assert read_answers(answers_file) == {"k": "1. a"}
    assert answers_file.read_text() == f"{line}\n"
    answers_file.write_text(f"{line}\nnonsense\n")
    with pytest.raises(ValueError, match="line 2: not an answer"):
        read_answers(answers_file)


def test_any_text_is_stored_and_read_back(tmp_path):
    said = "1. \ud800 漢\u2028\x00 \"x\"\r\n2. {'a': \\n}"
    model = Scripted(push=said)
    writer_of(model, tmp_path / "answers.jsonl").write([RED], ["push"])
    assert list(read_answers(tmp_path / "answers.jsonl").values()) == [said]
