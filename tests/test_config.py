import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import yaml

import aid.config
from aid.config import (
    ConditionConfig,
    LoopConfig,
    ModelConfig,
    SamplerConfig,
    TrainConfig,
    from_json,
    to_json,
)
from aid.models.backbone import load_backbone
from aid.models.denoiser import Denoiser
from aid.tabletop.pretrain.config import PretrainConfig

RECIPES = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))
RECIPES = [path for path in RECIPES if path.parent.name != "accelerate"]  # those are not ours
ABLATIONS = [path for path in RECIPES if path.parent.name == "ablations"]
ROOMS = {
    "model": ModelConfig,
    "train": TrainConfig,
    "sampler": SamplerConfig,
    "pretrain": PretrainConfig,
}
CLASSES = [getattr(aid.config, name) for name in aid.config.__all__ if name.endswith("Config")]


def merged(base, changes):
    """A nested dict with some of its leaves changed, as two --config options are read."""
    return base | {
        key: merged(base.get(key, {}), value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(path):
    values = yaml.safe_load(path.read_text())
    for room in ROOMS.keys() & values.keys():
        from_json(ROOMS[room], values[room])
    assert values.keys() & ROOMS.keys()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_opens_with_its_command_hardware_time_and_result(path):
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    for word in ("COMMAND", "HARDWARE", "TIME", "RESULT"):
        assert any(line.startswith(f"# {word}") for line in head), f"{path.name} lacks {word}"


def test_the_ablations_are_the_papers_eleven_rows():
    names = {path.stem for path in ABLATIONS}
    conditions = {"none", "multimodal", "decomposed", "no_states", "full"}
    adapters = {"none", "no_spatial", "no_temporal", "no_short_term", "no_long_term", "full"}
    wanted = {f"conditions_{n}" for n in conditions} | {f"adapters_{n}" for n in adapters}
    assert names == wanted
    assert len(ABLATIONS) == 11


def ablated(tiny_config, path):
    changes = yaml.safe_load(path.read_text())
    assert changes.keys() == {"model"}, "an ablation changes the model's switches and nothing else"
    for room, values in changes["model"].items():
        tiny_config = replace(tiny_config, **{room: replace(getattr(tiny_config, room), **values)})
    return tiny_config


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_every_ablation_builds_and_has_only_its_parts(path, tiny_backbone, tiny_config):
    config = ablated(tiny_config, path)
    unet = load_backbone(tiny_backbone, ["unet"]).part("unet")
    denoiser = Denoiser(unet, 16, 24, config)
    names = {name.split(".")[0] for name, _ in denoiser.trained.named_parameters()}
    assert ("dqformer" in names) == (config.dqformer.branches != "none")
    adapters = denoiser.trained["adapters"]
    for kind in ("spatial", "short_term", "long_term"):
        assert bool(len(adapters[kind])) == getattr(config.adapter, f"use_{kind}")
    if "dqformer" in names:
        dqformer = denoiser.trained["dqformer"]
        assert (dqformer.multimodal is not None) == (config.dqformer.branches != "decomposed")
        assert (dqformer.decomposed is not None) == (config.dqformer.branches != "multimodal")
        reads = {n for n, _ in dqformer.named_parameters() if "states_attention" in n}
        wanted = config.dqformer.use_states and dqformer.decomposed is not None
        assert bool(reads) == wanted


def test_the_rows_differ_from_each_other_but_for_the_full_model_which_is_in_both_tables():
    base = ModelConfig()
    made = {path.stem: ablated(base, path) for path in ABLATIONS}
    assert made["adapters_full"] == made["conditions_full"] == base
    assert len(set(made.values())) == 10


def test_an_ablation_on_top_of_the_recipe_changes_its_switch_only():
    recipe = Path(__file__).parents[1] / "configs/tabletop/aid.yaml"
    base = yaml.safe_load(recipe.read_text())
    for path in ABLATIONS:
        changes = yaml.safe_load(path.read_text())
        both = from_json(ModelConfig, merged(base, changes)["model"])
        own = from_json(ModelConfig, base["model"])
        for room, values in changes["model"].items():
            assert replace(getattr(own, room), **values) == getattr(both, room)
            own = replace(own, **{room: getattr(both, room)})
        assert own == both


def test_configs_survive_json():
    config = replace(ModelConfig(), num_frames=12)
    assert from_json(ModelConfig, to_json(config)) == config
    assert from_json(PretrainConfig, to_json(PretrainConfig())) == PretrainConfig()


def test_json_values_are_plain():
    """Tuples would not be equal to what comes back from a file."""
    values = to_json(ModelConfig())
    assert json.loads(json.dumps(values)) == values
    assert json.loads(json.dumps(to_json(SamplerConfig()))) == to_json(SamplerConfig())


def test_an_unknown_setting_is_refused_by_name_with_the_known_ones():
    with pytest.raises(ValueError, match=r"ConditionConfig has no setting 'num_frames'.*null_text"):
        from_json(ModelConfig, {"condition": {"num_frames": 3}})
    with pytest.raises(ValueError, match="'adaptor'"):
        from_json(ModelConfig, {"adaptor": {}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplerConfig(num_steps=0), "num_steps must be at least 1, got 0"),
        (lambda: SamplerConfig(sigma_min=2.0, sigma_max=1.0), "got 2.0 and 1.0"),
        (lambda: SamplerConfig(sigma_min=0.0), "0 < min < max"),
        (lambda: SamplerConfig(guidance_interval=(20.0, 2.0)), "got 20 and 2. Guidance at all"),
        (lambda: LoopConfig(steps=0), "steps must be at least 1, got 0"),
        (lambda: TrainConfig(batch_size=0), "batch_size must be at least 1"),
        (lambda: TrainConfig(huber_scale=-0.5), r"huber_scale must be from 0 to 1000000, got -0.5"),
        (lambda: TrainConfig(huber_scale=float("nan")), r"huber_scale .* got nan"),
        (lambda: TrainConfig(huber_scale=float("inf")), r"huber_scale .* got inf"),
        (lambda: LoopConfig(save_every=-1), "save_every"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_before_anything_loads(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_setting_is_frozen_has_a_default_and_says_what_it_is(cls):
    assert is_dataclass(cls)
    assert cls() == cls()
    with pytest.raises(AttributeError):
        setattr(cls(), fields(cls)[0].name, None)
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "the docstring is the generated one"


def test_the_papers_facts_are_the_defaults():
    """What is known of the paper (docs/paper_map.md) needs no setting."""
    assert ModelConfig().dqformer.branches == "both"
    assert ModelConfig().dqformer.use_states
    adapter = ModelConfig().adapter
    assert adapter.use_spatial and adapter.use_short_term and adapter.use_long_term
    assert ConditionConfig().frame_condition == "grey_pixels"
