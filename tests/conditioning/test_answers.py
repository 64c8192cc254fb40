import json

import numpy as np
import pytest

from aid.conditioning.answers import UnusableAnswer, read_answer

A, B, C = "The gripper opens", "It holds the red block", "The block is in the bowl"

READ = {
    "numbers": f"1. {A}.\n2. {B}.\n3. {C}.",
    "brackets": f"1) {A}\n2) {B}\n3) {C}",
    "both_brackets": f"(1) {A}\n(2) {B}\n(3) {C}",
    "square_brackets": f"[1] {A}\n[2] {B}\n[3] {C}",
    "colons": f"1: {A}\n2: {B}\n3: {C}",
    "labels": f"Stage 1: {A}\nStage 2: {B}\nStage 3: {C}",
    "labels_in_words": f"Step one - {A}\nStep two - {B}\nStep three - {C}",
    "bold_numbers": f"**1.** {A}\n\n**2.** {B}\n\n**3.** {C}",
    "bold_labels": f"**Stage 1:** {A}\n**Stage 2:** {B}\n**Stage 3:** {C}",
    "headings": f"### 1. {A}\n### 2. {B}\n### 3. {C}",
    "bullets": f"- {A}\n* {B}\n• {C}",
    "chatter_around": f"Sure! Here are the stages:\n\n1. {A}\n2. {B}\n3. {C}\n\nI hope this helps!",
    "bullets_with_chatter": f"Here you go:\n- {A}\n- {B}\n- {C}\n\nLet me know if you need more.",
    "one_line": f"1. {A} 2. {B} 3. {C}",
    "one_line_with_chatter": f"The stages are: 1. {A} 2. {B} 3. {C}",
    "broken_lines": f"1. The gripper\n   opens\n2. It holds\nthe red block\n3. {C}",
    "number_alone": f"1.\n{A}\n2.\n{B}\n3.\n{C}",
    "plain_lines": f"{A}\n{B}\n{C}",
    "plain_lines_with_chatter": f"Certainly, the stages are\n{A}\n{B}\n{C}\nLet me know!",
    "sentences": f"{A}. {B}. {C}.",
    "json_list": json.dumps([A, B, C]),
    "json_object": json.dumps({"states": [A, B, C]}),
    "json_objects": json.dumps([{"stage": 1, "text": A}, {"stage": 2, "text": B}, {"text": C}]),
    "json_numbered": json.dumps({"1": A, "2": B, "3": C}),
    "json_nested": json.dumps({"video": "x", "answer": [A, B, C]}),
    "json_in_a_fence": f"Here it is:\n```json\n{json.dumps([A, B, C], indent=2)}\n```\nDone.",
    "json_amid_words": f'The answer is {{"states": {json.dumps([A, B, C])}}} as asked.',
    "numbers_in_a_fence": f"```\n1. {A}\n2. {B}\n3. {C}\n```",
    "quotes": f'1. "{A}"\n2. “{B}.”\n3. \'{C}\'',
    "thoughts": f"<think>1. No. 2. Wrong. 3. Bad.</think>\n1. {A}\n2. {B}\n3. {C}",
    "windows_lines": f"1. {A}\r\n2. {B}\r\n3. {C}\r\n",
    "control_characters": f"\x00\x071. {A}\n2. {B}\x1b\n3. {C}\ud800",
}  # fmt: skip


@pytest.mark.parametrize("answer", READ.values(), ids=READ)
def test_states_are_parsed_from_every_format(answer):
    states = read_answer(answer, 3)
    assert [state.strip(" ?") for state in states] == [A, B, C]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("", "empty"),
        (" \n\t ", "empty"),
        ("\x00\x01", "empty"),
        ("<think>what could it be", "empty"),
        ("```\n```", "empty"),
        ("I'm sorry, but I cannot help with that.", "refusal"),
        ("As an AI, I do not watch videos.", "refusal"),
        ("1. I cannot see the image.\n2. Please send it.\n3. Thank you.", "refusal"),
        ('{"states": ["I’m sorry, I can’t.", "a", "b"]}', "refusal"),
        (f"1. {A}\n2. {B}", "too few"),
        (f"{A}.", "too few"),
        (json.dumps([A, B]), "too few"),
        ("1.\n2.\n3.", "too few"),
        ("...", "too few"),
        ("12345", "too few"),
        ("{", "malformed"),
        ('{"mood": "good"}', "malformed"),
        ('{"states": [1, 2, 3]}', "malformed"),
        (f'["{A}", "{B}", "The blo', "malformed"),
        ("[" * 5000, "malformed"),
        (f"1. {A}\n2. {B}\n3. {'very ' * 100}red", "rambling"),
    ],
)
def test_an_answer_without_states_is_refused_by_its_kind(answer, kind):
    with pytest.raises(UnusableAnswer) as failure:
        read_answer(answer, 3)
    assert failure.value.kind == kind
    assert len(str(failure.value)) < 200


def test_of_too_many_states_the_first_and_the_last_stay():
    answer = "\n".join(f"{n}. Stage number {n}" for n in range(1, 10))
    assert read_answer(answer, 4) == [f"Stage number {n}" for n in (1, 4, 6, 9)]
    assert read_answer(answer, 1) == ["Stage number 9"]


def test_numbers_within_a_sentence_do_not_number_states():
    answer = (
        "1. It moves 2.5 cm to the left\n2. It stands 3 cm from the bowl\n3. It is 10.5 cm away"
    )
    assert read_answer(answer, 3)[0] == "It moves 2.5 cm to the left"


def dressed(states, style, rng):
    before, after = rng.choice(["", "Sure!\n", "Here are the stages:\n\n"]), ""
    if style == "json":
        return before + json.dumps({"states": states})
    if rng.integers(2):
        after = "\n\nI hope this helps."
    marks = {"number": "{}. ", "bracket": "{}) ", "bullet": "- ", "bold": "**{}.** "}
    lines = [marks[style].format(n) + state for n, state in enumerate(states, start=1)]
    return before + rng.choice(["\n", "\n\n"]).join(lines) + after


def test_states_in_any_style_are_read_back():
    rng = np.random.default_rng(0)
    words = ["the", "gripper", "red", "block", "bowl", "moves", "towards", "3", "opens,", "it-self"]
    for _ in range(300):
        number = int(rng.integers(2, 9))
        states = [
            "It " + " ".join(rng.choice(words, rng.integers(1, 12))).strip(",")
            for _ in range(number)
        ]
        style = rng.choice(["number", "bracket", "bullet", "bold", "json"])
        answer = dressed(states, style, rng)
        assert read_answer(answer, number) == states, answer


def test_random_text_gives_the_number_of_states_or_a_reason():
    rng = np.random.default_rng(1)
    alphabet = list("ab .:;-*#_`'\"()[]{}<>\\/\n\t0123\x00é漢,!?|")
    pieces = ["1. ", "2) ", "- ", "```json\n", "<think>", "</think>", '{"states": [', '"a", ', "]}"]
    for _ in range(2000):
        parts = rng.choice(alphabet + pieces, rng.integers(0, 60))
        number = int(rng.integers(1, 6))
        try:
            states = read_answer("".join(parts), number)
        except UnusableAnswer as failure:
            assert failure.kind in ("empty", "refusal", "too few", "malformed", "rambling")
        else:
            assert len(states) == number
            assert all(state == state.strip() and "\n" not in state for state in states)
            assert all(any(c.isalnum() or c == "_" for c in state) for state in states)
