from dataclasses import replace

import pytest
import torch

from aid.config import DQFormerConfig
from aid.models.dqformer import Attention, DQFormer

CONFIG = DQFormerConfig(queries_per_frame=2, num_heads=2)
F, Q, D, N, M, P = 3, 2, 8, 4, 6, 5


def build(**changes):
    torch.manual_seed(0)
    return DQFormer(10, 12, D, F, replace(CONFIG, **changes))


@pytest.fixture
def inputs(generator):
    """Arguments after `num_frames`: two samples, padding at the end."""
    return [
        torch.randn(2, N, 10, generator=generator),
        torch.tensor([[True] * N, [True, True, False, False]]),
        torch.randn(2, M, 10, generator=generator),
        torch.tensor([[True] * M, [True] * 3 + [False] * 3]),
        torch.randn(2, P, 12, generator=generator),
    ]


def test_context_is_the_multimodal_tokens_and_each_frames_own(inputs):
    context = build()(F, *inputs)
    assert context.shared.shape == (2, N, D)
    assert context.per_frame.shape == (2, F, Q, D)
    assert context.tokens.shape == (2, F, N + Q, D)
    assert context.mask.tolist() == [[True] * 6, [True, True, False, False, True, True]]


def test_global_context_shows_every_frame_all_queries(inputs):
    context = build(mcondition_layout="global")(F, *inputs)
    assert context.tokens.shape == (2, F, N + F * Q, D)
    assert torch.equal(context.tokens[:, 0], context.tokens[:, 2])
    assert context.mask.shape == (2, N + F * Q)


@pytest.mark.parametrize(("branches", "length"), [("multimodal", N), ("decomposed", Q)])
def test_a_branch_alone_makes_only_its_tokens(inputs, branches, length):
    assert build(branches=branches)(F, *inputs).tokens.shape == (2, F, length, D)


@pytest.mark.parametrize("position", [0, 2], ids=["instruction", "states"])
def test_padding_is_not_read(inputs, position):
    model = build()
    before = model(F, *inputs)
    inputs[position] = torch.where(inputs[position + 1][..., None], inputs[position], 100.0)
    after = model(F, *inputs)
    assert torch.equal(before.per_frame, after.per_frame)
    assert torch.equal(before.shared[before.shared_mask], after.shared[after.shared_mask])


def test_a_fully_padded_text_gives_finite_tokens_and_gradients(inputs):
    model = build()
    inputs[1], inputs[3] = torch.zeros_like(inputs[1]), torch.zeros_like(inputs[3])
    tokens = model(F, *inputs).tokens
    tokens.square().sum().backward()
    assert tokens.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_no_states_at_all_is_the_same_as_only_padding(inputs):
    model = build()
    padding = model(F, *inputs[:3], torch.zeros_like(inputs[3]), inputs[4])
    none = model(F, *inputs[:2], inputs[2][:, :0], inputs[3][:, :0], inputs[4])
    torch.testing.assert_close(none.tokens, padding.tokens)


def test_attention_answers_zero_where_nothing_may_be_read(generator):
    x = torch.randn(1, 3, D, generator=generator)
    mask = torch.zeros(1, 3, dtype=torch.bool)
    assert not Attention(D, 2)(x, x, mask).any()


def test_multimodal_branch_is_the_papers_formula(inputs):
    branch = build(num_heads=1).multimodal.double()
    t1, v = (torch.randn(1, n, D, dtype=torch.float64) for n in (N, P))
    layer = branch.layers[0]
    everything = torch.ones(1, N, dtype=torch.bool)
    query = t1 + layer["self_attention"](t1, mask=everything)
    attend = layer["image_attention"]
    scores = attend.to_q(attend.norm(query)) @ attend.to_k(v).mT / D**0.5
    by_hand = branch.norm(attend.to_out(scores.softmax(dim=-1) @ attend.to_v(v)))
    torch.testing.assert_close(branch(t1, everything, v), by_hand)


def test_states_are_read_only_if_asked(inputs):
    other = [*inputs[:2], inputs[2] + 1, *inputs[3:]]
    reading, deaf = build(), build(use_states=False)
    assert not torch.equal(reading(F, *inputs).tokens, reading(F, *other).tokens)
    assert torch.equal(deaf(F, *inputs).tokens, deaf(F, *other).tokens)
    assert not [name for name, _ in deaf.named_parameters() if "states" in name]


def test_a_frames_queries_change_only_its_own_tokens(inputs):
    model = build()
    before = model(F, *inputs)
    with torch.no_grad():
        model.decomposed.frame_queries[Q : 2 * Q] += 1  # frame 1
    after = model(F, *inputs)
    changed = (before.tokens != after.tokens).any(dim=-1).any(dim=-1).any(dim=0)
    assert changed.tolist() == [False, True, False]


def test_another_number_of_frames_interpolates_between_the_same_ends(inputs):
    branch = build().decomposed
    trained, longer = branch.queries(3), branch.queries(5)
    assert build()(5, *inputs).tokens.shape == (2, 5, N + Q, D)
    for i, j in ((0, 0), (1, 2), (2, 4)):
        torch.testing.assert_close(longer[j], trained[i])
    torch.testing.assert_close(longer[1], (trained[0] + trained[1]) / 2)


def test_queries_start_small():
    queries = DQFormer(10, 12, 64, 16, replace(CONFIG, num_heads=8)).decomposed.frame_queries
    assert queries.std().item() == pytest.approx(0.02, rel=0.1)


def test_inner_width_is_free(inputs):
    model = build(dim=12, num_heads=3)
    assert model(F, *inputs).tokens.shape[-1] == D
    assert model.decomposed.frame_queries.shape == (F * Q, 12)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"num_heads must divide the DQFormer's width 8, got 3"):
        build(num_heads=3)
