import sys

import pytest
import torch
from memory_use import begin_anew, resident

import aid.optim.state
from aid.optim.state import PORTION, save_state, size_of


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_reading_a_state_back_does_not_take_the_memory_of_a_second_one(tmp_path):
    tensors = {f"weights/{number}": torch.full((2**22,), number * 1.0) for number in range(20)}
    before = begin_anew()
    save_state(tmp_path / "state", tensors, {"step": 1})
    assert resident("VmHWM") - before < 2 * PORTION < size_of(tensors.values()) / 2


@pytest.mark.parametrize(("count", "openings"), [(1, 1), (4, 2), (5, 3)])
def test_a_state_is_not_opened_again_once_all_of_it_was_read(
    count, openings, tmp_path, monkeypatch
):
    opened, safe_open = [], aid.optim.state.safe_open
    monkeypatch.setattr(
        aid.optim.state, "safe_open", lambda *a, **k: opened.append(a) or safe_open(*a, **k)
    )
    monkeypatch.setattr(aid.optim.state, "PORTION", 8)
    tensors = {f"weights/{number}": torch.zeros(1) for number in range(count)}
    save_state(tmp_path / "state", tensors, {"step": 1})
    assert len(opened) == openings
