"""`aid train --data`: from somebody's folder of videos to a checkpoint in one command."""

import os
import subprocess
import sys

import pytest
import yaml
from short_runs import LOOP, SAMPLER
from videos import moving_square

from aid.cli import main
from aid.config import to_json
from aid.data.cache import Cache
from aid.data.manifest import read_manifest, write_manifest
from aid.models.checkpoint import read_info
from aid.video import write_mp4


@pytest.fixture
def recipe(tiny_config, tmp_path):
    """Of one step, for the tiny backbone."""
    settings = {
        "model": to_json(tiny_config),
        "train": to_json(LOOP) | {"steps": 1},
        "sampler": {"num_steps": SAMPLER.num_steps, "sigma_max": SAMPLER.sigma_max},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def command(tiny_manifest, tiny_backbone, recipe, tmp_path):
    """`aid train --data` on the tiny manifest; gives back the exit code."""

    def run(*more, data=tiny_manifest):
        arguments = ["train", "--config", recipe, "--data", data, "--backbone", tiny_backbone]
        return main([str(word) for word in [*arguments, "--out", tmp_path / "run", *more]])

    return run


def test_one_command_makes_caches_of_both_splits_and_a_checkpoint(command, tmp_path, capsys):
    assert command("--hold_out", 0.3) == 0
    caches = {name: Cache(tmp_path / "run_cache" / name) for name in ("train", "held_out")}
    ids = {name: {row["id"] for row in cache.rows} for name, cache in caches.items()}
    assert len(ids["train"]) + len(ids["held_out"]) == 6
    scenes = {name: {int(one.split("-")[1]) // 2 for one in found} for name, found in ids.items()}
    assert not scenes["train"] & scenes["held_out"], "videos of one scene stay together"
    info = read_info(tmp_path / "run/checkpoint")
    assert (info.height, info.width, info.source["hold_out"]) == (64, 64, 0.3)
    printed = capsys.readouterr()
    assert "frames: 3 of 64 x 64 pixels, whole episodes, evenly" in printed.err
    for name in ("train", "held_out"):
        assert f"cache '{name}': note: hold_out 0.3 with seed 0 keeps" in printed.err
        assert f"cache '{name}': {tmp_path / 'run_cache' / name}\n" in printed.out
    sheets = sorted(path.name for path in (tmp_path / "run").glob("sheet-*.png"))
    assert sheets == ["sheet-000001.png"], "the held-out videos are checked on"


def test_a_second_call_prepares_nothing_again(command, tmp_path):
    assert command() == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run_cache").rglob("*.safetensors")}
    assert command() == 0
    assert before == {
        p: p.stat().st_mtime_ns for p in (tmp_path / "run_cache").rglob("*.safetensors")
    }


def test_long_episodes_are_cut_into_windows(command, tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        write_mp4(data / f"{number}.mp4", moving_square(start=9 + number, step=2), fps=1.0)
        (data / f"{number}.txt").write_text("push it")
    # Five frames in four seconds: at three frames, 0.5 a second if whole episodes are seen.
    assert command(data=data) == 0
    assert "windows of 1.5 s at 2 a second, all of an episode" in capsys.readouterr().err
    assert read_info(tmp_path / "run/checkpoint").fps == pytest.approx(2.0)
    whole = command("--frames.windows", 1, "--cache", tmp_path / "whole", data=data)
    assert whole == 2, "the folder holds the run on windows"
    assert "whole episodes, evenly" in capsys.readouterr().err
    assert Cache(tmp_path / "whole/train").rows[0]["fps"] == pytest.approx(0.5)


def test_a_run_without_anything_to_train_on_is_refused(tmp_path, tiny_backbone, capsys):
    out = tmp_path / "run"
    assert main(["train", "--out", str(out), "--backbone", str(tiny_backbone)]) == 2
    assert "Give a data set (--data) or a --cache" in capsys.readouterr().err
    arguments = ["train", "--out", str(out), "--cache", "c", "--hold_out", "0.2"]
    assert main([*arguments, "--backbone", str(tiny_backbone)]) == 2
    assert "select videos of --data" in capsys.readouterr().err
    assert not out.exists()


def test_other_frames_than_those_of_the_cache_are_refused(
    command, recipe, tiny_backbone, tmp_path, capsys
):
    assert command() == 0
    arguments = ["train", "--config", recipe, "--cache", tmp_path / "run_cache/train"]
    arguments += ["--backbone", tiny_backbone, "--out", tmp_path / "run"]

    def train(*more):
        return main([str(word) for word in [*arguments, *more]]), capsys.readouterr().err

    assert train("--frames.height", 64, "--frames.sampling", "uniform_index")[0] == 0
    for flag, value, made in (("fps", 2, "None"), ("height", 32, "64"), ("seconds", 1, "None")):
        code, error = train(f"--frames.{flag}", value)
        assert code == 2
        assert f"frames.{flag} = " in error and f"was made with {made}. Leave it out" in error


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--hold_out", "0.5", "--split", "held_out"], "would train on the episodes that are kept"),
        (["--precision", "float16", "--device", "cpu"], "'float16' trains on a GPU only"),
        (["--frames.fps", "2", "--frames.windows", 10**12], "at most 100000, or all"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_encoded(
    command, tmp_path, capsys, more, words
):
    assert command(*more) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run_cache").exists()


def test_the_cache_is_encoded_in_float32_whatever_the_run_computes_in(command, tmp_path):
    assert command("--precision", "bfloat16") == 0
    fingerprint = Cache(tmp_path / "run_cache/train").settings["fingerprint"]
    assert fingerprint["precision"] == "float32"


def test_a_data_set_without_words_is_refused_and_nothing_is_left(command, tiny_manifest, tmp_path):
    data = tmp_path / "silent"
    (data / "videos").mkdir(parents=True)
    rows = read_manifest(tiny_manifest)
    for row in rows:
        (data / row.video).write_bytes((tiny_manifest / row.video).read_bytes())
    write_manifest(
        data, [type(row)(**{**row.__dict__, "instruction": "", "wordings": []}) for row in rows]
    )
    assert command(data=data) == 2
    assert not (tmp_path / "run").exists() and not (tmp_path / "run_cache").exists()


@pytest.mark.slow
def test_two_processes_make_the_caches_and_the_run_of_one(
    command, tiny_manifest, tiny_backbone, recipe, tmp_path
):
    assert command("--hold_out", 0.3) == 0
    alone = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    arguments = ["--config", recipe, "--data", tiny_manifest, "--backbone", tiny_backbone]
    run = [*launcher, "--nproc-per-node", 2, "-m", "--", "aid.cli", "train", *arguments,
           "--hold_out", 0.3, "--train.batch_size", 1, "--out", tmp_path / "both"]  # fmt: skip
    done = subprocess.run(
        list(map(str, run)), capture_output=True, text=True, timeout=600,
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("train", "held_out"):
        caches = [folder.with_name(f"{folder.name}_cache") / name
                  for folder in (alone, tmp_path / "both")]  # fmt: skip
        files = [{p.name: p.read_bytes() for p in cache.iterdir()} for cache in caches]
        assert files[0] == files[1]
    assert read_info(tmp_path / "both/checkpoint").step == 1
