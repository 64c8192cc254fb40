import pytest

from aid.evaluate import ScoreCard
from aid.tabletop.judge import scores_of
from aid.tabletop.language import Task
from aid.tabletop.reader.instruction import Judgement

PUT, LIFT = Task("put", "red block", "blue bowl"), Task("lift", "red block")


def verdict(requested=PUT, shown=None, holds=False, right=False, displacement=0.01, lost=0):
    return Judgement(
        requested=requested,
        shown=shown,
        holds=holds,
        is_right_object=right,
        bystander_displacement=displacement,
        num_lost=lost,
        num_items=4,
    )


GOOD = verdict(shown=PUT, holds=True, right=True)
LOOSE = verdict(shown=LIFT, holds=True, right=True, displacement=0.03)
BAD = verdict(requested=LIFT, displacement=None, lost=3)


def test_strict_and_loose_numbers_differ():
    scores = scores_of([GOOD, LOOSE, BAD])
    assert (scores.num_videos, scores.num_obeyed) == (3, 1)
    assert scores.accuracy == pytest.approx(1 / 3)
    found = scores.details
    assert found["outcome_holds"] == found["right_object"] == pytest.approx(2 / 3)
    assert found["families"] == {"put": (1, 2), "lift": (0, 1)}
    assert found["bystander_displacement"] == pytest.approx(0.02)
    assert found["items_lost"] == pytest.approx(3 / 12)
    assert scores.interval[0] < 1 / 3 < scores.interval[1]


def test_without_bystanders_there_is_no_displacement():
    assert scores_of([BAD]).details["bystander_displacement"] is None


def test_the_table_has_a_row_for_every_set():
    scores = {"real": scores_of([GOOD, BAD]), "other": scores_of([BAD, BAD], [GOOD, BAD])}
    text = ScoreCard(title="AID on forks", seed=3, scores=scores).to_markdown()
    assert text.startswith("# AID on forks\n")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert "| real | 50.0 % |" in text and "1/1" in text and "10.0 mm" in text
    assert "Given other, 50.0 % of the videos obey the given one." in text
    assert "Seed 3." in text
