"""`aid evaluate` on data of others, from the command line to the score card, with a tiny model."""

import csv
import json
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import write_tiny_model
from layouts import write_lerobot_v2, write_lerobot_v3, write_video
from videos import moving_square

import aid.cli
from aid.data.manifest import read_manifest, write_manifest
from aid.video import read_video, write_mp4

WORDS = ("push the red ball left", "lift the cube", "push the green cube right", "stop")


def write_set(folder, words=WORDS, num_frames=12):
    """A folder of videos with captions, 6 frames a second."""
    folder.mkdir()
    with (folder / "captions.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["video", "instruction"])
        for number, said in enumerate(words):
            pixels = moving_square(num_frames, start=4 + number, step=1 + number)
            write_mp4(folder / f"{number}.mp4", pixels, 6.0, lossless=True)
            lines.writerow([f"{number}.mp4", said])
    return folder


@pytest.fixture
def run(tiny_backbone, tiny_config, tmp_path):
    """A run's folder with a checkpoint that reads no states, trained on windows at 3 a second."""
    return write_run(tmp_path / "run", tiny_backbone, tiny_config)


def write_run(folder, backbone, config, **trained):
    config = replace(config, dqformer=replace(config.dqformer, use_states=False))
    folder.mkdir()
    write_tiny_model(folder / "checkpoint", backbone, config)
    path = folder / "checkpoint/config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"frames": {"fps": 3.0}, "source": {}} | trained))
    return folder


@pytest.fixture
def evaluate(run, tiny_backbone, tmp_path, capsys):
    """Runs the command; returns its exit code, what it says, and the report if there is one."""

    def call(data, *more, model=run, out=tmp_path / "card"):
        flags = ["--data", data, "--model", model, "--backbone", tiny_backbone, "--out", out]
        code = aid.cli.main(["evaluate", *map(str, flags), "--device", "cpu", *map(str, more)])
        said = capsys.readouterr()
        report = out / "report.json"
        told = json.loads(report.read_text()) if report.is_file() else None
        return code, said.out + said.err, told

    return call


def test_a_folder_of_videos_is_evaluated_as_its_model_was_trained(evaluate, tmp_path):
    code, said, report = evaluate(write_set(tmp_path / "set"), "--num_videos", 3)
    assert code == 0, said
    assert "as trained       frames.fps 3.0" in said and "3 frames" not in said.splitlines()[0]
    assert "frames           3 of 64x64 at 3 a second, 1 given" in said
    like = report["comparison"]["likeness"]
    assert list(like) == [
        "the instruction", "another row's instruction", "no instruction", "first frame, repeated",
        "oracle blend", "mean video", "encoded and decoded",
    ]  # fmt: skip
    assert report["scores"] == {} and report["comparison"]["extractor"] == {}
    assert set(report["words"]) == {"another row's instruction", "no instruction"}
    lines = [line for line in report["videos"] if line["set"] == "the instruction"]
    assert [line["id"] for line in lines] == ["0.mp4@0ms", "1.mp4@0ms", "2.mp4@0ms"]
    assert {line["fps"] for line in lines} == {3.0}
    real = read_video(tmp_path / "card/real/2.mp4@0ms.mp4")
    whole = moving_square(12, start=6, step=3)
    assert np.array_equal(real, whole[[0, 2, 4]])  # 6 frames a second seen at 3
    assert (tmp_path / "card/sheet.png").is_file()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "card/predictions").rglob("*.mp4")}
    assert len(before) == 9
    code, said, again = evaluate(tmp_path / "set", "--num_videos", 3)
    assert code == 0 and again == report and "per video of the model" not in said
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_the_checkpoint_says_which_episodes_are_held_out(
    evaluate, tiny_backbone, tiny_config, tmp_path
):
    source = {"hold_out": 0.5, "hold_out_seed": 1, "split": "train", "limit": 1}
    model = write_run(tmp_path / "held", tiny_backbone, tiny_config, source=source)
    data = write_set(tmp_path / "set")
    code, said, report = evaluate(data, "--extractor", "none", model=model)
    assert code == 0, said
    held = {line["id"].split("@")[0] for line in report["videos"]}
    assert 0 < len(held) < 4 and "split held_out" in report["title"]
    words = f"mean of {4 - len(held)} videos of the split 'train'"
    assert any(words in note for note in report["notes"])
    code, said, report = evaluate(data, "--split", "train", model=model, out=tmp_path / "other")
    trained = {line["id"].split("@")[0] for line in report["videos"]}
    assert code == 0 and trained == {f"{n}.mp4" for n in range(4)} - held


