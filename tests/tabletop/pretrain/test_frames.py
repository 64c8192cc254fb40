from dataclasses import replace

import numpy as np
import pytest
import torch

from aid.data.manifest import read_manifest
from aid.tabletop.pretrain.frames import as_floats, evenly_from_sets, load_videos
from aid.video import read_video, write_mp4


def test_videos_come_whole_and_in_order(play):
    rows = read_manifest(play)[:5]
    videos = load_videos(play, rows)
    assert videos.shape == (5, 4, 3, 32, 32)
    wanted = np.moveaxis(read_video(play / rows[3].video), -1, 1)
    assert np.array_equal(videos[3].numpy(), wanted)
    assert torch.equal(load_videos(play, rows, frames=[0, -1]), videos[:, [0, -1]])


def test_a_video_of_another_shape_is_refused_by_name(play, tmp_path):
    rows = read_manifest(play)[:2]
    (tmp_path / "videos").mkdir()
    for row, frames in zip(rows, (4, 3), strict=True):
        write_mp4(tmp_path / row.video, read_video(play / row.video)[:frames], 4.0, lossless=True)
    with pytest.raises(ValueError, match=r"videos/1\.mp4.*one shape"):
        load_videos(tmp_path, rows)


@pytest.mark.parametrize(
    ("number", "counts"),
    [(12, [4, 4, 4]), (30, [20, 5, 5]), (2, [1, 0, 1]), (1000, [60, 5, 5])],
)
def test_joined_data_sets_give_equally_many_videos(play, number, counts):
    row = read_manifest(play)[0]
    sizes = {"a": 60, "b": 5, "c": 5}
    rows = [replace(row, video=f"{s}/videos/{i}.mp4") for s, n in sizes.items() for i in range(n)]
    chosen = evenly_from_sets(rows, number)
    assert [sum(r.video.startswith(name) for r in chosen) for name in sizes] == counts
    assert [row for row in rows if row in chosen] == chosen


def test_bytes_become_floats_from_minus_one_to_one():
    assert as_floats(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
