import json
import math
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from aid import optim
from aid.config import LoopConfig

CONFIG = LoopConfig(
    steps=4,
    batch_size=8,
    learning_rate=0.05,
    warmup_steps=2,
    ema_decay=0.9,
    log_every=1,
    check_every=2,
    save_every=2,
)


class Killed(Exception):
    """Stands for a kill: nothing in the code under test catches it."""


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def run(folder, model, config=CONFIG, kill_at=None, **options):
    """Fits the network to a noisy parabola; raises `Killed` before step `kill_at`."""

    def loss(step):
        if step == kill_at:
            raise Killed
        generator = optim.generator_for(config.seed, step)
        x = torch.randn(config.batch_size, 3, generator=generator)
        return (model(x) - x.square().sum(1, keepdim=True)).square().mean()

    parameters = dict(model.named_parameters())
    return optim.fit(Accelerator(cpu=True), folder, parameters, loss, config, title="t", **options)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def log_of(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def check(step):
    return {"checked": step}


def test_a_killed_and_resumed_run_is_the_same_run_bit_for_bit(tmp_path):
    straight, resumed = network(), network()
    ema = run(tmp_path / "straight", straight, on_check=check)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", resumed, kill_at=3, on_check=check)
    fresh = network()  # as in a new process: nothing survives but the files
    fresh_ema = run(tmp_path / "resumed", fresh, on_check=check)
    assert torch.equal(weights(straight), weights(fresh))
    assert not torch.equal(weights(straight), weights(resumed))
    for name, average in ema.weights.items():
        assert torch.equal(average, fresh_ema.weights[name])
    files = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert log_of(tmp_path / "straight") == log_of(tmp_path / "resumed")


def test_the_log_is_the_same_when_the_kill_falls_between_two_of_its_lines(tmp_path):
    config = replace(CONFIG, log_every=4, save_every=1)
    run(tmp_path / "straight", network(), config)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", network(), config, kill_at=3)
    run(tmp_path / "resumed", network(), config)
    straight, resumed = log_of(tmp_path / "straight"), log_of(tmp_path / "resumed")
    assert [line["step"] for line in straight] == [line["step"] for line in resumed] == [4]
    assert straight == resumed


def test_without_the_optimizer_moments_it_would_be_another_run(tmp_path):
    """The negative control of the test above: a restore that forgets something must show."""
    straight, resumed = network(), network()
    run(tmp_path / "straight", straight)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", network(), kill_at=2)
    file = tmp_path / "resumed/state/trainer.safetensors"
    kept = {k: t for k, t in load_file(file).items() if not k.startswith("optimizer/exp_avg/")}
    zeroed = {k: torch.zeros_like(t) for k, t in load_file(file).items() if k not in kept}
    optim.save_file(kept | zeroed, file)
    run(tmp_path / "resumed", resumed)
    assert not torch.equal(weights(straight), weights(resumed))


def test_a_finished_run_is_not_run_again(tmp_path):
    model, again = network(), network()
    run(tmp_path, model)
    run(tmp_path, again, kill_at=0)
    assert torch.equal(weights(model), weights(again))


@pytest.mark.parametrize("where", ["before the first", "between the two"])
def test_a_kill_while_the_state_is_swapped_loses_nothing(tmp_path, monkeypatch, where):
    straight = network()
    run(tmp_path / "straight", straight)
    with monkeypatch.context() as patch:
        _kill_at_rename(patch, number=1 if where == "before the first" else 2)
        with pytest.raises(Killed):
            run(tmp_path / "killed", network(), replace(CONFIG, save_every=1))
    resumed = network()
    run(tmp_path / "killed", resumed, replace(CONFIG, save_every=1))
    assert torch.equal(weights(straight), weights(resumed))
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {"state", "log.jsonl"}


def _kill_at_rename(patch, number):
    """Kills at the n-th rename of the second save; the first save makes one rename only."""
    rename, count = optim.Path.rename, iter(range(100))

    def killing(self, target):
        if next(count) == number:
            raise Killed
        return rename(self, target)

    patch.setattr(optim.Path, "rename", killing)


def test_a_damaged_state_is_refused_by_name(tmp_path):
    run(tmp_path, network())
    file = tmp_path / "state/trainer.safetensors"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"trainer\.safetensors.*cannot be read"):
        run(tmp_path, network())


