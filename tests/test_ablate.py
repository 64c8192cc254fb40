import json
import os
import sys
from pathlib import Path

import pytest

from aid.ablate import ablate
from aid.ablate import run as run_module
from aid.ablate.rows import ROWS, choose_rows, plan
from aid.ablate.run import Budget

RECIPES = Path(__file__).parents[1] / "configs/tabletop"
BASE = RECIPES / "aid.yaml"

# Stands for `python -m aid.cli`: notes what it was told and writes what the command would.
FAKE = """
import json, os, sys
from pathlib import Path
command, *flags = sys.argv[3:] if sys.argv[1] == "-m" else sys.argv[1:]
value = lambda name: flags[flags.index(name) + 1]
told = [flag for name, flag in zip(flags, flags[1:]) if name == "--config"]
out = Path(value("--out"))
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([command, *flags]) + "\\n")
if command == "train":
    recipe = Path(told[1]).stem
    if recipe == os.environ.get("BREAK"):
        sys.exit("error: out of memory")
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint/recipe").write_text(recipe + " " + value("--train.seed"))
if command == "evaluate":
    recipe, seed = (Path(value("--model")) / "recipe").read_text().split()
    distance = float(len(recipe) + int(seed))
    out.mkdir()
    number = {"value": distance}
    (out / "report.json").write_text(json.dumps({
        "scores": {"the instruction": {"accuracy": 0.5, "num_videos": 8}},
        "comparison": {"extractor": {"extractor": "tabletop-r3d"}, "likeness": {
            "the instruction": {"frechet": number, "kvd": number}}}}))
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A data set's folders, and processes that pretend to be `aid`; returns a call of `ablate`."""
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "manifest.jsonl").touch()
    fake = tmp_path / "fake.py"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(run_module.sys, "executable", str(wrapper))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def call(**settings):
        known = {"budget": Budget(steps=5, limit=8, precision="bfloat16")}
        return ablate(
            tmp_path / "data", tmp_path / "out", "tabletop", BASE, RECIPES / "ablations",
            **known | settings,
        )  # fmt: skip

    def calls():
        return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return call, calls, tmp_path / "out"


def test_the_eleven_rows_have_recipes_and_the_two_full_models_share_their_runs():
    planned = plan(choose_rows(None), BASE, RECIPES / "ablations", 2)
    assert len(planned) == 11 and {row.table for row in planned} == {"conditions", "adapters"}
    assert {p.stem for p in (RECIPES / "ablations").glob("*.yaml")} == {r.recipe for r in ROWS}
    runs = {run.name for row in planned.values() for run in row}
    assert len(runs) == 20
    full = {row.recipe: row for row in ROWS}
    assert planned[full["adapters_full"]] == planned[full["conditions_full"]]
    with pytest.raises(ValueError, match="'adapters_all' is unknown"):
        choose_rows(["adapters_all"])


def test_rows_are_trained_and_scored_and_a_second_call_runs_nothing(bench):
    call, calls, out = bench
    asked = ["conditions_none", "conditions_full", "adapters_none", "adapters_full"]
    written = call(rows=asked, jobs=2)
    kinds = [one[0] for one in calls()]
    assert kinds.count("prepare") == 1 and kinds.count("train") == kinds.count("evaluate") == 6
    for command, *flags in calls():
        assert command == "prepare" or "bfloat16" in flags
    table = (out / "ablation-table.md").read_text()
    assert "| no MCondition | 152.4 | 0.14 | 15.5 ± 0.71 | 15.5 ± 0.71 | 50 ± 0 % | 8 |" in table
    assert "| no spatial | 68.12 | 0.05 | not run | not run | not run | - | not run |" in table
    assert "Paper: both, with states < no MCondition." in table
    assert "Of 1 pairs 0 have the reverse order, and 1 differ by less" in table
    assert [path.name for path in written] == [
        f"ablation-table.{ending}" for ending in ("json", "md", "svg")
    ]
    assert "<svg" in (out / "ablation-table.svg").read_text()
    told = json.loads((out / "ablation-table.json").read_text())
    assert len(told["rows"]) == 11 and told["budget"]["steps"] == 5
    call(rows=asked)
    assert [one[0] for one in calls()].count("train") == 6
    with pytest.raises(ValueError, match="another steps"):
        call(rows=asked, budget=Budget(steps=6, limit=8))


def test_a_failed_run_is_named_and_the_others_are_still_carried_out(bench, monkeypatch):
    call, calls, out = bench
    monkeypatch.setenv("BREAK", "adapters_none")
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed: aid train .*out of memory"):
        call(rows=["adapters_none", "adapters_full"], seeds=1)
    table = (out / "ablation-table.md").read_text()
    line = next(line for line in table.splitlines() if line.startswith("| none |"))
    assert line.split(" | ", 3)[3] == ("not run | not run | not run | - | 0 of 1 seeds, 1 failed |")
    assert "1 of 1 seeds" in table
    monkeypatch.delenv("BREAK")
    call(rows=["adapters_none", "adapters_full"], seeds=1)
    assert [one[0] for one in calls()].count("evaluate") == 2


def test_a_split_that_does_not_exist_is_refused_before_anything_runs(bench):
    call, _, out = bench
    with pytest.raises(ValueError, match=r"no split 'combos'.*--scenes\.combos 100"):
        call(split="combos")
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        call(seeds=0)
    assert not out.exists() and os.environ["CALLS"]
