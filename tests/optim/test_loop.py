"""R2 and R6 of docs/reliability.md, and the parts of the loop."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from parabola import CONFIG, Killed, log_of, network, run, weights
from torch import nn

from aid import optim
from aid.optim import state
from aid.types import Stopped


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


def test_a_folder_is_one_runs_at_a_time(tmp_path):
    """As when a launcher was killed and its processes train on: each would write over the other."""
    config = replace(CONFIG, save_every=1)
    with pytest.raises(Killed):
        run(tmp_path, network(), config, kill_at=2)
    before = (tmp_path / "log.jsonl").read_bytes()
    holder = (
        "import sys, time; from pathlib import Path; from aid.files import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another process is at work in"):
            run(tmp_path, network(), config)
        assert (tmp_path / "log.jsonl").read_bytes() == before
        other.kill()
    run(tmp_path, network(), config)  # the lock went with the process
    assert log_of(tmp_path)[-1]["step"] == config.steps


@pytest.mark.parametrize("forgotten", ["optimizer/exp_avg/", "optimizer/step/", "average/"])
def test_what_a_restore_forgets_would_show(tmp_path, monkeypatch, forgotten):
    """The negative control of the tests above: without one kind of key it is another run."""
    run(tmp_path / "straight")
    with pytest.raises(Killed):
        run(tmp_path / "resumed", kill_at=2)
    restore = state.restore_tensors

    def forgetful(tensors, *rest):
        restore(
            {k: torch.zeros_like(t) if k.startswith(forgotten) else t for k, t in tensors.items()},
            *rest,
        )

    monkeypatch.setattr(state, "restore_tensors", forgetful)
    run(tmp_path / "resumed")
    files = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "resumed")]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_finished_run_is_not_run_again(tmp_path):
    model, again = network(), network()
    run(tmp_path, model)
    run(tmp_path, again, kill_at=0)
    assert torch.equal(weights(model), weights(again))


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


def test_a_difference_may_be_accepted_and_is_remembered(tmp_path):
    run(tmp_path, facts={"seed": 0, "data": "a"})
    longer = replace(CONFIG, steps=6)
    with pytest.raises(ValueError, match=r"made with data = 'a', this run has 'b'.*--accept data"):
        run(tmp_path, config=longer, facts={"seed": 0, "data": "b"})
    run(tmp_path, config=longer, facts={"seed": 0, "data": "b"}, accept=["data"])
    position = state.read_values(tmp_path / "state")["position"]
    assert position["changes"] == [{"step": 4, "name": "data", "was": "a", "now": "b"}]
    assert position["pieces"] == [0, 4]
    run(tmp_path, config=longer, facts={"seed": 0, "data": "b"})


def test_a_state_names_the_code_that_made_it(tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr(optim.loop, "version", lambda name: "0.0.9")
    with pytest.raises(ValueError, match=r"made with aid = '\d.*', this run has '0.0.9'"):
        run(tmp_path)


def test_resuming_cuts_the_log_after_the_saved_step(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    log = optim.JsonLog(path, step=1)
    log.write(2, loss=4)
    assert path.read_text() == '{"step": 1, "loss": 3}\n{"step": 2, "loss": 4}\n'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_finishes_its_step_and_saves(tmp_path, number):
    def ask(step):
        if step == 2:
            os.kill(os.getpid(), number)

    run(tmp_path / "straight", on_check=check)
    handler = signal.getsignal(number)
    with pytest.raises(Stopped, match="stopped after step 3 of 4; the state is saved"):
        run(tmp_path / "stopped", on_step=ask, on_check=check)
    assert signal.getsignal(number) is handler
    assert state.read_values(tmp_path / "stopped/state")["step"] == 3
    run(tmp_path / "stopped", on_check=check)
    files = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert log_of(tmp_path / "straight") == log_of(tmp_path / "stopped")


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def ask(step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_step=ask)
    assert not (tmp_path / "state").exists()


def test_a_loss_that_is_no_number_stops_before_it_harms_the_state(tmp_path):
    model = network()
    run(tmp_path, model)
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    saved = (tmp_path / "state/trainer.safetensors").read_bytes()
    wrong = replace(CONFIG, learning_rate=10.0, steps=12)  # the most that a recipe may ask
    with pytest.raises(FloatingPointError, match=r"the loss of step .* is nan.*Lower"):
        run(tmp_path, network(), wrong, rates=lambda name: math.inf)
    assert (tmp_path / "state/trainer.safetensors").read_bytes() == saved


@pytest.fixture
def with_loss_scale():
    """Makes accelerators as on a GPU with fp16: torch has a loss scaler for the CPU, too."""

    def make():
        made = Accelerator(cpu=True, mixed_precision="fp16")
        made.native_amp = True
        # So high that the first steps overflow, are left out, and halve it.
        made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=3)
        return made

    AcceleratorState._reset_state()
    yield make
    AcceleratorState._reset_state()


def test_what_fp16_learned_of_the_size_of_gradients_is_resumed(tmp_path, with_loss_scale):
    config = replace(CONFIG, steps=16)
    model = network()
    run(tmp_path / "straight", model, config, accelerator=with_loss_scale())
    with pytest.raises(Killed):
        run(tmp_path / "resumed", None, config, kill_at=11, accelerator=with_loss_scale())
    run(tmp_path / "resumed", None, config, accelerator=with_loss_scale())
    folders = [tmp_path / name / "state" for name in ("straight", "resumed")]
    tensors = [folder / "trainer.safetensors" for folder in folders]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()
    scales = [state.read_values(folder)["scaler"] for folder in folders]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] < 2.0**127
    assert not torch.equal(weights(model), weights(network())), "steps that fit were made"
    assert log_of(tmp_path / "straight") == log_of(tmp_path / "resumed")


def test_the_log_has_the_norms_of_each_group(tmp_path):
    model = network()
    run(tmp_path, model, group_of=lambda name: "first" if name.startswith("0.") else "second")
    line = log_of(tmp_path)[-1]
    total = math.hypot(line["grad_norm_first"], line["grad_norm_second"])
    assert total == pytest.approx(line["grad_norm"], rel=1e-3)
    assert line["grad_norm"] > CONFIG.max_grad_norm, "it was scaled down, and is logged unscaled"
    assert line["weight_norm_first"] > 0


def test_parts_of_a_batch_make_the_step_of_the_whole_batch(tmp_path):
    def loss_of(model, indices, step):
        draws = optim.sample_generators(0, step, indices)
        x = torch.stack([torch.randn(3, generator=g) for g in draws])
        return (model(x) - x.square().sum(1, keepdim=True)).square().mean()

    whole, parted = network(), network()
    for model, parts in ((whole, 1), (parted, 4)):
        size = 8 // parts

        def loss(step, part=0, model=model, size=size):
            return loss_of(model, range(part * size, (part + 1) * size), step)

        optim.fit(
            Accelerator(cpu=True), tmp_path / str(parts), dict(model.named_parameters()), loss,
            CONFIG, title="t", parts=parts,
        )  # fmt: skip
    torch.testing.assert_close(weights(whole), weights(parted), rtol=1e-5, atol=1e-6)
    assert not torch.equal(weights(whole), weights(network()))


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


def test_damaged_lines_of_a_log_are_left_out_and_the_file_is_set_aside(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        '{"step": 1, "loss": 3.0}',
        '{"st\x00\x00',
        '{"step": 2, "loss": 2.0}',
        "[]",
        '{"step"',
    ]
    path.write_text("\n".join(lines))
    before = path.read_bytes()
    with pytest.warns(UserWarning, match=r"2 lines of .* kept as 'log.damaged-1.jsonl'"):
        log = optim.JsonLog(path, step=2)
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]
    assert (tmp_path / "log.damaged-1.jsonl").read_bytes() == before
    log.write(3, loss=1.0)
    optim.JsonLog(path, step=3)  # a second time nothing is damaged
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_log_that_is_no_text_is_set_aside(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\x00\n{"step": 2}\n')
    with pytest.warns(UserWarning, match="1 lines of"):
        optim.JsonLog(path, step=2)
    assert [line["step"] for line in log_of(tmp_path)] == [1, 2]


@pytest.mark.parametrize("spoiled", ["weights", "average", "optimizer/exp_avg_sq"])
def test_what_is_not_finite_is_not_saved_over_a_good_state(tmp_path, monkeypatch, spoiled):
    config = replace(CONFIG, save_every=1)
    run(tmp_path / "straight", network(), config)
    collect = optim.loop.state_tensors

    def spoiling(*of):
        made = collect(*of)
        if float(made["optimizer/step/0.weight"]) == 3:
            made[f"{spoiled}/0.weight"].view(-1)[0] = float("nan")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(optim.loop, "state_tensors", spoiling)
        named = spoiled.replace("optimizer/", "optimizer's ")
        with pytest.raises(
            FloatingPointError, match=rf"after step 3 the {named} of group .* finite"
        ):
            run(tmp_path / "spoiled", network(), config)
    assert state.read_values(tmp_path / "spoiled/state")["step"] == 2
    run(tmp_path / "spoiled", network(), config)
    files = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "spoiled")]
    assert files[0].read_bytes() == files[1].read_bytes()
