import pytest
from layouts import write_frames, write_json, write_video

from aid.config import SourceConfig
from aid.data.sources import read_source


def write_episode(folder, split, number, texts, cameras=1, **more):
    """An episode as VPP and Ctrl-World lay it out."""
    paths = [f"videos/{split}/{number}/{camera}.mp4" for camera in range(cameras)]
    for path in paths:
        write_video(folder / path)
    told = {"texts": texts, "episode_id": number, "videos": [{"video_path": p} for p in paths]}
    write_json(folder / f"annotation/{split}/{number}.json", told | {"state": [[0.0]]} | more)


def test_episodes_have_a_row_per_camera_and_their_texts_as_wordings(tmp_path):
    write_episode(tmp_path, "train", 10, ["push it ", "shove it"], cameras=3)
    write_episode(tmp_path, "train", 9, ["lift it"])
    write_episode(tmp_path, "val", 9, ["öffne die Tür"], success=0)
    source = read_source(tmp_path)
    assert source.format == "annotation"
    assert [(r.id, r.split, r.camera, r.instruction) for r in source.rows] == [
        ("train/9", "train", "", "lift it"),
        ("train/10/0", "train", "0", "push it"),
        ("train/10/1", "train", "1", "push it"),
        ("train/10/2", "train", "2", "push it"),
        ("val/9", "val", "", "öffne die Tür"),
    ]
    row = source.rows[2]
    assert (row.video, row.num_frames, row.fps) == ("videos/train/10/1.mp4", 5, 4.0)
    assert row.wordings == ["push it", "shove it"]
    assert {r.world["episode"] for r in source.rows[1:4]} == {"train/10"}
    assert any("1 episodes are marked as failed" in note for note in source.notes)
    assert [r.id for r in read_source(tmp_path, SourceConfig(camera="2")).rows] == ["train/10/2"]


@pytest.mark.parametrize(
    "told",
    [
        {"videos": ["videos/test/1/rgb.mp4"], "text": "push"},
        {"video_path": "videos/test/1/rgb.mp4", "texts": ["push"]},
        {"videos": [{"video_path": "/other/disk/set/videos/test/1/rgb.mp4"}], "texts": ["push"]},
    ],
)
def test_the_forms_of_other_trainers_are_read(tmp_path, told):
    write_video(tmp_path / "videos/test/1/rgb.mp4")
    write_json(tmp_path / "annotation/test/1.json", told)
    (row,) = read_source(tmp_path).rows
    assert (row.id, row.video, row.instruction) == ("test/1", "videos/test/1/rgb.mp4", "push")


def test_missing_videos_and_episodes_without_captions_are_counted(tmp_path):
    write_episode(tmp_path, "train", 1, [], cameras=2)
    (tmp_path / "videos/train/1/1.mp4").unlink()
    source = read_source(tmp_path)
    notes = " ".join(source.notes)
    assert len(source.rows) == 1
    assert "1 videos of camera 1 that annotations name do not exist (the first: 'videos/" in notes
    assert "1 videos have no instruction" in notes


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"videos": [{"video": "a.mp4"}], "texts": ["x"]}, "needs videos, each with a video_path"),
        ({"videos": [], "texts": ["x"]}, "needs videos"),
        ({"videos": [{"video_path": "../a.mp4"}], "texts": ["x"]}, "outside the folder"),
        ({"videos": [{"video_path": "/etc/passwd"}], "texts": ["x"]}, "outside the folder"),
        ({"videos": [{"video_path": "a.mp4"}], "texts": [7]}, "text as texts"),
    ],
)
def test_a_malformed_annotation_is_refused_by_name(tmp_path, told, sentence):
    write_json(tmp_path / "set/annotation/train/1.json", told)
    with pytest.raises(ValueError, match=sentence):
        read_source(tmp_path / "set")


def test_numbered_folders_of_videos_are_not_read_as_seers_frames(tmp_path):
    for split, number in (("train", 1), ("val", 2)):
        write_video(tmp_path / f"videos/{split}/{number}/0.mp4")
    assert read_source(tmp_path).format == "captions"
    write_frames(tmp_path / "rawframes/put_it_down/0", "img_{:05d}.jpg")
    assert read_source(tmp_path).format == "bridge-seer"
