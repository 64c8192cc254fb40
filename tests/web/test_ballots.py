import json
from dataclasses import replace

import pytest

from aid.web.ballots import Ballots, Contender, Tally

ONE = Contender(
    name="one", fingerprint="f1", told="the instruction", num_steps=4, image_guidance=1.5,
    text_guidance=7.5, guidance_interval=(3.0, None),
)  # fmt: skip
OTHER = replace(ONE, name="other", fingerprint="f2")


@pytest.fixture
def ballots(tmp_path):
    return Ballots(tmp_path / "votes.jsonl")


def vote_for(ballots, winner, one=ONE, other=OTHER):
    ballot = ballots.issue(one, other, {"seed": 1})
    choice = "left" if ballot.left == winner else "right"
    return ballots.vote(ballot.token, choice)


def test_votes_are_lines_and_count_for_the_contender_whichever_side_it_was_on(ballots):
    for _ in range(9):
        vote_for(ballots, ONE)
    vote_for(ballots, OTHER)
    rows = [json.loads(line) for line in ballots.path.read_text().splitlines()]
    assert len(rows) == 10
    assert {row["choice"] for row in rows[:9]} == {"left", "right"}  # 1 in 256 to be one-sided
    assert {tuple(row["left"]["guidance_interval"]) for row in rows} == {(3.0, None)}
    assert [row["winner"] for row in rows] == [ONE.key] * 9 + [OTHER.key]
    tally = ballots.tally(ONE, OTHER)
    assert (tally.wins, tally.losses, tally.ties) == (9, 1, 0)
    assert ballots.tally(OTHER, ONE).wins == 1
    assert tally.sentence("one", "other") == (
        "one wins 90 % of 10 decided votes against other (95 %: 60 to 98 %)."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "f3"},
        {"num_steps": 8},
        {"text_guidance": 1.0},
        {"told": "nothing"},
    ],
)
def test_other_weights_or_settings_are_never_pooled(ballots, change):
    vote_for(ballots, ONE)
    changed = replace(ONE, **change)
    vote_for(ballots, changed, one=changed)
    assert ballots.tally(ONE, OTHER).wins == 1
    assert ballots.tally(changed, OTHER).wins == 1


def test_the_same_weights_by_another_name_are_the_same(ballots):
    vote_for(ballots, ONE)
    assert ballots.tally(replace(ONE, name="moved"), OTHER).wins == 1


def test_ties_are_told_and_not_counted_as_halves(ballots):
    ballots.vote(ballots.issue(ONE, OTHER, {}).token, "tie")
    assert ballots.tally(ONE, OTHER) == Tally(wins=0, losses=0, ties=1)
    assert "No decided vote" in ballots.tally(ONE, OTHER).sentence("one", "other")


def test_a_ballot_is_good_for_one_vote(ballots):
    token = ballots.issue(ONE, OTHER, {}).token
    ballots.vote(token, "left")
    for bad in (token, "guessed", None, ["x"], {}):
        with pytest.raises(ValueError, match="voted on, or is too old"):
            ballots.vote(bad, "left")
    with pytest.raises(ValueError, match="vote for left, right, tie"):
        ballots.vote(ballots.issue(ONE, OTHER, {}).token, "both")
    assert len(ballots.path.read_text().splitlines()) == 1


def test_the_sides_are_drawn_by_lot(ballots):
    lefts = [ballots.issue(ONE, OTHER, {}).left.name for _ in range(64)]
    assert 8 < lefts.count("one") < 56  # outside once in 10^9


def test_a_vote_that_cannot_be_written_can_be_cast_again(tmp_path):
    ballots = Ballots(tmp_path / "nowhere" / "votes.jsonl")
    token = ballots.issue(ONE, OTHER, {}).token
    with pytest.raises(ValueError, match="could not be written"):
        ballots.vote(token, "left")
    (tmp_path / "nowhere").mkdir()
    ballots.vote(token, "left")


def test_a_broken_file_of_votes_is_named_by_its_line(ballots):
    ballots.path.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1 of the file of votes"):
        ballots.tally(ONE, OTHER)
