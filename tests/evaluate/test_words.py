import numpy as np
import pytest

from aid.evaluate.words import lift_of

SCENES = [7, 7, 7, 8, 8, 8]


@pytest.fixture
def real():
    return np.random.default_rng(0).normal(size=(6, 5))


def test_lift_separates_a_model_that_follows_words_from_one_at_chance(real):
    still = np.repeat(real[::3], 3, axis=0).mean(1, keepdims=True) + np.zeros((6, 5))
    swapped = real[[1, 2, 0, 4, 5, 3]]
    lift = lift_of(
        real,
        {"obeys": real + 1e-3, "still": still, "wrong": swapped},
        {"other words": (real, swapped), "same words": (still, still)},
        SCENES,
    )
    assert lift.retrieval["obeys"].value == 1 and lift.retrieval["wrong"].value == 0
    assert lift.chance == pytest.approx(1 / 3)
    assert lift.moves["other words"].value == pytest.approx(
        1
    )  # exactly the distance of the real videos
    assert lift.moves["same words"].value == 0
    assert lift.retrieval["still"].num_videos == 6


def test_equally_near_videos_count_in_equal_parts(real):
    same = np.zeros((6, 5))
    assert lift_of(same, {"any": real}, {}, SCENES).retrieval["any"].value == pytest.approx(1 / 3)


def test_frames_with_one_instruction_have_no_lift(real):
    assert lift_of(real, {"any": real}, {}, list(range(6))) is None
