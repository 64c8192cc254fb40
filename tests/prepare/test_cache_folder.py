"""What is refused before anything is encoded, and what is left alone."""

import shutil
from dataclasses import replace

import pytest
from backbones import build_tiny_backbone
from prepared import GREY, contents, make
from videos import moving_square

from aid.conditioning.states import choose_state_writer
from aid.config import FrameConfig, SourceConfig
from aid.data.cache import Cache
from aid.data.manifest import read_manifest, write_manifest
from aid.prepare import cache_folder as cache_folder_module
from aid.video import write_mp4


def test_a_video_that_changed_makes_the_cache_stale_by_name(
    finished, tiny_manifest, tiny_backbone, tmp_path
):
    data, out = shutil.copytree(tiny_manifest, tmp_path / "data"), tmp_path / "out"
    shutil.copytree(finished, out)
    make(data, out, tiny_backbone)  # the same bytes elsewhere are the same videos
    write_mp4(data / "videos/3.mp4", moving_square(start=9), fps=4.0)
    with pytest.raises(ValueError, match=r"stale: video 'videos/3\.mp4' has changed"):
        make(data, out, tiny_backbone)
    (out / "cache.json").rename(out / "in_progress.json")  # as if killed before it was finished
    make(data, out, tiny_backbone)
    assert len(list(out.glob("videos-*"))) == 3, "the old shard is gone"
    same = contents(finished).keys() & contents(out).keys()
    assert len([name for name in same if name.startswith("videos-")]) == 2, "others are kept"


def test_other_settings_are_refused_by_name(
    finished, tiny_manifest, tiny_backbone, tmp_path_factory, tmp_path
):
    other = build_tiny_backbone(tmp_path_factory.mktemp("backbones") / "other", seed=1)
    with pytest.raises(ValueError, match="made with backbone"):
        make(tiny_manifest, finished, other)
    with pytest.raises(ValueError, match="made with num_frames = 3, and 4 is requested"):
        make(tiny_manifest, finished, tiny_backbone, num_frames=4)
    with pytest.raises(ValueError, match="made with frame_condition"):
        make(tiny_manifest, finished, tiny_backbone, replace(GREY, frame_condition="zero_latents"))
    with pytest.raises(
        ValueError, match="made with state_writer = 'replay', and 'none' is requested"
    ):
        make(tiny_manifest, finished, tiny_backbone, states=choose_state_writer("none"))
    with pytest.raises(ValueError, match="made with limit = None, and 2 is requested"):
        make(tiny_manifest, finished, tiny_backbone, states=choose_state_writer("none"), limit=2)
    held_out = SourceConfig(hold_out=0.3)
    with pytest.raises(ValueError, match=r"made with hold_out = 0\.0, and 0\.3 is requested"):
        make(tiny_manifest, finished, tiny_backbone, selection=held_out)
    changed = tmp_path / "changed"
    shutil.copytree(tiny_manifest, changed)
    write_manifest(changed, [replace(row, fps=5.0) for row in read_manifest(tiny_manifest)])
    with pytest.raises(ValueError, match="made with manifest"):
        make(changed, finished, tiny_backbone)


def test_a_folder_with_other_files_is_refused(tiny_manifest, tiny_backbone, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="neither empty nor a cache"):
        make(tiny_manifest, tmp_path, tiny_backbone)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_cache_that_cannot_fit_is_refused_before_work(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        cache_folder_module.shutil, "disk_usage", lambda path: usage._replace(free=100)
    )
    with pytest.raises(ValueError, match=r"at least 0\.00 GB.*Make room"):
        make(tiny_manifest, tmp_path / "out", tiny_backbone)


def test_videos_without_an_instruction_are_refused(tiny_manifest, tiny_backbone, tmp_path):
    rows = read_manifest(tiny_manifest)
    rows[2] = replace(rows[2], instruction="")
    (tmp_path / "data").mkdir()
    write_manifest(tmp_path / "data", rows)
    with pytest.raises(ValueError, match=r"1 of 6 videos have no instruction.*'push-2'"):
        make(tmp_path / "data", tmp_path / "out", tiny_backbone)
    assert not (tmp_path / "out").exists()


def test_an_unsupported_size_is_refused_with_a_supported_one(
    tiny_manifest, tiny_backbone, tmp_path
):
    rows = [replace(row, height=51, width=66) for row in read_manifest(tiny_manifest)]
    states = choose_state_writer("replay", rows)
    with pytest.raises(ValueError, match=r"--frames\.height 48 --frames\.width 64"):
        make(tiny_manifest, tmp_path / "out", tiny_backbone, rows=rows, states=states)
    with pytest.raises(ValueError, match="multiple of 8, got 51"):
        FrameConfig(height=51)
    frames = FrameConfig(height=48, width=64)
    make(tiny_manifest, tmp_path / "out", tiny_backbone, rows=rows, states=states, frames=frames)
    assert Cache(tmp_path / "out").batch([0]).latents.shape == (1, 3, 4, 6, 8)
