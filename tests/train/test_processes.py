"""Several processes train what one does (R2 of docs/reliability.md), with real processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from short_runs import LOOP as SHORT
from short_runs import SAMPLER, log_of

from aid.config import to_json
from aid.train import train

LOOP = replace(SHORT, steps=3, batch_size=4, learning_rate=1e-3, check_every=3, save_every=3)


def assert_alike(folder, other):
    """The same run, up to the order in which numbers are added."""
    one, two = (load_file(f / "state/trainer.safetensors") for f in (folder, other))
    assert one.keys() == two.keys()
    # The gradients, as the first moment remembers them. Weights are no measure: where a gradient is
    # 0 up to rounding (a bias before a norm) AdamW makes a step of full size of the rounding.
    names = [name for name in one if name.startswith("optimizer/exp_avg/")]
    apart = torch.cat([(one[name] - two[name]).flatten() for name in names]).norm()
    assert apart < 1e-4 * torch.cat([one[name].flatten() for name in names]).norm()
    for line, line2 in zip(log_of(folder), log_of(other), strict=True):
        assert line.keys() == line2.keys()
        names = {"loss", "true_1.5", "true_12", "swap_gap_4", "motion_ratio"} & line.keys()
        for name in names:
            assert line[name] == pytest.approx(line2[name], rel=1e-4, abs=2e-5)


@pytest.fixture(scope="module")
def whole(cache, tiny_backbone, tiny_config, tmp_path_factory):
    """One process, eight videos a step."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    loop = replace(LOOP, batch_size=8)
    train(cache, out, tiny_backbone, model=tiny_config, train=loop, sampler=SAMPLER, held_out=cache)
    return out, tiny_config


def test_two_parts_of_four_are_one_of_eight(whole, cache, tiny_backbone, tmp_path):
    out, model = whole
    loop = replace(LOOP, accumulate=2)
    train(
        cache, tmp_path / "parts", tiny_backbone, model=model, train=loop, sampler=SAMPLER,
        held_out=cache,
    )  # fmt: skip
    assert_alike(out, tmp_path / "parts")


@pytest.mark.parametrize("spread_frozen", [False, True], ids=["whole", "frozen weights spread"])
def test_two_processes_of_four_are_one_of_eight(
    whole, cache, tiny_backbone, tmp_path, spread_frozen
):
    """DDP over gloo; the checks are shared out too, and a hang would be a timeout."""
    out, model = whole
    loop = replace(LOOP, spread_frozen=spread_frozen)
    settings = {"model": to_json(model), "train": to_json(loop), "sampler": to_json(SAMPLER)}
    text = json.dumps(settings).replace("Infinity", "1e999")
    child = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            child, cache, tiny_backbone, tmp_path / "two", text,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "two/run.json").read_text())
    assert record["processes"] == 2
    assert record["frozen_share"] == (pytest.approx(0.5, abs=0.02) if spread_frozen else 1)
    assert_alike(out, tmp_path / "two")
    assert (tmp_path / "two/sheet-000003.png").is_file()
    # The whole batch is the same, so one process may go on where two stopped; else it may not.
    train(
        cache, tmp_path / "two", tiny_backbone, model=model, train=replace(LOOP, batch_size=8),
        sampler=SAMPLER,
    )  # fmt: skip
    with pytest.raises(ValueError, match="made with whole_batch = 8, this run has 4"):
        train(cache, tmp_path / "two", tiny_backbone, model=model, train=LOOP, sampler=SAMPLER)
