"""The chain of commands that makes the table-top's model: resumed, refused, real commands."""

import functools
import json
import shutil
from pathlib import Path

import pytest

import aid.cli
from aid.tabletop import build as module
from aid.tabletop.build import build, stages

RECIPES = Path(__file__).parents[2] / "configs/tabletop"


@pytest.fixture
def carried_out(monkeypatch):
    """The names of the stages that are carried out, in place of doing them."""
    names = []
    monkeypatch.setattr(module, "_carry_out", lambda stage, log: names.append(stage.name))
    return names


def test_every_stage_is_a_command_that_the_command_line_accepts(tmp_path, monkeypatch, capsys):
    given = []
    for name, command in list(aid.cli.COMMANDS.items()):

        @functools.wraps(command)
        def instead(name: str = name, **values: object) -> None:
            given.append(name)

        monkeypatch.setitem(aid.cli.COMMANDS, name, instead)
    planned = stages(tmp_path, RECIPES, 3, 0.01, "bfloat16", "cpu")
    for stage in planned:
        assert aid.cli.main(list(stage.arguments)) == 0, capsys.readouterr().err
    assert len(given) == len(planned)
    assert {"tabletop make", "data join", "tabletop pretrain", "train", "evaluate"} < {*given}


def test_the_share_shortens_scenes_and_steps_and_the_seed_reaches_every_training(tmp_path):
    whole, part = (
        {s.name: s.command for s in stages(tmp_path, RECIPES, 5, share, "float32", None)}
        for share in (1.0, 0.1)
    )
    assert "--scenes.play 2200" in whole["make_worlds"]
    assert "--scenes.play 220" in part["make_worlds"]
    assert "--train.steps 1200" in whole["train_coarse"]
    assert "--train.steps 120" in part["train_coarse"]
    for name in ("make_worlds", "make_tabletop", "train_coarse", "train"):
        assert "seed 5" in whole[name]
    assert whole["pretrain"].count("seed 5") == 5  # every loop


def test_stages_that_are_done_are_left_out_when_the_command_is_given_again(tmp_path, carried_out):
    done = build(tmp_path, RECIPES, until="pretrain")
    assert carried_out == ["make_worlds", "join_worlds", "pretrain"]
    assert [row["name"] for row in done] == carried_out
    build(tmp_path, RECIPES)
    assert carried_out[3] == "make_tabletop"
    assert len(carried_out) == len(set(carried_out)) == 10
    assert json.loads((tmp_path / "build.json").read_text())[9]["name"] == "evaluate"


def test_a_folder_is_for_one_build(tmp_path, carried_out):
    build(tmp_path, RECIPES, until="make_worlds")
    with pytest.raises(ValueError, match=r"stage 'make_worlds' was .*--seed 0.*now .*--seed 1"):
        build(tmp_path, RECIPES, seed=1)


def test_a_stage_that_fails_is_named_with_its_log_and_carried_out_again(tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(RuntimeError, match=r"'make_worlds' ended with .*make_worlds\.log"):
        build(tmp_path, RECIPES, share=0.01)
    assert not (tmp_path / "build.json").exists()


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share, tmp_path):
    with pytest.raises(ValueError, match=rf"share must be above 0 .* got {share}"):
        build(tmp_path / "out", RECIPES, share=share)
    assert not (tmp_path / "out").exists()


def test_an_unknown_last_stage_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"stage 'unet' is unknown\. Stages: make_worlds"):
        build(tmp_path / "out", RECIPES, until="unet")


@pytest.mark.parametrize(
    ("recipe", "text", "words"),
    [
        ("aid.yaml", "train: {steps: 4}\ntrian: {steps: 4}", "trian"),
        ("aid.yaml", "train: {steps: 4, batch: 2}", "batch"),
        ("aid.yaml", "train: {steps: 4}\nmodel: {num_frames: 0}", "num_frames"),
        ("aid.yaml", "trian: {}", "aid.yaml' does not say train.steps, a number"),
        ("aid_coarse.yaml", "train: [4", "aid_coarse.yaml' does not say train.steps, a number"),
        ("backbone.yaml", "pretrain: 5", "backbone.yaml' does not say pretrain.autoencoder_loop"),
    ],
)
def test_a_recipe_of_a_late_stage_is_refused_before_the_first(
    recipe, text, words, tmp_path, capsys, carried_out
):
    shutil.copytree(RECIPES, tmp_path / "recipes")
    (tmp_path / "recipes" / recipe).write_text(text)
    command = ["tabletop", "build", "--out", str(tmp_path / "out")]
    try:
        code = aid.cli.main([*command, "--recipes", str(tmp_path / "recipes")])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    assert code == 2 and words in said and said.count("\n") == 1
    assert not carried_out and not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", [-1, 10**30])
def test_a_seed_that_no_stage_could_use_is_refused(seed, tmp_path):
    with pytest.raises(ValueError, match=rf"seed must .* got {seed}"):
        build(tmp_path / "out", RECIPES, seed=seed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"name": "mine"}'])
def test_a_folder_of_another_thing_is_refused(text, tmp_path, carried_out):
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(ValueError, match=r"is not of a build or damaged. Choose another --out"):
        build(tmp_path, RECIPES)
    assert (tmp_path / "build.json").read_text() == text and not carried_out
