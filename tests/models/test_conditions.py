from dataclasses import fields

import pytest
import torch

from aid.models.conditions import Conditions, TextTokens


def test_dropped_text_is_the_empty_sentence(conditions, empty_text):
    dropped = conditions.without_text(empty_text, torch.tensor([True, False])).text
    assert torch.equal(dropped.instruction_tokens[0, :2], empty_text.instruction_tokens[0])
    assert not dropped.instruction_mask[0, 2:].any()
    assert torch.equal(dropped.state_mask[0, :2], empty_text.state_mask[0])
    for name in ("instruction_tokens", "instruction_mask", "state_tokens", "state_mask"):
        assert torch.equal(getattr(dropped, name)[1], getattr(conditions.text, name)[1])


def test_dropped_text_may_be_nothing_at_all(conditions):
    text = conditions.without_text(None).text
    assert not any(getattr(text, f.name).any() for f in fields(text))


def test_longer_empty_sentence_pads_the_others(conditions, generator):
    longer = TextTokens(
        instruction_tokens=torch.randn(1, 9, 16, generator=generator),
        instruction_mask=torch.ones(1, 9, dtype=torch.bool),
        state_tokens=torch.randn(1, 1, 16, generator=generator),
        state_mask=torch.ones(1, 1, dtype=torch.bool),
    )
    text = conditions.without_text(longer, torch.tensor([False, True])).text
    assert text.instruction_tokens.shape == (2, 9, 16)
    assert text.instruction_mask.sum(dim=1).tolist() == [3, 9]
    assert text.state_mask.sum(dim=1).tolist() == [4, 1]


def test_dropped_image_is_zero_everywhere_it_enters(conditions):
    dropped = conditions.without_image(torch.tensor([True, False]))
    for name in ("condition_latents", "image_embedding", "image_tokens"):
        assert not getattr(dropped, name)[0].any()
        assert torch.equal(getattr(dropped, name)[1], getattr(conditions, name)[1])
    assert torch.equal(dropped.added_time_ids, conditions.added_time_ids)


def test_dropout_shares_are_equal(generator):
    many = Conditions(
        condition_latents=torch.ones(20_000, 1, 1, 1, 1),
        image_embedding=torch.ones(20_000, 1, 1),
        image_tokens=torch.ones(20_000, 1, 1),
        fps=torch.ones(20_000),
        motion_bucket_id=torch.ones(20_000),
        noise_aug_strength=torch.ones(20_000),
        text=TextTokens(
            instruction_tokens=torch.ones(20_000, 1, 1),
            instruction_mask=torch.ones(20_000, 1, dtype=torch.bool),
            state_tokens=torch.ones(20_000, 1, 1),
            state_mask=torch.ones(20_000, 1, dtype=torch.bool),
        ),
    )
    dropped = many.dropped_at_random(None, 0.1, generator)
    no_text = ~dropped.text.instruction_mask.flatten()
    no_image = dropped.condition_latents.flatten() == 0
    shares = [(no_text & ~no_image), (no_text & no_image), (~no_text & no_image)]
    assert [share.float().mean().item() for share in shares] == pytest.approx([0.1] * 3, abs=0.01)


def test_dropout_follows_its_share_and_generator(build, conditions, empty_text):
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    null = build().null_text(empty_text)
    made = [conditions.dropped_at_random(null, 1 / 3, g) for g in generators]
    assert torch.equal(made[0].condition_latents, made[1].condition_latents)
    kept = conditions.dropped_at_random(null, 0.0, generators[0])
    assert torch.equal(kept.condition_latents, conditions.condition_latents)
    assert torch.equal(kept.text.instruction_tokens, conditions.text.instruction_tokens)


def test_dropout_share_has_a_limit(conditions, generator):
    with pytest.raises(ValueError, match=r"between 0 and 1/3 .* got 0.5"):
        conditions.dropped_at_random(None, 0.5, generator)


def test_cat_keeps_order_and_pads_text(conditions, empty_text):
    both = Conditions.cat([conditions, conditions.without_text(empty_text)])
    assert len(both) == 4
    assert torch.equal(both.fps, conditions.fps.repeat(2))
    assert both.text.instruction_tokens.shape == (4, 4, 16)


def test_to_changes_the_dtype_of_tokens_but_not_of_masks(conditions):
    half = conditions.to(torch.float16)
    assert half.condition_latents.dtype == half.text.state_tokens.dtype == torch.float16
    assert half.text.state_mask.dtype == torch.bool


def test_empty_text_expands_to_a_batch(empty_text):
    assert empty_text.expand(3).instruction_tokens.shape == (3, 2, 16)
