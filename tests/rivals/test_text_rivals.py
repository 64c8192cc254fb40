"""What Tune-A-Video, Seer and VideoFusion have in common: the protocol, and that they learn."""

import math
from dataclasses import replace

import pytest
import torch
from text_rivals import METHODS, SIZES, fork, make, random_batch, seeded, train_only

from aid.rivals.method import Method

STAGES = [(name, stage) for name in METHODS for stage in METHODS[name]().stages]


def draw(method, batch, seed=3, num_steps=2):
    return method.draw(batch.videos[:, 0], batch.text, batch.text_mask, seeded(seed), num_steps)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_latents_that_reads_text(name):
    method = make(name)
    assert isinstance(method, Method)
    assert method.space == "latents"
    assert method.reads_text
    assert math.isclose(sum(method.stages.values()), 1)


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_one_loss_for_each_video_from_the_generator_alone(name, stage):
    method, batch = make(name), random_batch(3)
    before = torch.get_rng_state()
    loss = method.loss(stage, batch, seeded(5))
    assert torch.get_rng_state().equal(before)
    assert loss.shape == (3,)
    assert loss.equal(method.loss(stage, batch, seeded(5)))
    assert not loss.equal(method.loss(stage, batch, seeded(6)))


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_gradients_reach_all_that_a_stage_trains_and_nothing_else(name, stage):
    method = make(name, is_awake=True)
    trained = train_only(method, stage)
    method.loss(stage, random_batch(), seeded()).mean().backward()
    got = {n for n, p in method.network.named_parameters() if p.grad is not None and p.grad.any()}
    assert got == set(trained)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_is_trained_by_some_stage(name):
    method = make(name)
    trained = {n for stage in method.stages for n in method.trained(stage)}
    left = {n for n, _ in method.network.named_parameters()} - trained
    assert all("norm_temp" in n for n in left)  # Tune-A-Video leaves these as they start


@pytest.mark.parametrize("name", METHODS)
def test_drawn_videos_begin_with_the_given_frame(name):
    batch = random_batch()
    video = draw(make(name), batch)
    assert video.shape == batch.videos.shape
    assert video.isfinite().all()
    assert video[:, 0].equal(batch.videos[:, 0])


@pytest.mark.parametrize("name", METHODS)
def test_the_generator_decides_what_is_drawn(name):
    method, batch = make(name), random_batch()
    assert draw(method, batch).equal(draw(method, batch))
    assert not draw(method, batch)[:, 1:].equal(draw(method, batch, seed=4)[:, 1:])


@pytest.mark.parametrize("name", METHODS)
def test_text_changes_what_is_drawn_and_padding_does_not(name):
    method, batch = make(name, is_awake=True), random_batch()
    video = draw(method, batch)
    batch.text[:, -1] += 1  # padding
    torch.testing.assert_close(draw(method, batch), video)
    batch.text[:, 0] += 1
    assert (draw(method, batch) - video).abs().mean() > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_the_given_frame_changes_what_is_drawn(name):
    method, batch = make(name, is_awake=True), random_batch()
    video = draw(method, batch)
    batch.videos[:, 0] += 1
    assert (draw(method, batch) - video)[:, 1:].abs().mean() > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_two_instructions_of_one_frame_are_learned_by_heart(name):
    method, batch = make(name), fork()
    swapped = replace(batch, text=batch.text.flip(0))

    def losses(of):
        stage = list(method.stages)[-1]
        with torch.no_grad():
            return torch.stack([method.loss(stage, of, seeded(s)).mean() for s in range(100, 110)])

    start = losses(batch).mean()
    for stage in method.stages:
        optimizer = torch.optim.AdamW(train_only(method, stage).values(), lr=4e-3)
        for step in range(50):
            optimizer.zero_grad()
            method.loss(stage, batch, seeded(step)).mean().backward()
            optimizer.step()
    assert losses(batch).mean() < 0.3 * start
    assert (losses(swapped) > losses(batch)).float().mean() >= 0.8  # the text is used


@pytest.mark.parametrize("name", METHODS)
def test_the_time_step_matters_in_narrow_networks(name):
    method = make(name, is_awake=True)
    unet = getattr(method, "residual", getattr(method, "unet", method.network))
    noisy = torch.randn(1, unet.config.in_channels, SIZES.height, SIZES.width, generator=seeded())
    text = torch.zeros(1, SIZES.text_length, SIZES.text_dim)
    labels = torch.zeros(1, dtype=torch.long) if unet.config.num_class_embeds else None
    early, late = (
        unet(noisy, time, encoder_hidden_states=text, class_labels=labels).sample
        for time in (10, 900)
    )
    assert (early - late).abs().mean() > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_a_text_of_padding_alone_is_no_text(name):
    method, batch = make(name), random_batch()
    batch.text_mask[0] = False
    assert draw(method, batch).isfinite().all()
