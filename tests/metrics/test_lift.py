import numpy as np
import pytest

from aid.metrics.lift import lift_of

SCENES = [7, 7, 7, 8, 8, 8]


@pytest.fixture
def real():
    return np.random.default_rng(0).normal(size=(6, 5))


def test_a_model_that_follows_words_is_found_out_and_one_that_does_not_is_chance(real):
    still = np.repeat(real[::3], 3, axis=0).mean(1, keepdims=True) + np.zeros((6, 5))
    swapped = real[[1, 2, 0, 4, 5, 3]]
    lift = lift_of(
        real,
        {"obeys": real + 1e-3, "still": still, "wrong": swapped},
        {"other words": (real, swapped), "deaf": (still, still)},
        SCENES,
    )
    assert lift.retrieval["obeys"].value == 1 and lift.retrieval["wrong"].value == 0
    assert lift.chance == pytest.approx(1 / 3)
    assert lift.moves["other words"].value == pytest.approx(1)  # exactly as far as reality
    assert lift.moves["deaf"].value == 0
    assert lift.retrieval["still"].num_videos == 6


def test_equally_near_videos_share_the_hit(real):
    same = np.zeros((6, 5))
    assert lift_of(same, {"any": real}, {}, SCENES).retrieval["any"].value == pytest.approx(1 / 3)


def test_frames_with_one_instruction_say_nothing(real):
    assert lift_of(real, {"any": real}, {}, list(range(6))) is None
