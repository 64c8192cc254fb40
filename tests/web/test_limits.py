import math

import pytest

from aid.web.limits import (
    Limits,
    checked_instruction,
    checked_lines,
    checked_numbers,
    checked_settings,
    shown,
)

LIMITS = Limits()
GOOD = {"num_steps": 4, "image_guidance": 1.5, "text_guidance": 7, "seed": 3}


def test_settings_within_the_limits_are_taken():
    made = checked_settings(LIMITS, **GOOD)
    assert (made.num_steps, made.image_guidance, made.text_guidance, made.seed) == (4, 1.5, 7, 3)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize(
    "value",
    [None, "4", True, [4], {}, math.nan, math.inf, -1, 10**400, -(10**400), 1e300],
    ids=lambda value: str(value)[:9],
)
def test_anything_else_is_refused_in_a_short_sentence(name, value):
    with pytest.raises(ValueError, match="must be a") as caught:
        checked_settings(LIMITS, **GOOD | {name: value})
    assert len(str(caught.value)) < 200


def test_halves_of_steps_and_seeds_are_refused():
    for name in ("num_steps", "seed"):
        with pytest.raises(ValueError, match="whole number"):
            checked_settings(LIMITS, **GOOD | {name: 1.5})


def test_texts_lose_control_characters_and_have_a_limit():
    assert checked_instruction(" lift\x00 it\x1b ", LIMITS) == "lift  it"
    with pytest.raises(ValueError, match="301 characters; the limit is 300"):
        checked_instruction("x" * 301, LIMITS)
    for bad in (" \n\t ", 5, None, ["lift it"]):
        with pytest.raises(ValueError, match="instruction"):
            checked_instruction(bad, LIMITS)


def test_lines_are_counted_before_they_are_read():
    assert checked_lines("state", "a\n\n b \n", LIMITS, 2) == ["a", "b"]
    assert checked_lines("state", ["a"], LIMITS, 2) == ["a"]
    for bad in ("a\nb\nc", ["a"] * 3, "\n".join("x" * 1_000_000), ["x"] * 1_000_000, 7, None):
        with pytest.raises(ValueError, match="state"):
            checked_lines("state", bad, LIMITS, 2)


def test_guidance_numbers_come_from_text_or_lists():
    assert checked_numbers("s_V", "1, 2.5 2.5", 4) == [1.0, 2.5]
    for bad in ("", "1 2 3 4 5", "one", "nan", "1e999", [None], {}, "1,-2"):
        with pytest.raises(ValueError, match="s_V"):
            checked_numbers("s_V", bad, 4)


def test_errors_repeat_little_of_what_was_sent():
    assert all(len(shown(x)) < 70 for x in ("x" * 10**6, 10**5000, [0] * 10**5, {"a": "b" * 999}))


def test_limits_that_let_nothing_in_are_refused():
    with pytest.raises(ValueError, match=r"limits.num_steps must be above 0, got 0"):
        Limits(num_steps=0)
