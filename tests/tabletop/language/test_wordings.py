import json

import pytest

from aid.tabletop import ASSETS, language
from aid.tabletop.language import FAMILIES, Task
from aid.tabletop.language.wordings import _WORDINGS
from aid.tabletop.world.splits import SPLITS, candidate_plans


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_ten_wordings_to_train_on_and_three_held_out(family):
    simple, train, held_out = (_WORDINGS[group][family] for group in language.GROUPS)
    assert len(set(train)) == len(train) == 10
    assert train[:3] == simple
    assert len(set(held_out)) == 3


def test_no_held_out_sentence_may_be_trained_on():
    held_out = {
        s for task in language.every_task() for s in language.instructions(task, "held_out")
    }
    assert len(held_out) == 3 * len(language.every_task())
    assert not held_out & set(language.sentences())
    assert not held_out & set(language.sentences("simple"))


def test_the_sentences_to_train_on_are_all_wordings_and_all_states():
    told = set(language.sentences())
    task = Task("beside", "red can", "blue plate", "left")
    assert {*language.instructions(task, "train"), *language.states(task)} <= told
    assert {"please", "grab", "want"} <= language.vocabulary()
    assert not {"would", "belongs"} & language.vocabulary()


def test_plates_are_put_on_and_bowls_are_put_in():
    on, into = Task("put", "red ball", "blue plate"), Task("put", "red ball", "blue bowl")
    assert language.instructions(on)[0] == "put the red ball on the blue plate"
    assert language.instructions(into)[0] == "put the red ball in the blue bowl"
    assert "get the ball that is red into the blue bowl" in language.instructions(into, "train")


def test_data_sets_of_known_seeds_keep_their_instructions():
    shipped = json.loads((ASSETS / "frames" / "frames.json").read_text())["frames"]
    for frame in shipped:  # forks of seed 0
        index = (frame["scene"] - 192_000_000) // 64
        plans = candidate_plans(SPLITS["forks"], 0, index)
        plan = next(plan for plan in plans if plan.scene.seed == frame["scene"])
        said = zip(plan.tasks, plan.wordings, strict=True)
        drawn = [language.instructions(one.task)[number] for one, number in said]
        assert set(frame["instructions"]) <= set(drawn)


def test_other_wordings_change_neither_scenes_nor_tasks():
    plans = [next(candidate_plans(SPLITS["forks"], 5, 0, group)) for group in language.GROUPS]
    assert len({(plan.scene, tuple(plan.tasks)) for plan in plans}) == 1
    assert [plan.group for plan in plans] == list(language.GROUPS)
