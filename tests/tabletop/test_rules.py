import warnings

import numpy as np
import pytest

from aid.tabletop.rules import RuleStateWriter

FRAME = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("said", ["Lift the red ball!", "could you grab that crimson ball, please"])
def test_the_states_of_an_instruction_are_those_of_a_success(said):
    assert RuleStateWriter().write([FRAME], [said]) == [
        [
            "the open gripper moves above the red ball",
            "the open gripper goes down around the red ball",
            "the gripper closes on the red ball",
            "the red ball is held in the air",
        ]
    ]


def test_an_unknown_word_is_named_and_leaves_no_states():
    with pytest.warns(UserWarning, match=r"no states .*'hammer' is unknown"):
        assert RuleStateWriter().write([FRAME], ["lift the hammer gently"]) == [[]]


def test_an_unknown_instruction_does_not_affect_the_others():
    with pytest.warns(UserWarning, match="tango"):
        written = RuleStateWriter().write([FRAME] * 3, ["tango", "lift the red ball", ""])
    assert [len(states) for states in written] == [0, 4, 0]


def test_the_empty_instruction_has_no_states_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RuleStateWriter().write([FRAME], [""]) == [[]]
