"""A run that is ended again and again leaves one log, shown by the program that shows it."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from short_runs import LOOP

from aid.config import to_json

PROGRAM = Path(__file__).parents[2] / "benchmarks/pieces.py"


@pytest.mark.slow
def test_a_run_in_pieces_is_the_run_in_one_piece(cache, tiny_backbone, tiny_config, tmp_path):
    loop = replace(LOOP, steps=40, log_every=2, check_every=20, save_every=3)
    recipe = {
        "model": to_json(tiny_config),
        "train": to_json(loop),
        "sampler": {"num_steps": 2, "sigma_max": 20.0, "text_guidance": 2.0},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    flags = ["--config", tmp_path / "recipe.yaml", "--backbone", tiny_backbone]
    flags += ["--cache", cache, "--held_out", cache]
    done = subprocess.run(
        [sys.executable, PROGRAM, "--out", tmp_path / "runs", "--pieces", "6", "--steps", "4", "--",
         *flags],
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "seams: none" in done.stdout
    begun = json.loads(re.search(r"begun at steps (\[.*?\])", done.stdout).group(1))
    assert len(begun) > 3 and begun[-1] > 0, "it was ended in the middle, several times"
