import json

import pytest
from layouts import write_video
from PIL import Image

from aid.cli import main


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """Three videos, one of them damaged, in a folder that holds nothing else."""
    folder = tmp_path / "set"
    write_video(folder / "a.mp4", num_frames=9).with_suffix(".txt").write_text("push the ball")
    write_video(folder / "b.webm").with_suffix(".txt").write_text("[red]lift\x1b[31m it[/red]")
    (folder / "c.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    return folder


def inspected(capsys, *arguments):
    assert main(["data", "inspect", *map(str, arguments)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_table_says_what_is_there_and_what_to_see_to(videos, tiny_backbone, capsys):
    out = inspected(capsys, videos, "--backbone", tiny_backbone, "--model.num_frames", 3)
    lines = {line[:20].strip(): line[20:] for line in out.splitlines()}
    assert lines["videos"] == "3; 3 looked at"
    assert "2 distinct" in out
    assert lines["cannot be read"].startswith("1: c.mp4: video ")
    assert "[red]lift" in out, "words are no markup"
    assert "\x1b" not in out, "nor commands to the terminal"
    assert "3 frames of 64x48" in out
    assert "decoding" in lines["time"]
    with Image.open("inspection.png") as sheet:
        assert sheet.size[0] > 8 * 64
        assert sheet.size[1] > 2 * 96


def test_long_episodes_squeezed_into_a_few_frames_are_warned_about_with_the_remedy(
    tmp_path, monkeypatch, tiny_backbone, capsys
):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "set/a.mp4", num_frames=48, fps=4)
    write_video(tmp_path / "set/b.mp4", num_frames=160, fps=4)
    whole = inspected(capsys, "set", "--backbone", tiny_backbone)
    said = " ".join(whole.split())
    assert "whole episodes of 12 to 40 s, each as 16 frames 0.783 to 2.65 s apart" in said
    assert "2 episodes are squeezed" in said
    assert "--frames.fps 2 --frames.windows all" in said, "what aid train --data would choose"
    settings = ["--frames.fps", 2, "--frames.windows", "all", "--backbone", tiny_backbone]
    said = " ".join(inspected(capsys, "set", *settings).split())
    assert "6 of 8 s, 1 to 5 of each video of 12 to 40 s, showing 92% of the time" in said
    assert "frames 0.5 s apart (every 2 frames)" in said
    report = json.loads(inspected(capsys, "set", *settings, "--json"))
    one = json.loads(inspected(capsys, "set", "--frames.fps", 2, "--backbone", tiny_backbone,
                               "--json"))  # fmt: skip
    sizes = [r["forecast"]["bytes"]["latents"] for r in (one, report)]
    assert sizes[1] == 3 * sizes[0], "of six windows, not of two videos"


def test_json_is_json_and_the_cache_that_is_forecast_is_the_one_that_is_made(
    videos, tiny_backbone, tmp_path, capsys
):
    settings = ["--backbone", tiny_backbone, "--model.num_frames", 3, "--frames.height", 64]
    settings += ["--frames.width", 64]
    (videos / "c.mp4").unlink()
    out = inspected(capsys, videos, "--json", "--sheet", "null", *settings)
    report = json.loads(out)
    assert report["sheet"] is None
    assert report["num_videos"] == 2
    forecast = report["forecast"]
    assert (forecast["height"], forecast["num_frames"]) == (64, 3)
    assert forecast["encoding_seconds"] > 0
    prepare = ["--data", videos, "--out", tmp_path / "out", "--states", "none", *settings]
    assert main(["prepare", *map(str, prepare)]) == 0, capsys.readouterr().err
    tensors = sum(path.stat().st_size for path in (tmp_path / "out").glob("*-*.safetensors"))
    headers = 2000 * len(list((tmp_path / "out").iterdir()))
    assert tensors - headers < forecast["bytes_at_most"] < tensors


def test_a_sample_of_a_published_backbone_needs_nothing_and_says_what_it_is(videos, capsys):
    svd = "stabilityai/stable-video-diffusion-img2vid"
    out = inspected(capsys, videos, "--backbone", svd, "--sample", 2)
    assert "2 looked at, drawn by digests of the ids: lines with * are about those" in out
    assert "cannot be read *" in out
    assert "encoding not measured" in out
    assert "tokenizer is not on this machine" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["inspect"], "source"),
        (["look", "set"], "invalid choice: 'look'"),
        (["inspect", "nowhere"], "is not a folder"),
        (["inspect", "set", "--sample", "0"], "at least 1, or all, got 0"),
        (["inspect", "set", "--sample", "some"], "sample"),
        (["inspect", "set", "--sheet", "a.mp4"], "must end in .png. Try a.png"),
        (["inspect", "set", "--sheet", "no/a.png"], "mkdir -p 'no'"),
        (["inspect", "set", "--split", "test"], "no video of split 'test'"),
        (["inspect", "set", "--backbone", "nowhere"], "nowhere"),
        (["inspect", "https://localhost:1/x"], "localhost"),
        (["inspect", "nonsense://x"], "cannot be opened"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_leaves_nothing(videos, capsys, arguments, words):
    try:
        code = main(["data", *arguments])
    except SystemExit as end:  # the flags
        code = end.code
    said = capsys.readouterr()
    assert code == 2
    assert words in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert not list(videos.parent.glob("*.png"))


def test_videos_without_words_are_left_out_of_a_cache_and_said(
    videos, tiny_backbone, tmp_path, capsys
):
    (videos / "c.mp4").unlink()
    (videos / "b.txt").unlink()
    flags = ["--data", videos, "--backbone", tiny_backbone, "--states", "none",
             "--model.num_frames", 3, "--frames.height", 64, "--frames.width", 64]  # fmt: skip
    assert main(["prepare", "--out", str(tmp_path / "out"), *map(str, flags)]) == 0
    said = capsys.readouterr()
    assert "1 of 2 videos have no instruction and are left out, the first is 'b.webm'" in said.err
    assert "1 videos, 0 skipped" in said.out
    (videos / "a.txt").unlink()
    assert main(["prepare", "--out", str(tmp_path / "none"), *map(str, flags)]) == 2
    assert "2 of 2 videos have no instruction" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
