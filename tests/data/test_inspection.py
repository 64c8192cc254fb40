import json
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import fsspec
import numpy as np
import pytest
from layouts import write_frames, write_lerobot_v3, write_video

from aid.config import FrameConfig, SourceConfig
from aid.data.inspection import inspect
from aid.data.manifest import write_manifest
from aid.data.sources import list_source
from aid.types import State, VideoRow
from aid.video import write_mp4


def row(name, **changes):
    values = {"id": name, "video": name, "instruction": "push", "num_frames": 0, "fps": 0.0}
    return VideoRow(**(values | {"height": 0, "width": 0} | changes))


def seen(folder, sample=None, frames=None, count_tokens=None, **asked):
    return inspect(
        list_source(str(folder), SourceConfig(**asked)),
        frames=frames or FrameConfig(), num_frames=4, sample=sample,
        count_tokens=count_tokens, max_tokens=6,
    )  # fmt: skip


def count_words(sentences):
    return [2 + len(sentence.split()) for sentence in sentences]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four codecs, a folder of frames, a still video, a copy in another split, and damage."""
    folder = tmp_path_factory.mktemp("mixed")
    whole = write_video(folder / "a.mp4", num_frames=9, fps=30)
    write_video(folder / "b.webm", num_frames=12, fps=12)
    write_video(folder / "c.avi")
    write_video(folder / "d.mov")
    write_frames(folder / "e", "{}.png", num_frames=3)
    write_video(folder / "still.mp4", step=0)
    shutil.copy(whole, folder / "copy.mp4")
    (folder / "half.mp4").write_bytes(whole.read_bytes()[:900])
    (folder / "empty.mp4").touch()
    said = {"a.mp4": "push it", "b.webm": "lift the small red box up now", "c.avi": "", "e": " "}
    states = [State(text="the box", first_frame=0, last_frame=2)]
    train = [
        row(name, split="train", camera="top", instruction=said.get(name, "push"))
        for name in ("a.mp4", "b.webm", "c.avi", "d.mov", "e", "still.mp4")
    ]
    train[0] = row("a.mp4", split="train", camera="top", instruction="push it", states=states)
    val = [
        row(name, split="val", camera="side")
        for name in ("copy.mp4", "half.mp4", "empty.mp4", "gone.mp4")
    ]
    write_manifest(folder, [*train, *val])
    return folder


def test_all_rows_are_counted_and_all_faults_are_named(mixed):
    report, shown = seen(mixed, count_tokens=count_words)
    assert report["num_videos"] == report["looked_at"]["number"] == 10
    assert report["splits"] == {"train": 6, "val": 4}
    assert report["cameras"] == {"top": 6, "side": 4}
    assert report["lengths"] == {"known": 7, "least": 3, "median": 5, "most": 12}
    assert report["seconds"]["known"] == 6  # nobody knows the rate of the folder of frames
    assert report["seconds"]["least"] == pytest.approx(0.3)
    assert report["rates"] == [(4.0, 3), (30.0, 2), (12.0, 1)]
    assert report["sizes"] == [(64, 48, 7)]
    assert (report["windows"]["number"], report["windows"]["known"]) == (10, 6)
    assert report["windows"]["seconds"] == pytest.approx([0.3, 1.25])
    assert report["instructions"] == {
        "distinct": 3, "empty": 2, "sentences": 5, "max_tokens": 6, "longest": 9, "too_long": 1,
        "words": "lift the small red box up now", "tokens": 2 + 4 + 6 + 3 + 2 + 4,
    }  # fmt: skip
    assert report["corrupt"]["number"] == 3
    reasons = {one["id"]: one["reason"] for one in report["corrupt"]["videos"]}
    assert "does not exist" in reasons.pop("gone.mp4")
    assert reasons.keys() == {"half.mp4", "empty.mp4"}
    assert all("cannot be decoded" in reason for reason in reasons.values())
    assert report["still"] == {"number": 1, "videos": ["still.mp4"]}
    assert report["suspected_bgr"] == []
    across = report["across_splits"]
    assert (across["number"], across["compared"]) == (1, "all videos")
    assert across["videos"] == [
        {"first": "a.mp4", "last": "copy.mp4", "number": 2, "splits": "train,val"}
    ]
    assert (report["looked_at"]["height"], report["looked_at"]["width"]) == (48, 64)
    assert len(shown) == 7
    assert shown[0][0] == "a.mp4: push it"
    assert shown[2][0] == "c.avi: (no instruction)"
    assert shown[0][1].shape == (8, 48, 64, 3)
    json.dumps(report)


def test_a_sample_is_reproducible_and_lists_are_counted_completely(mixed):
    report, _ = seen(mixed, sample=3)
    assert report["looked_at"]["number"] == 3
    assert report["num_videos"] == 10
    assert report["lengths"]["known"] <= 3
    assert report["across_splits"]["number"] == 1, "bytes are compared however few are decoded"
    assert report["instructions"]["longest"] is None
    again, _ = seen(mixed, sample=3)
    for one in (report, again):
        del one["looked_at"]["seconds"]
    assert again == report
    for most in (10, 99):
        assert seen(mixed, sample=most)[0]["looked_at"]["drawn"] == "all"
    with pytest.raises(ValueError, match="at least 1, or all, got 0"):
        seen(mixed, sample=0)


def test_decoding_stops_at_the_time_limit_with_a_note(tmp_path):
    for number in range(9):
        write_video(tmp_path / f"{number}.mp4", num_frames=4 + number)
    listing = list_source(str(tmp_path))
    report, shown = inspect(listing, frames=FrameConfig(), num_frames=4, seconds=0.0, num_threads=2)
    assert report["num_videos"] == 9
    assert report["looked_at"]["number"] == 2
    assert report["looked_at"]["drawn"] == "by digests of the ids, as many as 0 s allowed"
    assert report["lengths"]["known"] == 2
    assert shown[0][0].startswith("0.mp4"), "the first video says the size"
    listing = list_source(str(tmp_path))
    report, shown = inspect(listing, frames=FrameConfig(), num_frames=4, seconds=60.0)
    assert report["looked_at"]["drawn"] == "all"
    assert [caption[:5] for caption, _ in shown] == [f"{n}.mp4" for n in range(9)]


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9", "libsvtav1", "mpeg4", "mjpeg"])
def test_small_motion_is_distinguished_from_codec_noise(tmp_path, codec):
    """A square of 12 pixels moves by one; the flicker of poor MPEG-4 and MJPEG counts as motion."""
    suffix = {"libvpx-vp9": ".webm", "mpeg4": ".avi", "mjpeg": ".mov"}.get(codec, ".mp4")
    write_video(tmp_path / f"still{suffix}", num_frames=8, codec=codec, step=0)
    write_video(tmp_path / f"moves{suffix}", num_frames=8, codec=codec, step=1)
    report, _ = seen(tmp_path)
    assert f"moves{suffix}" not in report["still"]["videos"]
    if codec not in ("mpeg4", "mjpeg"):
        assert report["still"] == {"number": 1, "videos": [f"still{suffix}"]}


def scene(number, is_swapped):
    """A brown table, a hand's colour, grey walls; something blue on the table, and it moves."""
    rng = np.random.default_rng(number)
    pixels = rng.normal((150, 148, 145), 6, (5, 64, 64, 3))
    pixels[:, 30:] = rng.normal((160, 115, 70), 10, (5, 34, 64, 3))
    for frame in range(5):
        pixels[frame, 35:45, 10 + 4 * frame : 20 + 4 * frame] = (220, 170, 140)
        pixels[frame, 48:60, 40:52] = (40, 60, 200)
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1]) if is_swapped else pixels


