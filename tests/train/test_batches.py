from dataclasses import replace

import pytest
import torch

from aid.config import ConditionConfig, NoiseConfig, TimeNoiseConfig, TrainConfig
from aid.data.cache import Cache
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser
from aid.optim import sample_generators
from aid.train.batches import (
    Noised,
    conditions_of,
    draw_sample,
    empty_text,
    motion_buckets,
)
from aid.train.checking import share_of

TRAIN = TrainConfig(noise=NoiseConfig(mean=0.0, std=1.0))


@pytest.fixture(scope="module")
def denoiser(tiny_backbone):
    from aid.config import AdapterConfig, ConditionConfig, DQFormerConfig, ModelConfig

    config = ModelConfig(
        num_frames=3, dqformer=DQFormerConfig(queries_per_frame=2, num_heads=2),
        adapter=AdapterConfig(long_term_heads=2), condition=ConditionConfig(text_dropout=0.0),
    )  # fmt: skip
    return Denoiser(load_backbone(tiny_backbone, ("unet",)).unet, 16, 24, config)


def drawn(cache, denoiser, places, train=TRAIN):
    data = Cache(cache)
    null, generators = denoiser.null_text(empty_text(data)), sample_generators(5, 2, places)
    condition = denoiser.config.condition
    samples = zip(places, generators, strict=True)
    return Noised.cat([draw_sample(data, i % 6, condition, null, train, g, g) for i, g in samples])


def test_a_sample_is_the_same_whatever_it_is_drawn_with(cache, denoiser):
    whole, half = drawn(cache, denoiser, range(6)), drawn(cache, denoiser, range(3, 6))
    assert torch.equal(whole.sigma[3:], half.sigma)
    assert torch.equal(whole.noise[3:], half.noise)
    for name in ("condition_latents", "noise_aug_strength", "image_tokens"):
        assert torch.equal(getattr(whole.conditions, name)[3:], getattr(half.conditions, name))
    assert len(set(whole.sigma.tolist())) == 6


@pytest.mark.parametrize("filling", ["grey_pixels", "repeat_first"])
def test_time_noise_falls_on_the_given_frame_and_on_what_repeats_it(cache, denoiser, filling):
    config = denoiser.config
    condition = replace(config.condition, frame_condition=filling)
    denoiser.config = replace(config, condition=condition)
    try:
        noisy = replace(TRAIN, time_noise=TimeNoiseConfig(max_strength=2.0))
        without = drawn(cache, denoiser, range(6))
        with_noise = drawn(cache, denoiser, range(6), noisy)
    finally:
        denoiser.config = config
    added = with_noise.conditions.condition_latents - without.conditions.condition_latents
    assert added[:, 0].abs().amax() > 0
    expected = added[:, :1].expand(-1, 2, -1, -1, -1) if filling == "repeat_first" else 0
    torch.testing.assert_close(added[:, 1:], torch.zeros_like(added[:, 1:]) + expected)
    told, before = (d.conditions.noise_aug_strength for d in (with_noise, without))
    strength = (told.square() - before.square()).sqrt()
    assert ((strength > 0) & (strength <= 2)).all()
    # The noise has the strength that the model is told, in units of the frame's own spread.
    spread = without.conditions.condition_latents[:, 0].flatten(1).std(dim=1)
    torch.testing.assert_close(added[:, 0].flatten(1).std(dim=1) / spread, strength, rtol=0.25,
                               atol=0)  # fmt: skip
    assert torch.equal(with_noise.sigma, without.sigma), "the other draws are as they were"


