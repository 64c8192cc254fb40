import pytest
import torch

from aid.optim import make_accelerator


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_one_process_may_choose_its_precision_anew(precision, dtype):
    accelerator = make_accelerator("cpu", precision)
    assert accelerator.device == torch.device("cpu")
    with accelerator.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
    model = accelerator.prepare(torch.nn.Linear(2, 2))
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_float16_on_a_cpu_is_refused_instead_of_float32_taken():
    with pytest.raises(ValueError, match=r"'float16' trains on a GPU only.* Use 'bfloat16' or"):
        make_accelerator("cpu", "float16")


def test_an_unknown_precision_and_a_missing_device_are_refused():
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, float16"):
        make_accelerator("cpu", "fp16")
    with pytest.raises(ValueError, match="device 'tpu' is not on this machine"):
        make_accelerator("tpu")


def test_one_numbered_device_for_several_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="'cuda:1' is one device for 2 processes"):
        make_accelerator("cuda:1")


def test_a_cpu_that_the_launcher_asks_for_is_taken(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert make_accelerator().device == torch.device("cpu")
