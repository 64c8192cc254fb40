"""Caches of windows and of held-out episodes: which frames are encoded, which rate is kept."""

import json
from dataclasses import replace

import pytest
import torch
from prepared import GREY, make
from videos import moving_square

from aid.cli import main
from aid.conditioning.states import choose_state_writer
from aid.config import FrameConfig, SourceConfig, to_json
from aid.data.cache import Cache
from aid.data.manifest import write_manifest
from aid.models.backbone import load_backbone
from aid.prepare import EncodingJob, prepare
from aid.types import State, VideoRow
from aid.video import to_float, write_mp4


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    """Two episodes of 3 s in the two halves of one file, and one of 1 s; 8 frames a second."""
    folder = tmp_path_factory.mktemp("episodes")
    write_mp4(folder / "two.mp4", moving_square(num_frames=48, step=1), 8.0, lossless=True)
    write_mp4(folder / "short.mp4", moving_square(num_frames=8, step=2), 8.0, lossless=True)
    states = [State(text="first half", first_frame=0, last_frame=11),
              State(text="second half", first_frame=12, last_frame=23)]  # fmt: skip
    facts = {"instruction": "push", "fps": 8.0, "height": 64, "width": 64}
    write_manifest(folder, [
        VideoRow(id="a", video="two.mp4", num_frames=24, stop=3.0, states=states, **facts),
        VideoRow(id="b", video="two.mp4", num_frames=24, start=3.0, stop=6.0, states=states,
                 **facts),
        VideoRow(id="c", video="short.mp4", num_frames=8, **facts),
    ])  # fmt: skip
    return folder


def command(data, out, backbone, *more):
    return main(["prepare", "--data", str(data), "--out", str(out), "--backbone", str(backbone),
                 "--model.num_frames", "3", *more])  # fmt: skip


def test_every_window_is_encoded_from_its_own_frames_and_keeps_the_rate(
    episodes, tiny_backbone, tmp_path, capsys
):
    out = tmp_path / "out"
    assert command(episodes, out, tiny_backbone, "--frames.fps=2", "--frames.windows=all") == 0
    said = capsys.readouterr().err
    assert "note: 5 windows of 1.5 s are cut from 3 videos and cover 100% of their time." in said
    assert "1 of 3 episodes are shorter than a window of 1.5 s" in said
    cache, parts = Cache(out), load_backbone(tiny_backbone, ("vae",))
    assert [row["id"] for row in cache.rows] == ["a@0ms", "a@1500ms", "b@0ms", "b@1500ms", "c@0ms"]
    whole, short = moving_square(num_frames=48, step=1), moving_square(num_frames=8, step=2)
    seen = [whole[[0, 4, 8]], whole[[12, 16, 20]], whole[[24, 28, 32]], whole[[36, 40, 44]],
            short[[0, 4, 7]]]  # fmt: skip
    batch = cache.batch([0, 1, 2, 3, 4])
    for latents, pixels in zip(batch.latents, seen, strict=True):
        assert torch.allclose(latents, parts.encode(to_float(pixels)[None])[0], atol=2e-3)
    assert batch.fps.tolist() == [2, 2, 2, 2, 2]
    assert cache.fps == 2
    sentences = json.loads((out / "sentences.json").read_text())
    states = [[sentences[number] for number in row["states"]] for row in cache.rows]
    assert states == [["first half"], ["second half"], ["first half"], ["second half"], []]


def test_a_data_set_that_is_read_here_is_cut_here(episodes, tiny_backbone, tmp_path):
    frames, states = FrameConfig(fps=2.0, windows=2), choose_state_writer("none")
    cache = make(episodes, tmp_path / "out", tiny_backbone, states=states, frames=frames, limit=1)
    assert [row["id"] for row in cache.rows] == ["a@0ms", "a@1875ms"]
    assert cache.settings["source"] == to_json(SourceConfig(limit=1))


def test_a_cache_says_how_its_data_was_read(episodes, tiny_backbone, tmp_path):
    out = tmp_path / "out"
    more = ("--frames.seconds=1.5", "--hold_out=0.4", "--hold_out_seed=3", "--fps=9")
    assert command(episodes, out, tiny_backbone, *more) == 0
    settings = Cache(out).settings
    assert settings["source"] == to_json(SourceConfig(hold_out=0.4, hold_out_seed=3, fps=9.0))
    assert settings["frames"] == to_json(FrameConfig(seconds=1.5))


def test_another_rate_is_another_cache(episodes, tiny_backbone, tmp_path, capsys):
    out, camera = tmp_path / "out", ["--limit=1", "--frames.windows=1"]
    assert command(episodes, out, tiny_backbone, "--frames.fps=0.5", *camera) == 0
    capsys.readouterr()
    assert command(episodes, out, tiny_backbone, "--frames.fps=0.4", *camera) == 2
    assert "made with frames.fps = 0.5, and 0.4 is requested" in capsys.readouterr().err


def test_held_out_episodes_are_never_in_the_cache_that_is_made_without_a_split(
    tiny_manifest, tiny_backbone, tmp_path
):
    made = {}
    for name, more in {"train": [], "held_out": ["--split=held_out"]}.items():
        more = ["--hold_out=0.4", *more]
        assert command(tiny_manifest, tmp_path / name, tiny_backbone, *more) == 0
        made[name] = {row["id"] for row in Cache(tmp_path / name).rows}
    assert all(made.values())
    assert made["train"] | made["held_out"] == {f"push-{i}" for i in range(6)}
    assert not made["train"] & made["held_out"]
    scenes = [{int(name[-1]) // 2 for name in names} for names in made.values()]
    assert not scenes[0] & scenes[1], "videos of one scene share their first frame"


def test_shards_of_whole_episodes_are_named_as_before_there_were_windows():
    """So that a cache which an earlier version began is gone on with."""
    job = EncodingJob(data="", out="", backbone="", backbone_id="", condition=GREY, num_frames=3,
              frames=FrameConfig(height=64), height=64, width=48)  # fmt: skip
    frames = {"sampling": "uniform_index", "height": 64, "width": None}
    assert job.decoding() == {
        "frames": frames, "num_frames": 3, "num_given_frames": 1, "size": [64, 48],
    }  # fmt: skip
    windows = replace(job, frames=FrameConfig(height=64, seconds=1.5))
    assert windows.decoding()["frames"] == frames | {"rate": 2.0}


def test_rows_that_are_given_are_taken_as_they_are(episodes, tiny_backbone, tmp_path):
    row = VideoRow(id="x", video="two.mp4", instruction="push", num_frames=24, fps=8.0,
                   height=64, width=64, start=1.0, stop=2.0)  # fmt: skip
    prepare(
        episodes, tmp_path / "out", tiny_backbone, condition=GREY,
        num_frames=3, states=choose_state_writer("none"), rows=[row],
        frames=FrameConfig(fps=4.0, windows="all"),
    )  # fmt: skip
    assert [r["id"] for r in Cache(tmp_path / "out").rows] == ["x"]
