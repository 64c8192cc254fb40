"""The text tower goes on until the words that name things and ways are told apart."""

import contextlib
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from aid.cli import main
from aid.config import WordStageConfig
from aid.models.backbone import load_backbone
from aid.models.embedded import save_part
from aid.pretrain.words import SCALE, WordHead, train_words, way_from
from tests.pretrain.conftest import LOOP


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


def test_a_way_is_measured_in_the_tokens_own_length():
    before = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert way_from(before + torch.tensor([0.0, 1.0]), before) == pytest.approx(1 / 25)
    assert way_from(-before, before) == pytest.approx(4)
    assert way_from(10 * before + 10, 10 * before) == pytest.approx(way_from(before + 1, before))


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


def test_left_is_told_from_right_and_all_other_parts_stay_byte_for_byte(forgetful, tmp_path):
    assert likeness(forgetful, "left", "right") > 0.99
    out = tmp_path / "backbone"
    shutil.copytree(forgetful, out)
    loop = replace(
        LOOP, steps=150, batch_size=16, learning_rate=5e-3, check_every=150, log_every=150
    )
    config = WordStageConfig(loop=loop)
    train_words(out, tmp_path / "run", config, forgetful)
    assert likeness(out, "left", "right") < 0.6
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").open()]
    assert log[-1]["words"] > 0.9
    changed = {
        file.relative_to(out).as_posix()
        for file in out.rglob("*")
        if file.is_file() and file.read_bytes() != (forgetful / file.relative_to(out)).read_bytes()
    }
    assert changed == {"text_encoder/model.safetensors"}
    before, said = (out / "text_encoder/model.safetensors").read_bytes(), log[-2]["seconds"]
    train_words(out, tmp_path / "run", config, forgetful)  # a finished stage is not trained again
    assert (out / "text_encoder/model.safetensors").read_bytes() == before
    again = [json.loads(line) for line in (tmp_path / "run/log.jsonl").open()]
    assert again[-2]["seconds"] == said


@torch.no_grad()
def way_of(word, backbone, start):
    """How far a word's token lies from where it was, in its length."""
    towers = [load_backbone(folder, ("text_encoder", "tokenizer")) for folder in (backbone, start)]
    numbers = torch.tensor([towers[0].tokenizer("push the red block to the left")["input_ids"]])
    own = numbers[0] == towers[0].tokenizer(word)["input_ids"][1]
    new, old = (parts.text_encoder(numbers).last_hidden_state[0, own] for parts in towers)
    return ((new - old).norm() / old.norm()).item()


def test_kept_tokens_stay_near_and_left_is_told_from_right_all_the_same(forgetful, tmp_path):
    loop = replace(
        LOOP, steps=150, batch_size=16, learning_rate=5e-3, check_every=150, log_every=150
    )
    ways = {}
    for weight in (0.0, 2.0):
        out = tmp_path / f"{weight}"
        shutil.copytree(forgetful, out)
        config = WordStageConfig(keep_weight=weight, loop=loop)
        train_words(out, tmp_path / f"run-{weight}", config, forgetful)
        ways[weight] = way_of("the", out, forgetful)
        log = [json.loads(line) for line in (tmp_path / f"run-{weight}/log.jsonl").open()]
        assert log[-1]["words"] > 0.9
    assert likeness(out, "left", "right") < 0.8
    assert ways[2.0] < 0.5 * ways[0.0]
    assert 0 < log[-1]["way"] < 0.6


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"keep_weight must be 0 .* got -1\.0\. Try 2"):
        WordStageConfig(keep_weight=-1.0)


def test_the_start_itself_is_not_written_over(forgetful, tmp_path):
    before = (forgetful / "text_encoder/model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"--out and --start are both .*another folder"):
        train_words(forgetful, tmp_path / "run", WordStageConfig(loop=LOOP), forgetful)
    assert (forgetful / "text_encoder/model.safetensors").read_bytes() == before


def test_a_copied_start_leaves_its_runs_behind(forgetful, tmp_path, capsys):
    start = tmp_path / "start"
    shutil.copytree(forgetful, start)
    (start / "runs/words").mkdir(parents=True)
    loop = "steps: 2, batch_size: 4, log_every: 1, check_every: 2, save_every: 1"
    (tmp_path / "recipe.yaml").write_text(f"pretrain: {{words: {{loop: {{{loop}}}}}}}")
    flags = ["--config", "recipe.yaml", "--data", ".", "--start", "start", "--out", "out"]
    with contextlib.chdir(tmp_path):
        assert main(["pretrain", *flags, "--stage", "words"]) == 0, capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out/runs").iterdir()] == ["words"]
    assert (tmp_path / "out/runs/words/log.jsonl").is_file()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "recipe.yaml", "start"]


def test_what_is_no_backbone_is_not_copied(tmp_path, capsys):
    start, out = tmp_path / "start", tmp_path / "out"
    start.mkdir()
    flags = ["--data", str(tmp_path), "--start", str(start), "--out", str(out)]
    assert main(["pretrain", *flags, "--stage", "words"]) == 2
    assert "is not a backbone: it has no model_index.json" in capsys.readouterr().err
    assert not out.exists()


def test_words_without_a_backbone_to_go_on_from_are_refused(tmp_path, capsys):
    flags = ["--data", str(tmp_path), "--out", str(tmp_path / "b"), "--stage", "words"]
    assert main(["pretrain", *flags]) == 2
    assert "--stage words goes on from a backbone. Give it with --start." in capsys.readouterr().err
