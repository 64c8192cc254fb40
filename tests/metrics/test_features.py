import json

import numpy as np
import pytest
import torch
from PIL import Image

from aid.metrics.features import features_of
from aid.metrics.protocol import choose_protocol
from aid.metrics.videos import VideoSet, find_videos
from aid.video import write_mp4, write_png

STRICT = choose_protocol("strict", 4, 1)


class Means:
    """An extractor that can be checked by hand: the mean of each colour."""

    name, hash, side, dim, is_tuned_to = "means", "abc", 16, 3, "nothing"
    kernel = (3, 1.0)

    def __init__(self):
        self.seen = 0

    def features(self, frames):
        self.seen += len(frames)
        return frames.mean((1, 3, 4))


@pytest.fixture
def folder(tmp_path):
    """Seven videos of random colours; 3.mp4 is no video and 5.mp4 is too short."""
    made = np.random.default_rng(0).integers(0, 256, (7, 4, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "real").mkdir()
    for number, pixels in enumerate(made):
        pixels = pixels[:2] if number == 5 else pixels
        write_mp4(tmp_path / f"real/{number}.mp4", pixels, 4.0, lossless=True)
    (tmp_path / "real/3.mp4").write_bytes(b"no video")
    (tmp_path / "real/notes.txt").write_text("not a video either")
    return tmp_path / "real", made


def test_unreadable_videos_are_named_and_the_others_kept_in_order(folder, tmp_path):
    path, pixels = folder
    found = features_of(find_videos(path, "real"), STRICT, Means(), tmp_path / "f", batch_size=3)
    assert found.names == ["0", "1", "2", "4", "6"]
    expected = (pixels[[0, 1, 2, 4, 6], 1:].astype(float) / 127.5 - 1).mean((1, 2, 3))
    assert np.allclose(found.features, expected, atol=1e-6)
    assert found.unreadable.keys() == {"3", "5"}
    assert "cannot be decoded" in found.unreadable["3"]
    assert found.unreadable["5"] == "it has 2 frames, the protocol compares 4"
    assert isinstance(found.features, np.memmap)
    assert np.array_equal(found.only(["6", "0"]), found.features[[4, 0]])


def test_a_killed_run_goes_on_and_a_changed_video_is_seen(folder, tmp_path):
    path, _ = folder
    videos, whole = find_videos(path, "real"), Means()
    expected = np.array(features_of(videos, STRICT, whole, tmp_path / "whole").features)

    class Killed(Means):
        def features(self, frames):
            if self.seen:
                raise KeyboardInterrupt
            return super().features(frames)

    with pytest.raises(KeyboardInterrupt):
        features_of(videos, STRICT, Killed(), tmp_path / "f", batch_size=2)
    # Killed between the two files: rows that no line speaks of, and half a line.
    with (tmp_path / "f.f32").open("ab") as file:
        file.write(b"\0" * 12)
    with (tmp_path / "f.jsonl").open("a") as file:
        file.write('{"name": "2", "st')
    second = Means()
    found = features_of(videos, STRICT, second, tmp_path / "f", batch_size=2)
    assert np.allclose(found.features, expected, atol=1e-6) and second.seen == 3
    third = Means()
    features_of(videos, STRICT, third, tmp_path / "f")
    assert third.seen == 0

    write_mp4(path / "4.mp4", np.zeros((4, 16, 16, 3), np.uint8), 4.0, lossless=True)
    again = features_of(videos, STRICT, Means(), tmp_path / "f")
    assert np.allclose(again.features[again.names.index("4")], -1)
    lines = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == [str(n) for n in range(7)]


def test_pictures_of_a_folder_are_a_video_sorted_as_people_count(tmp_path):
    for name in ("frame10", "frame2", "frame1", "frame0"):
        (tmp_path / "a").mkdir(exist_ok=True)
        grey = np.full((16, 16, 3), 10 * int(name[5:]), np.uint8)
        write_png(tmp_path / f"a/{name}.png", Image.fromarray(grey))
    videos = find_videos(tmp_path, "real")
    assert videos.read("a")[:, 0, 0, 0].tolist() == [0, 10, 20, 100]
    write_png(tmp_path / "a/frame3.png", Image.fromarray(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(ValueError, match="several sizes"):
        videos.read("a")


def test_folders_without_videos_and_double_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere' does not exist"):
        find_videos(tmp_path / "nowhere", "real")
    with pytest.raises(ValueError, match=r"holds no video.*\.mp4"):
        find_videos(tmp_path, "real")
    for name in ("a.mp4", "a.gif"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="two videos named 'a'"):
        find_videos(tmp_path, "real")


def test_the_split_hash_changes_with_a_name_and_with_a_byte(folder):
    path, _ = folder
    videos = find_videos(path, "real")
    before = videos.hash()
    renamed = VideoSet(
        title="real", paths={"x": path / "0.mp4"} | dict(list(videos.paths.items())[1:])
    )
    assert renamed.hash() != before
    (path / "3.mp4").write_bytes(b"no video!")
    assert videos.hash() != before


def test_batches_are_of_the_asked_size_and_progress_counts_every_video(folder, tmp_path):
    path, _ = folder
    sizes, steps = [], []

    class Sizes(Means):
        def features(self, frames):
            sizes.append(len(frames))
            assert frames.shape[1:] == (3, 3, 16, 16) and frames.dtype == torch.float32
            return super().features(frames)

    def tell(done, total):
        steps.append((done, total))

    videos = find_videos(path, "real")
    features_of(videos, STRICT, Sizes(), tmp_path / "f", batch_size=4, on_video=tell)
    assert sizes == [3, 2] and steps == [(4, 7), (7, 7)]
