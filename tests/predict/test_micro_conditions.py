import pytest
from checkpoints import differ

SAID, STATES = "lift the red ball", ["lift it", "stop"]


def draw(predictor, frame, number=1, **settings):
    """The same frame, words and seed, `number` times."""
    return predictor.predict_many(
        [frame] * number, [SAID] * number, [1] * number, states=[STATES] * number,
        sampler=predictor.sampler_with(num_steps=1), **settings,
    )  # fmt: skip


def test_each_micro_condition_changes_its_own_video(predictor, frame):
    told = {"motion_bucket_id": [127.0, 10.0, 127.0], "noise_aug_strength": [0.02, 0.02, 1.5]}
    together = draw(predictor, frame, 3, **told)
    alone = draw(predictor, frame, 3, **told, batch_size=1)
    assert max(differ(a, b) for a, b in zip(together, alone, strict=True)) <= 1
    assert differ(together[0], together[1]) > 0
    assert differ(together[0], together[2]) > 0
    (usual,) = draw(predictor, frame)
    assert differ(usual, together[0]) <= 1, "127 and 0.02 are the model's own"
    one = predictor(frame, SAID, states=STATES, seed=1, num_steps=1, noise_aug_strength=1.5)
    assert differ(one.frames, together[2]) <= 1
    one = predictor(frame, SAID, states=STATES, seed=1, num_steps=1, motion_bucket_id=10.0)
    assert differ(one.frames, together[1]) <= 1


def test_micro_conditions_with_wrong_numbers_are_refused(predictor, frame):
    with pytest.raises(ValueError, match="motion_bucket_id needs a number for each video, 3, got"):
        draw(predictor, frame, 3, motion_bucket_id=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"noise_aug_strength must be 0 or more, got -0\.1"):
        draw(predictor, frame, noise_aug_strength=[-0.1])
