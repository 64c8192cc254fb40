"""AdamW with moments in 8 bits: it learns, and resumes as exactly as the other one."""

import sys
from dataclasses import replace

import pytest
import torch
from parabola import CONFIG, Killed, log_of, run, weights
from safetensors import safe_open
from torch import nn

from aid.optim.optimizer import make_optimizer, moments_bytes

EIGHT = replace(CONFIG, optimizer="adamw_8bit", learning_rate=0.01)
LONGER = replace(
    EIGHT, steps=100, batch_size=64, schedule="constant", log_every=20, save_every=100,
    check_every=100,
)  # fmt: skip


def wide():
    """One matrix that is large enough for 8 bits, and small tensors that are not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 65), nn.Linear(65, 1))


def test_it_learns_about_as_well_as_with_moments_in_float32(tmp_path):
    pytest.importorskip("bitsandbytes")
    last = {}
    for name in ("adamw", "adamw_8bit"):
        config = replace(LONGER, optimizer=name)
        run(tmp_path / name, wide(), config)
        losses = [line["loss"] for line in log_of(tmp_path / name) if "loss" in line]
        assert losses[-1] < 0.5 * losses[0]
        last[name] = losses[-1]
    assert last["adamw_8bit"] == pytest.approx(last["adamw"], rel=0.3)


def test_a_killed_and_resumed_run_is_the_same_run_bit_for_bit(tmp_path):
    pytest.importorskip("bitsandbytes")
    config = replace(EIGHT, steps=6)
    straight = wide()
    run(tmp_path / "straight", straight, config)
    with pytest.raises(Killed):
        run(tmp_path / "resumed", wide(), config, kill_at=3)
    fresh = wide()
    run(tmp_path / "resumed", fresh, config)
    assert torch.equal(weights(straight), weights(fresh))
    files = [tmp_path / name / "state/trainer.safetensors" for name in ("straight", "resumed")]
    assert files[0].read_bytes() == files[1].read_bytes()
    with safe_open(files[0], framework="pt") as opened:
        moment = opened.get_tensor("optimizer/state1/2.weight")
        assert moment.dtype == torch.uint8 and moment.shape == (65, 64)
        assert len(moment.unique()) > 50, "they hold something"


def test_the_forecast_counts_what_the_optimizer_holds():
    pytest.importorskip("bitsandbytes")
    model = wide()
    for name in ("adamw", "adamw_8bit"):
        optimizer = make_optimizer(
            dict(model.named_parameters()), replace(EIGHT, optimizer=name), None
        )
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        held = 0
        for state in optimizer.state.values():
            tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
            held += sum(t.numel() * t.element_size() for t in tensors if t.ndim)
        assert moments_bytes(model.parameters(), name) == held


def test_without_bitsandbytes_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match=r"pip install 'aid-video\[eight-bit\]'"):
        make_optimizer(dict(wide().named_parameters()), EIGHT, None)
