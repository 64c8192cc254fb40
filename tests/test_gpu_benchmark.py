"""benchmarks/gpu.py at toy size on the CPU: the same code as on a GPU."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/gpu.py"))


def test_the_benchmark_of_a_gpu_runs_at_toy_size_and_writes_every_figure(tmp_path):
    out = tmp_path / "gpu.json"
    flags = ["--tiny", "--device", "cpu", "--precision", "float32", "--out", str(out)]
    SCRIPT["main"](flags)
    told = json.loads(out.read_text())
    assert told["parity"]["is_equal"]
    assert told["parity"]["float32"]["standard_deviation"] > 5, "not one colour"
    for part, ways in {
        "prepare": ("aid", "plain loop"),
        "train": ("aid", "encoding every step"),
        "predict": ("aid", "stock"),
    }.items():
        for way in ways:
            assert told[part][way]["seconds"] > 0
            assert part == "prepare" or told[part][way]["step_seconds"] > 0


def test_parts_for_which_no_time_is_left_are_named(tmp_path):
    out = tmp_path / "gpu.json"
    SCRIPT["main"](["--tiny", "--device", "cpu", "--budget", "-1", "--out", str(out)])
    assert "s were spent" in json.loads(out.read_text())["train"]["left_out"]


def test_a_missing_device_is_refused_before_anything_is_built(tmp_path):
    with pytest.raises(ValueError, match="device 'cuda:99' is not on this machine"):
        SCRIPT["main"](["--device", "cuda:99", "--out", str(tmp_path / "gpu.json")])
    assert not list(tmp_path.iterdir())
