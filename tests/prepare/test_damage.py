"""Videos and shards that are damaged."""

import json
import shutil

import pytest
from PIL import Image
from prepared import GREY, contents, make

from aid.conditioning.states import choose_state_writer
from aid.data.cache import Cache
from aid.data.manifest import read_manifest
from aid.prepare import prepare


def test_damaged_videos_stop_the_work_or_are_skipped_and_counted(
    tiny_manifest, tiny_backbone, tmp_path
):
    data = shutil.copytree(tiny_manifest, tmp_path / "data")
    (data / "videos/1.mp4").write_bytes(b"")
    (data / "videos/4.mp4").unlink()
    with pytest.raises(ValueError, match=r"videos/1\.mp4.*--skip_corrupt"):
        make(data, tmp_path / "out", tiny_backbone)
    assert not (tmp_path / "out").exists(), "the first shard was not finished"
    for _ in range(2):  # made, and found finished
        result = prepare(
            data, tmp_path / "out", tiny_backbone, condition=GREY, num_frames=3,
            states=choose_state_writer("replay", read_manifest(data)), skip_corrupt=True,
        )  # fmt: skip
        assert result.num_videos == 4
        assert [name for name, _ in result.skipped] == ["push-1", "push-4"]
    cache = Cache(tmp_path / "out")
    assert [row["id"] for row in cache.rows] == ["push-0", "push-2", "push-3", "push-5"]
    sentences = json.loads((tmp_path / "out/sentences.json").read_text())
    said = [[sentences[number] for number in row["states"]][-1] for row in cache.rows]
    assert said == ["ball left", "ball left", "ball right", "ball right"]
    (tmp_path / "out/cache.json").rename(tmp_path / "out/in_progress.json")
    with pytest.raises(ValueError, match="--skip_corrupt"):
        make(data, tmp_path / "out", tiny_backbone)


def test_a_data_set_of_only_damaged_videos_is_refused(tiny_manifest, tiny_backbone, tmp_path):
    data = shutil.copytree(tiny_manifest, tmp_path / "data")
    for path in (data / "videos").iterdir():
        path.write_bytes(b"no video")
    with pytest.raises(ValueError, match="all 6 videos are damaged"):
        make(data, tmp_path / "out", tiny_backbone, skip_corrupt=True)


def test_a_damaged_shard_is_made_again(finished, tiny_manifest, tiny_backbone, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "cache.json").rename(out / "in_progress.json")
    shard = next(iter(out.glob("videos-*")))
    shard.write_bytes(shard.read_bytes()[:-7])
    make(tiny_manifest, out, tiny_backbone)
    assert contents(out) == contents(finished)


def test_what_was_done_to_files_is_noted_once_per_kind(tiny_manifest, tiny_backbone, tmp_path):
    data = shutil.copytree(tiny_manifest, tmp_path / "data")
    for number in (1, 4):  # a frame is taken out: the times between frames vary
        path = data / f"videos/{number}.mp4"
        frames = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), "red")
        times = {"duration": [100, 700, 100], "save_all": True}
        frames[0].save(tmp_path / "a.gif", append_images=[*frames[1:], frames[0]], **times)
        path.write_bytes((tmp_path / "a.gif").read_bytes())
    for _ in range(2):  # made, and found finished
        result = prepare(
            data, tmp_path / "out", tiny_backbone, condition=GREY, num_frames=3,
            states=choose_state_writer("replay", read_manifest(data)),
        )  # fmt: skip
        (line,) = result.notes
        assert line.startswith("2 videos, the first is 'push-1': the times between frames vary")
    assert json.loads((tmp_path / "out/cache.json").read_text())["notes"] == [line]
