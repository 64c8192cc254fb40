import json
import os
import sys
from pathlib import Path

import pytest

from aid.ablate import ablate
from aid.ablate import run as run_module
from aid.ablate.rows import ROWS, choose_rows, plan, read_recipe
from aid.ablate.run import Budget
from aid.data.shards import FORMAT

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
if command == "prepare":
    if os.environ.get("BREAK") == "prepare":
        print("error: the videos are broken", file=sys.stderr)
        sys.exit(2)
    out.mkdir(exist_ok=True)
    size = {"height": 64, "width": 64}
    (out / "cache.json").write_text(json.dumps({"format": FORMAT, "fingerprint": size}))
if command == "train":
    recipe = Path(told[-1]).stem
    if recipe == os.environ.get("BREAK"):
        sys.exit("error: out of memory")
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint/recipe").write_text(recipe + " " + value("--train.seed"))
if command == "evaluate":
    recipe, seed = (Path(value("--model")) / "recipe").read_text().split()
    distance = float(len(recipe) + int(seed))
    out.mkdir()
    number = {"value": distance}
    judged = {"num_obeyed": 4, "num_videos": 8}
    own = {"num_videos": 8, "frechet": number, "kvd": number}
    copied = {"num_videos": 8, "frechet": {"value": 99.0}}
    (out / "report.json").write_text(json.dumps({
        "scores": {"the instruction": judged, "real videos": {**judged, "num_obeyed": 8}},
        "videos": [], "words": {}, "lift": {"chance": 0.25, "retrieval": {}},
        "comparison": {"extractor": {"extractor": "tabletop-r3d"}, "check": None, "likeness": {
            "real against real": {"num_videos": 4, "frechet_of_halves": {"value": 0.5}},
            "the instruction": own, "first frame, repeated": copied}}}))
