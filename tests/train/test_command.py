"""`aid train` as people run it, in processes of its own: ended again and again, and compiled."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from short_runs import LOOP, log_of

from aid.config import to_json

PIECES = Path(__file__).parents[2] / "benchmarks/pieces.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def flags(cache, tiny_backbone, tiny_config, tmp_path):
    """Of a run of 40 steps; later ones have the last word."""
    recipe = {
        "model": to_json(tiny_config),
        "train": to_json(replace(LOOP, steps=40, log_every=2, check_every=20, save_every=3)),
        "sampler": {"num_steps": 2, "sigma_max": 20.0, "text_guidance": 2.0},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return ["--config", tmp_path / "recipe.yaml", "--backbone", tiny_backbone,
            "--cache", cache, "--held_out", cache]  # fmt: skip


def run(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def test_a_run_in_pieces_is_the_run_in_one_piece(flags, tmp_path):
    said = run(PIECES, "--out", tmp_path / "runs", "--pieces", "6", "--steps", "4", "--", *flags)
    assert "seams: none" in said
    begun = json.loads(re.search(r"begun at steps (\[.*?\])", said).group(1))
    assert len(begun) > 3 and begun[-1] > 0, "it was ended in the middle, several times"


def test_a_compiled_unet_learns_the_same(flags, tmp_path):
    short = ["--train.steps", 4, "--train.check_every", 4]
    for name, compiled in (("plain", "false"), ("compiled", "true")):
        out = tmp_path / name
        run("-m", "aid.cli", "train", *flags, *short, "--train.use_compile", compiled, "--out", out)
    names = [
        load_file(tmp_path / name / "checkpoint/trained.safetensors").keys()
        for name in ("plain", "compiled")
    ]
    assert names[0] == names[1]
    for one, other in zip(*(log_of(tmp_path / n) for n in ("plain", "compiled")), strict=True):
        for name in {"loss", "grad_norm", "true_1.5", "swap_gap_4", "motion_ratio"} & one.keys():
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-4)
