import pytest
import torch

from aid.tabletop import language
from aid.tabletop.pretrain.clip import contrastive_loss, sentences_about
from aid.tabletop.pretrain.config import ClipConfig
from aid.tabletop.pretrain.parts import build_clip, build_tokenizer, split_clip
from aid.types import VideoRow


def row(success, family="put", target="blue bowl", direction=None):
    task = {"family": family, "object": "red block", "target": target, "direction": direction}
    return VideoRow(
        id="a", video="a.mp4", instruction="", num_frames=4, fps=4.0, height=32, width=32,
        world={
            "task": task | {"object_index": 0},
            "items": [{"name": "red block"}, {"name": "blue bowl"}, {"name": "green can"}],
            "success": success,
        },
    )  # fmt: skip


def test_the_first_frames_sentences_name_its_items_in_every_order():
    first, _ = sentences_about(row(success=True))
    assert first == [
        "the red block and the blue bowl and the green can",
        "the blue bowl and the green can and the red block",
        "the green can and the red block and the blue bowl",
    ]


def test_the_last_frames_sentences_are_its_end_state_and_the_instruction():
    _, last = sentences_about(row(success=True))
    task = language.Task("put", "red block", "blue bowl")
    assert last == [language.states(task)[-1], *language.instructions(task, "train")]


def test_the_sentences_of_a_failure_do_not_contain_the_instruction():
    _, last = sentences_about(row(success=False))
    assert last == ["the red block is not in the blue bowl"]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(language.sentences(), max_length=24)


def test_every_word_is_one_token(tokenizer):
    for word in language.vocabulary():
        assert len(tokenizer(word)["input_ids"]) == 3, f"{word!r} with start and end"


def test_no_sentence_is_cut_off_and_each_reads_back(tokenizer):
    for sentence in language.sentences()[::97]:
        ids = tokenizer(sentence)["input_ids"]
        assert len(ids) == len(sentence.split()) + 2 <= 24
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == sentence


def test_unknown_words_fall_into_bytes_and_lose_nothing(tokenizer):
    ids = tokenizer("the Größe 7!")["input_ids"]
    assert len(ids) > 6
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "the größe 7 !"


def test_contrastive_loss_is_small_for_the_right_pairs_only():
    images = torch.eye(6)
    scale = torch.tensor(20.0)
    assert contrastive_loss(images, images, scale) < 1e-4
    assert contrastive_loss(images, images.roll(1, 0), scale) > 10
    same = torch.ones(6, 6)
    assert contrastive_loss(same, same, scale).item() == pytest.approx(torch.log(torch.tensor(6.0)))


@torch.no_grad()
def test_the_split_towers_are_the_pairs(tokenizer):
    clip = build_clip(
        ClipConfig(dim=32, num_heads=2, text_layers=1, image_layers=1, patch_size=112), tokenizer
    ).eval()
    image_encoder, text_encoder = (tower.eval() for tower in split_clip(clip))
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    wanted = clip.visual_projection(clip.vision_model(pixels).pooler_output)
    assert torch.allclose(image_encoder(pixels).image_embeds, wanted, atol=1e-5)
    tokens = tokenizer(["pick up the red ball"], return_tensors="pt")
    wanted = clip.text_model(**tokens).last_hidden_state
    assert torch.allclose(text_encoder(**tokens).last_hidden_state, wanted, atol=1e-5)


def test_the_tokenizer_is_the_same_in_every_run(tokenizer):
    """A resumed run builds it again, and its numbers must be those that were trained."""
    for _ in range(3):  # each has a hash map of its own
        again = build_tokenizer(language.sentences(), max_length=24)
        assert again.get_vocab() == tokenizer.get_vocab()
        assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
