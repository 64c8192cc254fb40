"""Every command that writes, killed before each of its file operations and then given again.

A few operations of each here; the slow tests do all of them.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import write_tiny_model
from kill_points import Runner, kill_everywhere
from prepared import GREY, make
from short_runs import LOOP
from tabletop.pretrain.conftest import TINY, write_play
from test_score import moving

from aid.ablate.training_videos import decode_pixels
from aid.conditioning.states import choose_state_writer
from aid.config import to_json
from aid.data.manifest import read_manifest, write_manifest
from aid.tabletop.r3d import R3D, R3DConfig, save_r3d
from aid.video import write_mp4

METHODS = Path(__file__).with_name("own_methods.py")
SETUP = "from aid.prepare import cache_folder, run; cache_folder.SHARD = run.SHARD = 2"


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    made = Runner(tmp_path_factory.mktemp("said"), SETUP)
    yield made
    made.close()


@pytest.fixture
def template(tiny_manifest, tmp_path):
    """A folder with the tiny manifest in its folder `data`."""
    shutil.copytree(tiny_manifest, tmp_path / "template/data")
    return tmp_path / "template"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def prepare(template, root, backbone, **_):
    return [
        "prepare", "--data", root / "data", "--out", root / "out", "--backbone", backbone,
        "--model.num_frames", "3",
    ]  # fmt: skip


def states(template, root, **_):
    rows = [
        replace(row, states=[], world={"seen": ["first", "second"]})
        for row in read_manifest(template / "data")
    ]
    write_manifest(template / "data", rows)
    return [
        "data",
        "states",
        "--data",
        root / "data",
        "--writer",
        "column:seen",
        "--into_manifest",
        "true",
    ]


def score(template, root, **_):
    for name, step in (("real", 6), ("made", 5)):
        (template / name).mkdir()
        for number in range(6):
            write_mp4(template / name / f"{number}.mp4", moving(number, step), 4.0, lossless=True)
    save_r3d(template / "r3d", R3D(R3DConfig(widths=(8, 8, 8), dim=6)), 1.0, {})
    return [
        "score", root / "real", root / "made", "--out", root / "out", "--extractor",
        "tabletop-r3d", "--weights", root / "r3d", "--num_frames", "6", "--resamples", "4",
    ]  # fmt: skip


def train(template, root, backbone, config, **_):
    make(template / "data", template / "cache", backbone, GREY)
    few = choose_state_writer("replay", read_manifest(template / "data")[:2])
    make(template / "data", template / "held_out", backbone, GREY, states=few, limit=2)
    recipe = {
        "model": to_json(config),
        "train": to_json(replace(LOOP, steps=2)),
        "sampler": {"num_steps": 2, "sigma_max": 20.0, "text_guidance": 2.0},
    }
    (template / "recipe.yaml").write_text(json.dumps(recipe))
    return [
        "train", "--config", root / "recipe.yaml", "--cache", root / "cache", "--held_out",
        root / "held_out", "--backbone", backbone, "--out", root / "run", "--device", "cpu",
    ]  # fmt: skip


def evaluate(template, root, backbone, config, **_):
    rows = read_manifest(template / "data")[:4]
    write_manifest(template / "data", rows)
    write_tiny_model(template / "aid", backbone, config)
    return [
        "evaluate", "--data", root / "data", "--out", root / "out", "--model", root / "aid",
        "--backbone", backbone, "--num_steps", "1", "--limit", "4", "--num_videos", "2", "--empty",
        "true", "--batch_size", "1", "--states_from", "none", "--extractor", "none",
    ]  # fmt: skip


def tabletop(template, root, **_):
    return [
        "tabletop", "make", "--out", root / "made", "--scenes.combos", "2", "--num_workers", "1",
        "--num_frames", "2",
    ]  # fmt: skip


def pretrain(template, root, **_):
    shutil.rmtree(template / "data")
    write_play(template / "data")
    (template / "recipe.yaml").write_text(json.dumps({"pretrain": to_json(TINY)}))
    return [
        "tabletop", "pretrain", "--config", root / "recipe.yaml", "--data", root / "data",
        "--out", root / "backbone",
    ]  # fmt: skip


def ablate(template, root, backbone, config, runner):
    weights = template / "r3d"
    shutil.rmtree(template / "data")
    made = [
        "tabletop",
        "make",
        "--out",
        template / "data",
        "--scenes.train",
        "1",
        "--scenes.forks",
        "2",
    ]
    made += ["--num_workers", "1", "--num_frames", "3"]
    code, _, said = runner.run(made, template)
    assert code == 0, said
    save_r3d(weights, R3D(R3DConfig(widths=(8, 8, 8), dim=6)), 1.0, {})
    recipe = {
        "model": to_json(config),
        "train": to_json(replace(LOOP, steps=1)),
        "sampler": {"num_steps": 1, "sigma_max": 20.0, "text_guidance": 2.0},
    }
    (template / "recipes").mkdir()
    (template / "recipes/aid.yaml").write_text(json.dumps(recipe))
    (template / "recipes/conditions_full.yaml").write_text("{}")
    return [
        "ablate", "--data", root / "data", "--out", root / "out", "--backbone", backbone,
        "--recipe", root / "recipes/aid.yaml", "--recipes", root / "recipes", "--rows",
        '["conditions_full"]', "--split", "forks", "--steps", "1", "--limit", "4", "--seeds", "1",
        "--weights", root / "r3d", "--device", "cpu",
    ]  # fmt: skip


def method(template, root, backbone, **_):
    cache = make(template / "data", template / "cache", backbone, GREY)
    decode_pixels(cache, template / "data")
    (template / "recipe.yaml").write_text(
        json.dumps({"train": to_json(replace(LOOP, steps=2, save_every=1))})
    )
    return [
        "train", "--config", root / "recipe.yaml", "--cache", root / "cache", "--method",
        f"{METHODS}:Linear", "--out", root / "run", "--device", "cpu",
    ]  # fmt: skip


def compare(template, root, backbone, config, **_):
    recipe = {"model": to_json(config), "train": to_json(replace(LOOP, steps=1))}
    (template / "recipes").mkdir()
    (template / "recipes/aid.yaml").write_text(json.dumps(recipe))
    return [
        "ablate", "--data", root / "data", "--hold_out", "0.4", "--out", root / "out", "--backbone",
        backbone, "--recipe", root / "recipes/aid.yaml", "--recipes", root / "recipes", "--rows",
        f"{METHODS}:Linear", "baselines", "--budget_flops", "1e7", "--seeds", "1", "--device",
        "cpu",
    ]  # fmt: skip


TIMES = ("log.jsonl", "trainer.json", "report.html", "speed.jsonl")
"""Files that differ between equal runs, by their times."""
MEASURED = ("*-????????????.jsonl", "*.pairs.jsonl", "*.words.jsonl")
"""Likewise: what was measured of videos that the command itself wrote, by the time of each."""
OF_ABLATE = (*MEASURED, "*.log", "costs.md")
MORE_TIMES = {evaluate: MEASURED, ablate: OF_ABLATE, compare: OF_ABLATE}
REFUSALS = {states: "has states of its own"}
COMMANDS = [
    prepare,
    states,
    score,
    train,
    evaluate,
    pytest.param(tabletop, marks=pytest.mark.gl),
    pretrain,
    method,
    compare,
    pytest.param(ablate, marks=pytest.mark.gl),
]


def kill(command, runner, template, root, backbone, config, sample):
    arguments = command(
        template=template, root=root, backbone=backbone, config=config, runner=runner
    )
    refusal = REFUSALS.get(command)
    skip = (*TIMES, *MORE_TIMES.get(command, ()))
    return kill_everywhere(runner, arguments, template, root, sample, skip, refusal)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_and_given_again_ends_as_if_nothing_had_been(
    command, runner, template, root, tiny_backbone, tiny_config
):
    _, kills = kill(command, runner, template, root, tiny_backbone, tiny_config, sample=3)
    assert kills == 3


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_likewise_at_every_file_operation(
    command, runner, template, root, tiny_backbone, tiny_config, capsys
):
    operations, kills = kill(
        command, runner, template, root, tiny_backbone, tiny_config, sample=None
    )
    with capsys.disabled():
        print(f"\n{command.__name__}: {kills} kills, one before each file operation")
    assert kills == operations