""".replace("FORMAT", str(FORMAT))


def cost(configs, model, train, height, width):
    """Operations of a step, trained and all parameters: more of each for more that is trained."""
    assert (height, width) == (64, 64)
    each = {"none": 100, "temporal": 160, "all": 300}[model.unet_weights]
    return each, each, 1000


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
    monkeypatch.setattr(run_module, "step_cost", cost)

    def call(data=tmp_path / "data", **settings):
        known = {"budget": Budget(steps=5, limit=8, precision="bfloat16")}
        return ablate(
            data, tmp_path / "out", "tabletop", BASE, RECIPES / "ablations", **known | settings
        )

    def calls():
        return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return call, calls, tmp_path / "out"


def test_the_eleven_rows_have_recipes_and_the_two_full_models_share_their_runs():
    planned = plan(choose_rows(None), BASE, RECIPES / "ablations", 2)
    assert len(planned) == 11 and {row.table for row in planned} == {"conditions", "adapters"}
    recipes = {row.recipe for row in ROWS} - {None}
    assert {p.stem for p in (RECIPES / "ablations").glob("*.yaml")} == recipes
    runs = {run.name for row in planned.values() for run in row}
    assert len(runs) == 20
    full = {row.name: row for row in ROWS}
    assert planned[full["adapters_full"]] == planned[full["conditions_full"]]
    main = plan(choose_rows(["aid", "vpp"]), BASE, RECIPES / "ablations", 1)
    assert {run.name for runs in main.values() for run in runs} == {"aid-seed0", "vpp-seed0"}
    assert {row.table for row in main} == {"main", "tuning"}
    assert planned[full["adapters_full"]][0].name == "aid-seed0"
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
    table = (out / "tables.md").read_text()
    line = "| no MCondition | 152.4 | 0.14 | 15.5 ± 0.71 | - | 15.5 ± 0.71 | - | - | 50.0 % "
    assert line + "(28.0 to 72.0), reads no text | - | 8 | 2 of 2 seeds |" in table
    assert f"| no spatial | 68.12 | 0.05 |{' not run |' * 7} - | not run |" in table
    assert "Chance: 25.0 % of the videos" in table
    assert "Paper: both, with states < no MCondition." in table
    assert "Of 1 pairs 0 have the reverse order, and 0 differ by less" in table
    names = ["tables.json", "tables.md", "costs.md", "tables.svg"]
    assert [path.name for path in written] == names
    assert "<svg" in (out / "tables.svg").read_text()
    told = json.loads((out / "tables.json").read_text())
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
    table = (out / "tables.md").read_text()
    line = next(line for line in table.splitlines() if line.startswith("| none |"))
    assert line.split(" | ", 3)[3] == "not run | " * 7 + "- | 0 of 1 seeds, 1 failed |"
    assert "1 of 1 seeds" in table
    monkeypatch.delenv("BREAK")
    call(rows=["adapters_none", "adapters_full"], seeds=1)
    assert [one[0] for one in calls()].count("evaluate") == 2


def test_a_split_that_does_not_exist_is_refused_before_anything_runs(bench):
    call, _, out = bench
    with pytest.raises(ValueError, match=r"no split 'combos'.*--scenes\.combos 100"):
        call(split="combos")
    with pytest.raises(ValueError, match="row 'full_aid' is unknown"):
        call(rows=["full_aid"])
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        call(seeds=0)
    with pytest.raises(ValueError, match=r"--hold_out 0.2 divides one data set"):
        call(rows=["aid"], hold_out=0.2)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        call(rows=["aid"], jobs=0)
    with pytest.raises(ValueError, match=r"'nowhere' is no folder. Leave --weights out"):
        call(rows=["aid"], extractor=Path("nowhere"))
    with pytest.raises(ValueError, match=r"recipe 'nowhere.yaml' does not exist"):
        call(rows=["aid"], budget=Budget(like=Path("nowhere.yaml")))
    assert not out.exists() and os.environ["CALLS"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps must be from 1"),
        ({"limit": 0}, "limit must be from 1"),
        ({"train_videos": 0}, "train_videos must be from 1"),
        ({"num_frames": 0}, "num_frames must be from 1"),
        ({"flops": float("nan")}, "flops must be from 1"),
        ({"sampling_steps": 0}, "num_steps must be at least 1, got 0"),
    ],
)
def test_a_budget_of_nothing_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Budget(**settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1", "must be settings by name, got a list"),
        ("model: [1", "this is no YAML"),
        ("train: {nosuch: 1}", "TrainConfig has no setting 'nosuch'"),
        ("sampler: {static_threshold: -1}", "static_threshold must be from 0 to 1000"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_named(text, words, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"recipe '.*mine.yaml' cannot be used: .*{words}"):
        read_recipe(path)


def test_videos_that_cannot_be_prepared_leave_nothing_that_stands_in_the_way(bench, monkeypatch):
    call, _, out = bench
    monkeypatch.setenv("BREAK", "prepare")
    with pytest.raises(ValueError, match=r"^the videos are broken$"):
        call(rows=["aid"], seeds=1)
    assert not out.exists()
    monkeypatch.delenv("BREAK")
    call(rows=["aid"], seeds=1)
    with pytest.raises(
        ValueError, match=r"another sampling_steps \(--num_steps None, now 3\).*another --out"
    ):
        call(rows=["aid"], seeds=1, budget=Budget(steps=5, limit=8, sampling_steps=3))


def test_tables_by_operations_give_every_row_the_steps_that_its_budget_allows(bench):
    call, calls, out = bench
    call(rows=["aid", "vpp", "full", "baselines"], seeds=1, tables=None)
    trained = [flags for command, *flags in calls() if command == "train"]
    value = {}
    for flags in trained:
        tuning = flags[flags.index("--tuning") + 1]
        value[tuning] = int(flags[flags.index("--train.steps") + 1])
    assert value == {"aid": 5, "temporal": 3, "full": 2}  # 500 operations at 100, 160, 300 a step
    costs = (out / "costs.md").read_text()
    assert "| every weight | 0.00 M | 0.00 M | 2 | 600 | 120.00 % |" in costs
    assert "| SimVP | not run |" in costs
    table = (out / "tables.md").read_text()
    assert "## Main table" in table and "## Ways to adapt" in table and "## Adapters" not in table
    assert "| real against real | - | - | - | 0.5 | - | - | - | 100.0 % (67.6 to 100.0) |" in table
    assert "| first frame, repeated | - | - | 99 |" in table
    assert "| SimVP | 537.2 | - | not run |" in table
    with pytest.raises(ValueError, match="another flops"):
        call(
            rows=["aid"], seeds=1, budget=Budget(flops=1e3, steps=5, limit=8, precision="bfloat16")
        )


def test_a_budget_below_a_step_is_refused(bench):
    call, _, _ = bench
    with pytest.raises(
        ValueError, match="a step of AID takes 100 operations, and its budget is 40"
    ):
        call(rows=["conditions_none"], budget=Budget(flops=40.0))


def test_any_data_set_is_trained_and_predicted_by_its_own_splits(bench, tmp_path):
    call, calls, _ = bench
    folder = tmp_path / "lerobot"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"nothing says which videos .* are predicted"):
        call(rows=["aid"], data=folder)
    call(rows=["aid"], seeds=1, data=folder, split=None, hold_out=0.2)
    prepare, train, evaluate = calls()
    words = ["--data", str(folder), "--split", "train", "--hold_out", "0.2"]
    assert prepare[prepare.index("--data") :][: len(words)] == words
    words[3] = "held_out"
    assert evaluate[1 : 1 + len(words)] == words
    assert train[0] == "train"


def test_half_the_frames_are_the_same_length_of_time(bench):
    call, calls, _ = bench
    call(rows=["aid"], seeds=1, budget=Budget(steps=1, num_frames=8))
    for command, *flags in calls():
        if command in ("prepare", "train"):
            assert flags[flags.index("--model.num_frames") + 1] == "8"
            assert flags[flags.index("--model.condition.fps") + 1] == "null"
