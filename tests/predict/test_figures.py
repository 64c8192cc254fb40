import json
from dataclasses import replace

import pytest
import torch
import yaml
from checkpoints import write_tiny_model

import aid
import aid.predict.loading
import aid.worlds
from aid.cli.evaluating import update_model_card
from aid.models.backbone import backbone_hash, load_backbone
from aid.models.checkpoint import (
    load_checkpoint,
    model_card,
    read_info,
    read_trained,
    trained_hash,
    write_card,
)
from aid.predict.figures import figures_of
from aid.worlds import World

REPORT = "# Ours on forks\n\n| | accuracy |\n|---|---|\n| the model | 61.0 % |\n\n## How like\n"


@pytest.fixture
def run(tmp_path, tiny_backbone, tiny_config):
    """A run's folder with its checkpoint and a score card of it."""
    checkpoint = write_tiny_model(tmp_path / "run" / "checkpoint", tiny_backbone, tiny_config)
    unet = load_backbone(tiny_backbone, ("unet",)).unet
    loaded, _ = load_checkpoint(checkpoint, unet, backbone_hash(tiny_backbone))
    made_with = {
        "trained": trained_hash(loaded.trained_state_dict()),
        "backbone": backbone_hash(tiny_backbone),
        "precision": "bfloat16",
        "sampler": {"num_steps": 2, "text_guidance": 4.0},
    }
    write_score(tmp_path / "run" / "score", made_with)
    return tmp_path / "run"


def write_score(folder, made_with):
    (folder / "predictions").mkdir(parents=True)
    (folder / "report.md").write_text(REPORT)
    (folder / "predictions" / "predictions.json").write_text(json.dumps(made_with))


@pytest.fixture(autouse=True)
def no_shipped_model(monkeypatch):
    """A model card needs no backbone."""
    monkeypatch.setattr(aid.predict.loading, "installed_worlds", dict)


def test_the_model_card_has_the_score_card_beside_the_checkpoint(run, tiny_backbone):
    update_model_card(run / "checkpoint", run / "score")
    text = (run / "checkpoint" / "README.md").read_text()
    assert "### Ours on forks\n" in text and "| the model | 61.0 % |" in text
    assert "#### How like" in text
    assert "Sampler: num_steps 2, text_guidance 4.0; precision: bfloat16." in text
    assert "None are recorded" not in text
    made = aid.AIDPipeline.from_pretrained(run / "checkpoint", tiny_backbone)
    made.save_pretrained(run.parent / "saved")
    assert "| the model | 61.0 % |" in (run.parent / "saved" / "README.md").read_text()
    made.save_pretrained(run.parent / "saved", score=run / "score")
    assert "| the model | 61.0 % |" in (run.parent / "saved" / "README.md").read_text()


def test_the_figures_name_the_state_writer(run):
    made_with = json.loads((run / "score" / "predictions" / "predictions.json").read_text())
    (run / "score" / "predictions" / "predictions.json").write_text(
        json.dumps(made_with | {"states": "none"})
    )
    assert "precision: bfloat16; states by none." in figures_of(run / "checkpoint")


def test_another_models_figures_are_never_taken(run):
    made_with = json.loads((run / "score" / "predictions" / "predictions.json").read_text())
    write_score(run / "other", made_with | {"trained": "0123456789abcdef"})
    assert figures_of(run / "checkpoint").count("61.0 %") == 1
    with pytest.raises(ValueError, match="another model's: its trained tensors"):
        figures_of(run / "checkpoint", run / "other")
    (run / "score" / "predictions" / "predictions.json").unlink()
    with pytest.raises(ValueError, match="is no score card of a model"):
        figures_of(run / "checkpoint", run / "score")


def test_a_model_card_keeps_its_figures_if_there_are_no_new_ones(run):
    checkpoint, card = run / "checkpoint", run / "checkpoint" / "README.md"
    update_model_card(checkpoint, run / "score")
    (run / "score").rename(run.parent / "elsewhere")
    with pytest.raises(ValueError, match="its model card stays as it is"):
        write_card(checkpoint, figures_of(checkpoint))
    assert "| the model | 61.0 % |" in card.read_text()
    card.unlink()
    for _ in range(2):  # a card without figures may be written again
        write_card(checkpoint, figures_of(checkpoint))
        assert "None are recorded here" in card.read_text()
    update_model_card(checkpoint, run.parent / "elsewhere")
    assert "| the model | 61.0 % |" in card.read_text()


def test_the_card_of_an_installed_worlds_model_stays_as_it_is(run, monkeypatch):
    shipped = {"world": World(name="world", model=run)}
    monkeypatch.setattr(aid.worlds, "installed_worlds", lambda: shipped)
    before = (run / "checkpoint" / "README.md").read_bytes()
    update_model_card(run / "checkpoint", run / "score")
    assert (run / "checkpoint" / "README.md").read_bytes() == before


def test_the_card_names_the_licences_of_data_and_backbone(run):
    info, tensors = read_info(run / "checkpoint"), read_trained(run / "checkpoint")
    folder = "stabilityai--stable-video-diffusion-img2vid-xt-9cf024d5bfa8-5cae40e6a2"
    text = model_card(replace(info, data_licence="cc-by-4.0", backbone_name=folder), tensors)
    head = yaml.safe_load(text.split("---")[1])
    assert head["base_model"] == "stabilityai/stable-video-diffusion-img2vid-xt"
    assert head["license_name"] == "stable-video-diffusion-community"
    assert head["license_link"].startswith("https://huggingface.co/stabilityai/")
    assert "| licence of the data | cc-by-4.0 |" in text
    assert "| licence of the backbone | [Stability AI's](https://" in text
    bare = model_card(info, tensors)
    assert "| licence of the data | not recorded" in bare
    assert "license_name" not in yaml.safe_load(bare.split("---")[1])


def test_the_card_says_how_the_trained_numbers_are_divided(run):
    info, tensors = read_info(run / "checkpoint"), read_trained(run / "checkpoint")
    lora = replace(info.model.lora, rank=32, layers="attention_and_feed_forward")
    tensors = {"dqformer.a": torch.ones(60), "lora.b": torch.ones(30), "lora.c": torch.ones(10)}
    text = model_card(replace(info, model=replace(info.model, lora=lora)), tensors)
    assert "| 100 in 3 tensors (safetensors): dqformer 60 (60%), lora 40 (40%) |" in text
    assert "rank 32 on attention and feed forward of the spatial and temporal blocks" in text
    assert "a folder named `tiny`, hash `" in text