def test_a_model_of_two_given_frames_is_given_two(evaluate, tiny_backbone, tiny_config, tmp_path):
    condition = replace(tiny_config.condition, num_given_frames=2, frame_condition="grey_pixels")
    config = replace(tiny_config, condition=condition)
    model = write_run(tmp_path / "two", tiny_backbone, config)
    code, said, report = evaluate(write_set(tmp_path / "set"), "--limit", 2, model=model)
    assert code == 0, said
    assert report["comparison"]["protocol"]["num_given_frames"] == 2
    psnr = report["comparison"]["likeness"]["the instruction"]["psnr"]
    assert psnr[:2] == [100, 100] and psnr[2] < 100


def test_the_bare_backbone_beside_a_model_of_two_given_frames_is_given_the_first(
    evaluate, tiny_backbone, tiny_config, tmp_path
):
    condition = replace(tiny_config.condition, num_given_frames=2, frame_condition="grey_pixels")
    model = write_run(tmp_path / "two", tiny_backbone, replace(tiny_config, condition=condition))
    more = ["--limit", 2, "--with_backbone", "--num_steps", 1, "--extractor", "none"]
    code, said, report = evaluate(write_set(tmp_path / "set"), *more, model=model)
    assert code == 0, said
    like = report["comparison"]["likeness"]["the backbone alone, without words"]
    assert like["num_videos"] == 2 and like["psnr"][0] == 100


@pytest.mark.parametrize(
    ("trained", "flags"),
    [
        ({"fps": 3.0, "windows": "all", "stride_seconds": 0.5}, ["--frames.fps", 2]),
        ({"sampling": "seer_trilinear"}, ["--frames.fps", 2]),
        ({"fps": 3.0, "windows": "all"}, ["--frames.sampling", "seer_trilinear"]),
        ({"seconds": 1.0, "windows": 2}, ["--frames.fps", 2]),
    ],
)
def test_a_flag_about_time_replaces_all_that_the_checkpoint_says_about_time(
    trained, flags, evaluate, tiny_backbone, tiny_config, tmp_path
):
    model = write_run(tmp_path / "timed", tiny_backbone, tiny_config, frames=trained)
    flags = [*flags, "--limit", 1, "--num_steps", 1, "--shuffled", "false", "--extractor", "none"]
    code, said, report = evaluate(write_set(tmp_path / "set"), *flags, model=model)
    assert code == 0, said
    assert "as trained" not in said
    assert len([v for v in report["videos"] if v["set"] == "real videos"]) == 1


def test_a_training_split_that_cannot_be_read_is_named_on_the_card(
    evaluate, tiny_manifest, tmp_path
):
    data = tmp_path / "set"
    shutil.copytree(tiny_manifest, data)
    rows = read_manifest(data)
    splits = ["test", "train"] * 3
    write_manifest(data, [replace(r, split=s) for r, s in zip(rows, splits, strict=True)])
    for row, split in zip(rows, splits, strict=True):
        if split == "train":
            (data / row.video).write_bytes(b"no video")
    flags = ["--split", "test", "--limit", 1, "--num_steps", 1, "--shuffled", "false"]
    code, said, report = evaluate(data, *flags, "--extractor", "none")
    assert code == 0, said
    assert "None of 3 videos of the split 'train' can be read." in report["notes"]
    write_manifest(data, [replace(row, split="test") for row in rows])
    code, said, report = evaluate(data, *flags, "--extractor", "none", out=tmp_path / "other")
    assert code == 0, said
    note = next(one for one in report["notes"] if one.startswith("The split 'train' is not used:"))
    assert "has no video of split 'train'" in note


def test_the_processes_of_a_launcher_share_the_rows(evaluate, tmp_path, monkeypatch):
    data = write_set(tmp_path / "set")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("aid.evaluate.ranks.PATIENCE", 0.2)
    monkeypatch.setenv("RANK", "1")
    code, said, report = evaluate(data, "--batch_size", 1)
    assert code == 0 and report is None and "data  " not in said and "error" not in said
    monkeypatch.setenv("RANK", "0")
    code, said, report = evaluate(data, "--batch_size", 1)
    assert code == 0 and report["comparison"]["likeness"]["the instruction"]["num_videos"] == 4
    assert "6 new" in said  # two rows in three modes; the other process drew the others


def test_videos_without_words_are_left_out_and_said(evaluate, tmp_path):
    data = write_set(tmp_path / "set", words=("stop", "", "lift it"))
    code, said, report = evaluate(data)
    assert code == 0 and report["comparison"]["likeness"]["the instruction"]["num_videos"] == 2
    words = "1 of 3 videos have no instruction and are left out, the first is '1.mp4'"
    assert words in said and any(words in note for note in report["notes"])


