import math

import torch

from aid import optim


def test_randomness_depends_on_seed_step_and_stream_alone():
    def draw(*key):
        return torch.randn(4, generator=optim.generator_for(*key))

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    others = [draw(0, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(1, 2)]
    assert not any(torch.equal(draw(1, 2, 3), other) for other in others)
    assert math.isfinite(float(draw(-1, 0).sum()))


def test_what_a_sample_draws_depends_on_its_place_in_the_whole_batch_alone():
    def draws(step, places):
        return [torch.randn(4, generator=g) for g in optim.sample_generators(7, step, places)]

    whole, half = draws(3, range(200)), draws(3, range(100, 200))
    assert all(torch.equal(one, other) for one, other in zip(whole[100:], half, strict=True))
    different = [*whole, *draws(4, range(200)), torch.zeros(4)]
    assert len({tuple(one.tolist()) for one in different}) == 401