def test_swapped_red_and_blue_are_suspected_for_the_right_camera(tmp_path):
    rows = []
    for number in range(6):
        camera = ("top", "wrist")[number % 2]
        write_mp4(tmp_path / f"{number}.mp4", scene(number, camera == "wrist"), fps=4.0)
        rows.append(row(f"{number}.mp4", camera=camera))
    write_manifest(tmp_path, rows)
    report, _ = seen(tmp_path)
    assert report["suspected_bgr"] == ["wrist"]
    assert report["colours"]["wrist"]["cold"] == pytest.approx(
        report["colours"]["top"]["warm"], abs=0.03
    )


def test_a_grey_world_and_a_blue_object_are_not_suspected(mixed, tmp_path):
    assert seen(mixed)[0]["suspected_bgr"] == []
    pixels = np.full((4, 64, 64, 3), 120, np.uint8)
    pixels[:, 20:28, 20:28] = (30, 40, 200)
    write_mp4(tmp_path / "a.mp4", pixels, fps=4.0)
    assert seen(tmp_path)[0]["suspected_bgr"] == []


def test_spans_of_one_file_are_separate_videos(tmp_path):
    write_lerobot_v3(tmp_path)
    report, shown = seen(tmp_path, camera="wrist")
    assert report["format"] == "lerobot"
    assert report["num_videos"] == 3
    assert (report["lengths"]["least"], report["lengths"]["most"]) == (4, 6)
    assert report["corrupt"]["number"] == 0
    assert report["cameras"] == {"observation.images.wrist": 3}
    assert len(shown) == 3