def test_a_set_without_words_is_for_models_that_read_none(evaluate, tmp_path):
    data = write_set(tmp_path / "set", words=("", ""))
    code, said, _ = evaluate(data)
    assert code == 2 and "none of the 2 videos has an instruction" in said
    assert "--predictor backbone" in said and not (tmp_path / "card").exists()
    code, said, report = evaluate(data, "--predictor", "backbone")
    assert code == 0, said
    assert report["words"] == {} and "the instruction" in report["comparison"]["likeness"]


def refusals(tmp_path):
    return {
        "split": (["--split", "test"], "has no video of split 'test'. It"),
        "camera": (["--camera", "wrist"], "has no video of camera 'wrist'"),
        "device": (["--device", "cuda:7"], "device 'cuda:7' is not on this machine"),
        "weights": (["--extractor", "i3d"], "'i3d' needs weights"),
        "lpips": (["--lpips", tmp_path / "none.safetensors"], "none.safetensors"),
        "shuffled": (["--limit", "1", "--shuffled"], "cannot be given another one"),
        "number": (["--num_videos", "0"], "num_videos must be at least 1, got 0"),
        "states": (["--states_from", "none"], "reads no states"),
        "model": (["--model", tmp_path / "nowhere"], "nowhere"),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "split",
        "camera",
        "device",
        "weights",
        "lpips",
        "shuffled",
        "number",
        "states",
        "model",
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(kind, evaluate, tmp_path):
    more, words = refusals(tmp_path)[kind]
    code, said, _ = evaluate(write_set(tmp_path / "set"), *more)
    assert code == 2 and words in said, said
    assert [line[:6] for line in said.splitlines()] == ["error:"], said  # nothing loaded or drawn
    assert not (tmp_path / "card").exists()


def test_videos_of_one_frame_leave_nothing_to_predict(evaluate, tmp_path):
    code, said, _ = evaluate(write_set(tmp_path / "set", num_frames=1))
    assert code == 2 and "error:" in said and not (tmp_path / "card").exists()
    assert "frame" in said, said


def test_a_split_that_a_model_was_not_asked_about_says_what_came_from_the_checkpoint(
    evaluate, tiny_backbone, tiny_config, tmp_path
):
    model = write_run(tmp_path / "cam", tiny_backbone, tiny_config, source={"camera": "top"})
    code, said, _ = evaluate(write_set(tmp_path / "set"), model=model)
    assert code == 2 and "camera 'top'" in said and "As the checkpoint was trained: camera" in said


def write_tar(folder):
    """Two samples of a WebDataset."""
    folder.mkdir()
    with tarfile.open(folder / "shard-0.tar", "w") as archive:
        for number, words in enumerate(WORDS[:2]):
            video = write_video(folder / f"{number}.mp4", num_frames=6, step=1 + number)
            (folder / "words").write_text(words)
            archive.add(video, f"{number}.mp4")
            archive.add(folder / "words", f"{number}.txt")
            video.unlink()
    (folder / "words").unlink()
    return folder


@pytest.mark.parametrize(
    ("write", "more", "number"),
    [
        (write_lerobot_v2, ["--camera", "top"], 2),
        (write_lerobot_v3, ["--camera", "wrist"], 3),
        (write_lerobot_v3, [], 6),
        (write_tar, [], 2),
    ],
)
def test_any_format_that_prepare_reads_is_evaluated(
    write, more, number, evaluate, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    flags = ["--num_steps", 1, "--shuffled", "false", "--extractor", "none", *more]
    code, said, report = evaluate(write(tmp_path / "set"), *flags)
    assert code == 0, said
    assert report["comparison"]["likeness"]["the instruction"]["num_videos"] == number
    names = [path.name for path in (tmp_path / "card/real").glob("*.mp4")]
    assert len(names) == number


def test_a_checkpoint_with_damaged_data_settings_is_refused(
    evaluate, tiny_backbone, tiny_config, tmp_path
):
    data = write_set(tmp_path / "set")
    for number, trained in enumerate(({"frames": {"fps": "often"}}, {"source": {"hold_out": []}})):
        model = write_run(tmp_path / f"bad{number}", tiny_backbone, tiny_config, **trained)
        code, said, _ = evaluate(data, model=model)
        assert (
            code == 2 and "data settings are damaged" in said and not (tmp_path / "card").exists()
        )


def test_a_set_behind_a_url_is_evaluated_and_read_once(evaluate, tiny_manifest, tmp_path):
    where = tiny_manifest.resolve().as_uri()
    code, said, report = evaluate(where, "--limit", 2, "--frames.fps", 2)
    assert code == 0, said
    assert [v["id"] for v in report["videos"][:1]] == ["push-0@0ms"]
    kept = sorted((tmp_path / "card/real").iterdir())
    before = [path.stat().st_mtime_ns for path in kept]
    assert evaluate(where, "--limit", 2, "--frames.fps", 2)[0] == 0
    assert before == [path.stat().st_mtime_ns for path in kept]


def test_all_splits_at_once_are_evaluated_with_a_note(evaluate, tiny_manifest, tmp_path):
    data = tmp_path / "set"
    shutil.copytree(tiny_manifest, data)
    rows = read_manifest(data)
    splits = ["train", "test"] * 3
    write_manifest(data, [replace(r, split=s) for r, s in zip(rows, splits, strict=True)])
    code, said, _ = evaluate(data, "--num_videos", 2, "--shuffled", "false")
    assert code == 0 and "No split was named" in said and "'test', 'train'" in said
    code, said, report = evaluate(data, "--split", "test", out=tmp_path / "test")
    assert code == 0 and "No split was named" not in said
    assert any("mean of 3 videos of the split 'train'" in note for note in report["notes"])


def test_recorded_states_that_do_not_know_the_video_may_be_told(
    tiny_backbone, tiny_config, tiny_manifest, tmp_path, capsys
):
    data = tmp_path / "set"
    shutil.copytree(tiny_manifest, data)
    rows = [replace(row, states_see="first_frame") for row in read_manifest(data)]
    write_manifest(data, rows)
    model = write_tiny_model(tmp_path / "aid", tiny_backbone, tiny_config, state_writer="replay")
    flags = ["--data", data, "--model", model, "--backbone", tiny_backbone, "--limit", 2]
    flags += ["--out", tmp_path / "card", "--num_steps", 1, "--empty", "false"]
    assert aid.cli.main(["evaluate", *map(str, flags)]) == 2
    said = capsys.readouterr().err
    assert "recorded states" in said and not (tmp_path / "card").exists()
    assert "--states_from where they come from: replay" in said and "--states " not in said
    assert aid.cli.main(["evaluate", *map(str, flags), "--states_from", "replay"]) == 0
    record = json.loads(next((tmp_path / "card/predictions/true").glob("*.json")).read_text())
    assert record["made_from"]["states"][0] == "the red ball"


def test_a_language_model_has_no_place_for_its_answers_behind_a_url(
    tiny_manifest, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    url = tiny_manifest.resolve().as_uri()
    flags = ["--data", url, "--out", str(tmp_path / "card"), "--states_from", "vlm:nowhere"]
    assert aid.cli.main(["evaluate", *flags, "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "is a URL. Copy the data set" in said and list(tmp_path.iterdir()) == []


def test_without_the_model_the_same_rows_are_evaluated(
    evaluate, tiny_backbone, tiny_config, tmp_path
):
    source = {"hold_out": 0.5, "hold_out_seed": 1}
    condition = replace(tiny_config.condition, num_given_frames=2, frame_condition="grey_pixels")
    config = replace(tiny_config, condition=condition)
    model = write_run(tmp_path / "held", tiny_backbone, config, source=source)
    data, seen = write_set(tmp_path / "set"), {}
    for kind in ("model", "backbone", "none"):
        flags = ["--predictor", kind, "--num_steps", 1, "--extractor", "none"]
        code, said, report = evaluate(data, *flags, model=model, out=tmp_path / kind)
        assert code == 0, said
        real = [(v["id"], v["fps"]) for v in report["videos"] if v["set"] == "real videos"]
        seen[kind] = real, report["comparison"]["protocol"]
    assert seen["model"] == seen["backbone"] == seen["none"] and 0 < len(seen["none"][0]) < 4


@pytest.mark.parametrize("is_recipe", [False, True])
def test_what_the_checkpoint_says_is_taken_back_by_a_flag_at_its_default(
    is_recipe, evaluate, tiny_backbone, tiny_config, tmp_path
):
    source = {"hold_out": 0.5, "hold_out_seed": 1, "camera": "top"}
    model = write_run(tmp_path / "held", tiny_backbone, tiny_config, source=source)
    flags = ["--hold_out", 0, "--camera", "null", "--frames.windows", 1]
    if is_recipe:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("hold_out: 0\ncamera: null\nframes:\n  windows: 1\n")
        flags = ["--config", recipe]
    more = ["--predictor", "none", "--extractor", "none"]
    code, said, report = evaluate(write_set(tmp_path / "set"), *flags, *more, model=model)
    assert code == 0, said
    assert "as trained" not in said and "evenly over each video" in said
    assert len([v for v in report["videos"] if v["set"] == "real videos"]) == 4
