import pytest
import torch

from aid.conditioning.encoders import encode_sentences, join_states, state_sentences
from aid.models.backbone import load_backbone


@pytest.fixture(scope="module")
def tower(tiny_backbone):
    parts = load_backbone(tiny_backbone, ("text_encoder", "tokenizer"))
    return parts.tokenizer, parts.text_encoder


def test_tokens_fill_the_towers_length_and_the_mask_is_true_at_words(tower):
    tokens, mask = encode_sentences(*tower, ["push the ball", ""])
    assert tokens.shape == (2, 16, 16)
    assert mask.sum(1).tolist() == [5, 2]  # start and end are words
    assert torch.equal(mask[0], torch.arange(16) < 5)


def test_padding_is_zero_and_words_are_not(tower):
    tokens, mask = encode_sentences(*tower, ["push the ball"])
    assert not tokens[~mask].any()
    assert tokens[mask].abs().sum(-1).all()


def test_last_layer_is_the_towers_own_output(tower):
    tokenizer, encoder = tower
    ids = tokenizer("drop it", padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        expected = encoder(ids["input_ids"]).last_hidden_state
    tokens, mask = encode_sentences(*tower, ["drop it"])
    torch.testing.assert_close(tokens[mask], expected[mask])


def test_penultimate_layer_leaves_out_the_last_but_not_the_norm(tower):
    tokenizer, encoder = tower
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    ids = tokenizer("drop it", padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(ids["input_ids"], output_hidden_states=True).hidden_states[-2]
        tokens, mask = encode_sentences(*tower, ["drop it"], layer="penultimate")
        torch.testing.assert_close(tokens[mask], norm(hidden)[mask])
    assert not torch.allclose(tokens, encode_sentences(*tower, ["drop it"])[0])


def test_each_distinct_sentence_is_encoded_once(tower, monkeypatch):
    tokenizer, encoder = tower
    seen = []
    monkeypatch.setattr(
        encoder,
        "forward",
        lambda ids, _f=encoder.forward, **k: seen.append(len(ids)) or _f(ids, **k),
    )
    tokens, _ = encode_sentences(tokenizer, encoder, ["drop it", "stop", "drop it", "drop it"])
    assert seen == [2]
    assert torch.equal(tokens[0], tokens[2])
    assert not torch.equal(tokens[0], tokens[1])


def test_the_tokens_of_a_sentence_do_not_depend_on_the_batch(tower):
    alone, _ = encode_sentences(*tower, ["drop it"])
    among, _ = encode_sentences(*tower, ["push the red ball left then stop", "drop it"])
    torch.testing.assert_close(alone[0], among[1])


def test_a_sentence_that_is_cut_off_is_reported(tower):
    with pytest.warns(UserWarning, match=r"1 of 2 sentences .* \(14 tokens\)"):
        _, mask = encode_sentences(*tower, ["push the ball " * 10, "stop"])
    assert mask[0].all()


def test_states_are_joined_one_after_another():
    tokens, mask = torch.randn(3, 4, 2), torch.rand(3, 4) > 0.5
    joined, joined_mask = join_states(tokens, mask)
    assert joined.shape == (12, 2)
    assert torch.equal(joined[4:8], tokens[1])
    assert torch.equal(joined_mask[8:], mask[2])


def test_no_states_are_the_empty_sentence():
    assert state_sentences([]) == [""]
    assert state_sentences(["a", "b"]) == ["a", "b"]