def test_a_state_of_another_model_is_refused(tmp_path):
    run(tmp_path, network())
    with pytest.raises(ValueError, match="made by another model: 2 parameters differ"):
        run(tmp_path, nn.Sequential(nn.Linear(3, 1)))


def test_other_facts_are_refused_by_name(tmp_path):
    facts = {"seed": 0, "kernel": [3, 1, 1], "depth": {"heads": 4}}
    run(tmp_path, network(), facts=facts)
    run(tmp_path, network(), facts=facts)
    with pytest.raises(ValueError, match="made with seed = 0, this run has 1"):
        run(tmp_path, network(), facts=facts | {"seed": 1})
    with pytest.raises(ValueError, match="made with depth"):
        run(tmp_path, network(), facts={"seed": 0, "kernel": [3, 1, 1]})


def test_resuming_cuts_the_log_after_the_saved_step(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    log = optim.JsonLog(path, step=1)
    log.write(2, loss=4)
    assert path.read_text() == '{"step": 1, "loss": 3}\n{"step": 2, "loss": 4}\n'


def test_checks_see_the_average_and_training_goes_on_with_the_weights(tmp_path):
    model, seen = network(), []

    def look(step):
        seen.append(weights(model).clone())
        return {}

    ema = run(tmp_path, model, on_check=look)
    average = torch.cat([ema.weights[n].flatten() for n, _ in model.named_parameters()])
    assert len(seen) == 2
    assert torch.equal(seen[-1], average)
    assert not torch.equal(weights(model), average)


def test_the_average_follows_its_formula():
    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    ema = optim.AveragedWeights({"p": p}, decay=0.5)
    p.data += 3
    ema.update({"p": p}, step=0)  # d = min(0.5, 1 / 10)
    assert torch.allclose(ema.weights["p"], 0.1 * torch.tensor([1.0, 2.0]) + 0.9 * p.data)
    before = ema.weights["p"].clone()
    ema.update({"p": p}, step=1000)  # d = 0.5
    assert torch.allclose(ema.weights["p"], 0.5 * before + 0.5 * p.data)


def test_the_rate_rises_then_falls_to_a_fiftieth():
    rate = [optim.rate_factor(step, 100, 10, "cosine") for step in range(101)]
    assert rate[0] == pytest.approx(0.1)
    assert rate[9] == rate[10] == pytest.approx(1)
    assert rate[55] == pytest.approx(0.02 + 0.98 * 0.5)
    assert rate[100] == pytest.approx(0.02)
    assert rate[10:] == sorted(rate[10:], reverse=True)
    assert optim.rate_factor(99, 100, 10, "constant") == 1
    assert optim.rate_factor(0, 100, 0, "constant") == 1


def test_parameters_may_have_rates_of_their_own(tmp_path):
    model, start = network(), network()
    rates = {name: 0.0 if name.startswith("2.") else 0.05 for name, _ in model.named_parameters()}
    run(tmp_path, model, rates=rates.__getitem__)
    assert torch.equal(model[2].weight, start[2].weight)
    assert not torch.equal(model[0].weight, start[0].weight)


def test_randomness_depends_on_seed_step_and_stream_alone():
    def draw(*key):
        return torch.randn(4, generator=optim.generator_for(*key))

    assert torch.equal(draw(1, 2, 3), draw(1, 2, 3))
    others = [draw(0, 2, 3), draw(1, 3, 3), draw(1, 2, 4), draw(1, 2)]
    assert not any(torch.equal(draw(1, 2, 3), other) for other in others)
    assert math.isfinite(float(draw(-1, 0).sum()))
