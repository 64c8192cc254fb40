"""The text tower goes on until the words for things and directions are told apart."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from aid.models.backbone import load_backbone
from aid.tabletop.language import NAMING_WORDS, vocabulary
from aid.tabletop.pretrain.config import WordStageConfig
from aid.tabletop.pretrain.parts import save_part
from aid.tabletop.pretrain.words import SCALE, WordHead, drift_of, train_words
from tests.tabletop.pretrain.conftest import LOOP

LONG_ENOUGH = replace(
    LOOP, steps=150, batch_size=16, learning_rate=5e-3, check_every=150, log_every=150
)


def test_words_begin_at_the_mean_of_their_tokens():
    tokens = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 7.0]])
    head = WordHead(tokens, torch.tensor([2, 2, 0]), num_words=4)
    assert head.words.tolist() == [[0, 7], [0, 0], [2, 1], [0, 0]]


def test_words_are_named_by_direction_and_not_by_length():
    head = WordHead(torch.eye(3), torch.arange(3), num_words=3)
    tokens = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 50.0]])
    loss, right = head(tokens, torch.tensor([0, 2]))
    assert right == 1
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-SCALE)), abs=1e-6)
    loss, right = head(tokens, torch.tensor([0, 1]))
    assert right == 0.5
    assert loss.item() == pytest.approx(SCALE / 2, abs=1e-4)


def test_drift_is_measured_in_the_tokens_own_length():
    before = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert drift_of(before + torch.tensor([0.0, 1.0]), before) == pytest.approx(1 / 25)
    assert drift_of(-before, before) == pytest.approx(4)
    assert drift_of(10 * before + 10, 10 * before) == pytest.approx(drift_of(before + 1, before))


def test_every_naming_word_occurs_in_a_sentence():
    assert set(NAMING_WORDS) <= vocabulary()
    assert len(set(NAMING_WORDS)) == 16


@torch.no_grad()
def likeness(backbone, one, other):
    """The cosine of two words' tokens, in one sentence otherwise alike."""
    parts = load_backbone(backbone, ("text_encoder", "tokenizer"))
    numbers = parts.tokenizer([f"push the red block to the {w}" for w in (one, other)])
    hidden = parts.text_encoder(torch.tensor(numbers["input_ids"])).last_hidden_state[:, -2]
    return F.cosine_similarity(*hidden, dim=0).item()


@pytest.fixture(scope="module")
def forgetful(runs, tmp_path_factory):
    """A backbone whose text tower all but has one embedding for "left" and "right"."""
    folder = tmp_path_factory.mktemp("forgetful") / "backbone"
    parts = load_backbone(runs / "backbone", ("text_encoder", "tokenizer"))
    left, right = (parts.tokenizer(word)["input_ids"][1] for word in ("left", "right"))
    with torch.no_grad():
        embedding = parts.text_encoder.get_input_embeddings().weight
        embedding[right] = embedding[left] + 5e-2 * embedding[right]
    shutil.copytree(runs / "backbone", folder)
    save_part(folder, "text_encoder", parts.text_encoder)
    return folder


@torch.no_grad()
def drift(word, backbone, start):
    """How far a word's token lies from where it was, in its length."""
    towers = [load_backbone(folder, ("text_encoder", "tokenizer")) for folder in (backbone, start)]
    numbers = torch.tensor([towers[0].tokenizer("push the red block to the left")["input_ids"]])
    own = numbers[0] == towers[0].tokenizer(word)["input_ids"][1]
    new, old = (parts.text_encoder(numbers).last_hidden_state[0, own] for parts in towers)
    return ((new - old).norm() / old.norm()).item()


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").open()]


@pytest.fixture(scope="module")
def gone_on(forgetful, tmp_path_factory):
    """The forgetful backbone trained on, freely (0) and with its tokens kept (2)."""
    folder = tmp_path_factory.mktemp("gone_on")
    for weight in (0, 2):
        shutil.copytree(forgetful, folder / f"{weight}")
        config = WordStageConfig(keep_weight=float(weight), loop=LONG_ENOUGH)
        train_words(folder / f"{weight}", folder / f"run-{weight}", config)
    return folder


def test_left_and_right_are_separated_and_all_other_parts_stay_byte_equal(forgetful, gone_on):
    out, run = gone_on / "0", gone_on / "run-0"
    assert likeness(forgetful, "left", "right") > 0.99
    assert likeness(out, "left", "right") < 0.6
    assert log_of(run)[-1]["words"] > 0.99
    changed = {
        file.relative_to(out).as_posix()
        for file in out.rglob("*")
        if file.is_file() and file.read_bytes() != (forgetful / file.relative_to(out)).read_bytes()
    }
    assert changed == {"text_encoder/model.safetensors"}


def test_a_finished_stage_is_not_trained_again(forgetful, gone_on):
    out, run = gone_on / "0", gone_on / "run-0"
    before, said = (out / "text_encoder/model.safetensors").read_bytes(), log_of(run)[-2]
    train_words(out, run, WordStageConfig(keep_weight=0.0, loop=LONG_ENOUGH))
    assert (out / "text_encoder/model.safetensors").read_bytes() == before
    assert log_of(run)[-2]["seconds"] == said["seconds"]


def test_with_a_drift_penalty_tokens_stay_near_and_left_and_right_are_separated(forgetful, gone_on):
    assert log_of(gone_on / "run-2")[-1]["words"] > 0.99
    assert likeness(gone_on / "2", "left", "right") < 0.8
    kept, free = (drift("the", gone_on / name, forgetful) for name in ("2", "0"))
    assert kept < 0.5 * free
    assert kept < 0.5 * drift("left", gone_on / "2", forgetful)  # "the" need not be told
    assert 0 < log_of(gone_on / "run-2")[-1]["drift"] < log_of(gone_on / "run-0")[-1]["drift"]


def test_a_folder_without_a_text_tower_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a backbone"):
        train_words(tmp_path / "out", tmp_path / "run", WordStageConfig(loop=LOOP))
    assert not (tmp_path / "run").exists()


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"keep_weight must be 0 .* got -1\.0\. Try 2"):
        WordStageConfig(keep_weight=-1.0)