@pytest.mark.parametrize("filling", ["grey_pixels", "repeat_first"])
@pytest.mark.parametrize("max_strength", [0.0, 2.0])
def test_noise_that_is_drawn_anew_differs_each_time_and_is_encoded_as_the_caches_is(
    cache, denoiser, tiny_backbone, filling, max_strength
):
    parts, data = load_backbone(tiny_backbone, ("vae",)), Cache(cache)
    condition = replace(denoiser.config.condition, frame_condition=filling, text_dropout=0.2)
    train = replace(
        TRAIN, redraw_noise_aug=True, time_noise=TimeNoiseConfig(max_strength=max_strength)
    )
    generators = sample_generators(5, 2, range(32))
    sample = Noised.cat(
        [draw_sample(data, 3, condition, None, train, one, one) for one in generators]
    )
    done = sample.encoded(
        lambda given: parts.encode_condition(given, 1, "zero_latents"), filling == "repeat_first"
    )
    assert done.given is None
    dropped = ~sample.given.is_given
    assert 1 <= dropped.sum() <= 16
    latents = done.conditions.condition_latents
    assert not latents[dropped].any(), "a frame that is not told is not told anew either"
    assert torch.equal(dropped, ~done.conditions.image_tokens.flatten(1).any(dim=1))
    kept = latents[~dropped]
    assert len(kept[:, 0].flatten(1).unique(dim=0)) == len(kept), "no two noises are alike"
    if filling == "repeat_first":
        assert torch.equal(kept[:, 1:], kept[:, :1].expand_as(kept[:, 1:]))
    else:
        assert torch.equal(kept[:, 1:], sample.conditions.condition_latents[~dropped][:, 1:])

    # What is told is what was done: the pixels' noise, and on top that of the latents.
    noise = sample.given.pixels - data.given_frames([3])
    strength = noise.flatten(1).std(dim=1)
    added = sample.given.time_noise.flatten(1).std(dim=1)
    told = sample.conditions.noise_aug_strength
    torch.testing.assert_close((strength.square() + added.square()).sqrt(), told, rtol=0.2, atol=0)
    assert strength.log().mean() == pytest.approx(-3.0, abs=0.3)
    assert strength.log().std() == pytest.approx(0.5, abs=0.2)
    made = parts.encode_condition(sample.given.pixels, 1, "zero_latents")[:, 0]
    units = sample.given.time_noise[:, 0]
    wanted = made + units * made.flatten(1).std(dim=1)[:, None, None, None]
    torch.testing.assert_close(kept[:, 0], wanted[~dropped])


def test_a_video_has_the_same_noise_whether_that_on_the_frame_is_drawn_anew_or_not(cache, denoiser):
    stored = drawn(cache, denoiser, range(6))
    anew = drawn(cache, denoiser, range(6), replace(TRAIN, redraw_noise_aug=True))
    assert stored.given is None
    assert torch.equal(stored.sigma, anew.sigma)
    assert torch.equal(stored.noise, anew.noise)
    told = [one.conditions.noise_aug_strength for one in (stored, anew)]
    assert not torch.equal(*told)


def test_each_video_is_told_how_much_it_moves(cache, generator):
    still = torch.randn(1, 1, 4, 8, 8, generator=generator).expand(1, 6, -1, -1, -1)
    noise = torch.randn(1, 6, 4, 8, 8, generator=generator)
    videos = torch.cat([still, still + 0.2 * noise, 5 * still + noise, noise])
    buckets = motion_buckets(videos)
    assert buckets[0] == 0
    assert (buckets.diff()[[0, 2]] > 0).all()
    torch.testing.assert_close(buckets[1], buckets[2], rtol=0.1, atol=0)  # scale does not count
    assert 240 < buckets[3] <= 255
    batch = Cache(cache).batch([0, 3])
    told = conditions_of(batch, ConditionConfig(motion_bucket_id=None)).motion_bucket_id
    assert torch.equal(told, motion_buckets(batch.latents))
    assert told[0] != told[1]


def test_shares_are_equally_large_and_in_order():
    for number, processes in ((4, 2), (5, 2), (3, 4), (1, 3)):
        shares = [share_of(number, rank, processes) for rank in range(processes)]
        assert len({len(share) for share in shares}) == 1
        assert [place for share in shares for place in share][:number] == list(range(number))
