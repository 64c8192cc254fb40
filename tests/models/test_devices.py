import pytest
import torch

from aid.models.devices import choose_device, dtype_of


def pretend(monkeypatch, kind, number):
    """Has torch report `number` accelerators of a kind."""
    found = torch.device(kind) if number else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: number)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_without_a_choice_the_accelerator_is_taken_and_else_the_cpu(monkeypatch, kind):
    pretend(monkeypatch, kind, 1)
    assert choose_device(None) == choose_device(kind) == torch.device(kind)
    assert choose_device("cpu") == torch.device("cpu")
    pretend(monkeypatch, kind, 0)
    assert choose_device(None) == torch.device("cpu")


@pytest.mark.parametrize(
    "asked", ["cuda", "cuda:7", "mps", "xpu", "gpu", "tpu", "meta", "cpu:1", "cuda:-1", "CUDA", ""]
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch, asked):
    pretend(monkeypatch, "cuda", 0)
    with pytest.raises(ValueError, match=f"device '{asked}' is not on this machine. Use 'cpu': Py"):
        choose_device(asked)


def test_a_number_beyond_the_last_device_is_refused(monkeypatch):
    pretend(monkeypatch, "cuda", 2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"'cuda:2' is not .* Use 'cpu', 'cuda' or one of"):
        choose_device("cuda:2")
    with pytest.raises(ValueError, match="device 'mps' is not on this machine"):
        choose_device("mps")


def test_each_process_of_a_launcher_takes_a_device_of_its_own(monkeypatch):
    pretend(monkeypatch, "cuda", 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(None) == choose_device("cuda") == torch.device("cuda:1")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="device 'cuda:2' is not on this machine"):
        choose_device(None)


def test_a_precision_is_one_of_three():
    assert dtype_of("bfloat16") is torch.bfloat16
    with pytest.raises(
        ValueError, match="precision must be one of float32, bfloat16, float16, got"
    ):
        dtype_of("int8")