def test_archives_are_unpacked_temporarily(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mp4")
    for split in ("train", "val"):
        (tmp_path / "set" / split).mkdir(parents=True)
        with tarfile.open(tmp_path / "set" / split / "0.tar", "w") as tar:
            tar.add(video, f"{split}.mp4")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    report, shown = seen(tmp_path / "set")
    assert report["splits"] == {"train": 1, "val": 1}
    assert report["across_splits"]["number"] == 1
    assert report["across_splits"]["compared"] == "the decoded videos"
    assert len(shown) == 2
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "user").exists()


def test_a_data_set_behind_a_url_is_inspected(mixed):
    fsspec.filesystem("memory").put(str(mixed), "/mixed", recursive=True)
    report, shown = seen("memory://mixed")
    local, _ = seen(mixed)
    for key in ("num_videos", "splits", "still", "suspected_bgr"):
        assert report[key] == local[key], key
    assert report["corrupt"]["number"] == 3
    assert report["across_splits"]["videos"] == local["across_splits"]["videos"]
    assert len(shown) == 7


def test_frames_are_decoded_at_the_requested_size(mixed):
    report, shown = seen(mixed, frames=FrameConfig(height=32, width=40))
    assert (report["looked_at"]["height"], report["looked_at"]["width"]) == (32, 40)
    assert shown[0][1].shape == (8, 32, 40, 3)


def test_hostile_rows_are_counted_separately(tmp_path):
    write_video(tmp_path / "a.mp4")
    words = ["'; DROP TABLE rows; --", "\x00\x1b[31m", "箱を押す", "🤖" * 5000, "a\nb", '"', "%s"]
    rows = [
        row(f"{number}", video="a.mp4", instruction=text, split=text[:9], camera=text[:9])
        for number, text in enumerate(words)
    ]
    rows += [row("same", video="a.mp4", num_frames=10**15), row("same", video="a.mp4")]
    write_manifest(tmp_path, rows)
    report, shown = seen(tmp_path, count_tokens=count_words)
    assert report["num_videos"] == 9
    assert report["instructions"]["distinct"] == len(words) + 1
    assert report["repeated_ids"] == ["same"]
    assert report["across_splits"]["number"] == 1
    assert len(shown) == 9
    assert all(len(caption) <= 200 and "\n" not in caption for caption, _ in shown)


def test_an_invalid_manifest_raises_one_sentence(tmp_path):
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row("a", num_frames=1).to_json()) + "\n{\n")
    with pytest.raises(ValueError, match="line 2: is not valid JSON"):
        seen(tmp_path)
    values = row("a").to_json() | {"num_frames": 10**400}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="is malformed: num_frames"):
        seen(tmp_path)


def test_memory_does_not_grow_with_the_set(tmp_path):
    """Eight times as many rows, their words all different, take no quarter of a megabyte more."""
    peaks = []
    for number in (250, 2000):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = (
            row(f"{n}.mp4", instruction=f"put number {n} away " * 5, split=("train", "val")[n % 2])
            for n in range(number)
        )
        write_manifest(folder, rows)
        tracemalloc.start()
        report, _ = seen(folder, sample=1, count_tokens=count_words)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report["instructions"]["distinct"] == number
    assert peaks[1] < peaks[0] + 250_000, peaks
    assert Path(tmp_path / "2000/manifest.jsonl").stat().st_size > 700_000
