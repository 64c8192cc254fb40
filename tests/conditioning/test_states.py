from dataclasses import replace

import numpy as np
import pytest

from aid.conditioning.states import (
    ReplayStateWriter,
    choose_state_writer,
    provenances,
    state_writer_of_checkpoint,
    write_and_release,
)
from aid.types import State, VideoRow

FRAME = np.zeros((8, 8, 3), np.uint8)


def row(identity, instruction, *states):
    return VideoRow(
        id=identity,
        video="a.mp4",
        instruction=instruction,
        num_frames=3,
        fps=3.0,
        height=8,
        width=8,
        states=[State(text=text, first_frame=0, last_frame=1) for text in states],
    )


ROWS = [row("a", "push it", "it moves"), row("b", "push it", "it falls", "it lies"), row("c", "go")]


def test_replay_distinguishes_equal_instructions_by_their_rows():
    written = ReplayStateWriter(ROWS).write([FRAME] * 3, ["push it", "push it", "go"])
    assert written == [["it moves"], ["it falls", "it lies"], []]


@pytest.mark.parametrize("asked", [["go", "push it", "push it"], ["push it"], ["x", "y", "z"]])
def test_replay_refuses_instructions_of_other_rows(asked):
    with pytest.raises(ValueError, match="3 recorded videos"):
        ReplayStateWriter(ROWS).write([FRAME] * len(asked), asked)


def test_writers_are_chosen_by_name():
    for name in ("replay", "tabletop-rules", "none"):
        assert choose_state_writer(name, ROWS).name == name


def test_the_writer_none_writes_no_states():
    assert choose_state_writer("none").write([FRAME] * 2, ["push it", "go"]) == [[], []]


def test_an_unknown_writer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'oracle'. Known: replay, tabletop-rules, none"):
        choose_state_writer("oracle")


def test_replay_without_rows_is_refused():
    with pytest.raises(ValueError, match="no recorded video"):
        choose_state_writer("replay")


def test_recorded_states_keep_their_writer_and_provenance():
    by_model = {"state_writer": "vlm:a/b?prompt=1", "states_see": "first_frame"}
    one = ReplayStateWriter([replace(row, **by_model) for row in ROWS])
    assert (one.name, one.sees, provenances(one)) == (
        "vlm:a/b?prompt=1",
        "first_frame",
        ["first_frame"],
    )
    # The last row has no states, so what it would be made from does not count.
    two = ReplayStateWriter([ROWS[0], replace(ROWS[1], **by_model), ROWS[2]])
    assert (two.name, two.sees, provenances(two)) == ("replay", "video", ["first_frame", "video"])
    assert (
        provenances(ReplayStateWriter(ROWS[2:])) == provenances(choose_state_writer("none")) == []
    )
    assert provenances(choose_state_writer("tabletop-rules")) == ["text"]


def test_only_replay_has_seen_the_video():
    seen = {
        name: choose_state_writer(name, ROWS).sees for name in ("replay", "tabletop-rules", "none")
    }
    assert seen == {"replay": "video", "tabletop-rules": "text", "none": "text"}


def test_a_set_without_states_is_recorded_as_having_none():
    silent = [replace(one, states=[], state_writer="vlm:a/b?prompt=1") for one in ROWS]
    writer = choose_state_writer("replay", silent)
    assert (writer.name, writer.sees, provenances(writer)) == ("none", "text", [])


def test_a_checkpoints_writer_is_used_only_if_it_needs_no_model():
    for name in ("tabletop-rules", "none"):
        assert state_writer_of_checkpoint(name).name == name
    for name in ("replay", "column:plan", "vlm:a/b?prompt=1", "smollm2", "oracle", ""):
        with pytest.raises(ValueError, match=r"--states_from, state_writer=\.\.\."):
            state_writer_of_checkpoint(name).write([FRAME], ["push it"])


@pytest.mark.parametrize("written", ["hello", ["one"], [["one"], [2]], [["one"]], None])
def test_a_writer_that_returns_something_else_is_refused(written):
    class Bad:
        name, sees = "bad", "text"

        def write(self, frames, instructions):
            return written

    with pytest.raises(ValueError, match=r"the state writer 'bad' returned .* for 2 videos"):
        write_and_release(Bad(), [], ["push", "lift"])
