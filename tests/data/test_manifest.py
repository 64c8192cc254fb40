import json

import pytest

from aid.data.manifest import MANIFEST, read_manifest, write_manifest
from aid.types import State, VideoRow


def row(**changes):
    values = {
        "id": "a",
        "video": "videos/a.mp4",
        "instruction": "push the red block to the left",
        "num_frames": 16,
        "fps": 4.0,
        "height": 64,
        "width": 64,
        "states": [State(text="the gripper rises", first_frame=3, last_frame=15)],
        "world": {"scene": 7, "items": [{"name": "red block"}]},
    }
    return VideoRow(**(values | changes))


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    rows = [row(), row(id="b", instruction="hebe den roten Würfel", states=[], wordings=["x", "y"])]
    write_manifest(tmp_path, rows)
    assert read_manifest(tmp_path) == rows
    assert [p.name for p in tmp_path.iterdir()] == [MANIFEST]


def test_a_missing_manifest_is_refused_with_the_page_that_says_how_to_make_one(tmp_path):
    with pytest.raises(ValueError, match=r"docs/data\.md says how to make one"):
        read_manifest(tmp_path)


def test_an_empty_manifest_is_refused(tmp_path):
    write_manifest(tmp_path, [])
    with pytest.raises(ValueError, match="is empty"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", ["{", "[1, 2]", "7", "not json"])
def test_a_line_that_is_not_an_object_is_refused_by_number(tmp_path, line):
    good = json.dumps(row().to_json())
    (tmp_path / MANIFEST).write_text(f"{good}\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        read_manifest(tmp_path)


def test_an_unknown_provenance_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_text(json.dumps(row().to_json() | {"states_see": "dreams"}))
    with pytest.raises(ValueError, match=r"'a' is malformed.*(\n.*)*states_see"):
        read_manifest(tmp_path)


def test_a_missing_or_unknown_key_is_refused_by_name(tmp_path):
    values = row().to_json()
    del values["fps"]
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"'a'.*fps"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(row().to_json() | {"prompt": "x"}))
    with pytest.raises(ValueError, match=r"'a'.*prompt"):
        read_manifest(tmp_path)
    values = row().to_json()
    del values["states"][0]["first_frame"]
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"'a'.*first_frame"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("video", ["../a.mp4", "/etc/passwd", "videos/../../a.mp4"])
def test_a_video_outside_the_folder_is_refused(tmp_path, video):
    write_manifest(tmp_path, [row(video=video)])
    with pytest.raises(ValueError, match="outside the folder"):
        read_manifest(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.mp4").write_text("x")
    (tmp_path / "data/a.mp4").symlink_to(tmp_path / "secret.mp4")
    write_manifest(tmp_path / "data", [row(video="a.mp4")])
    with pytest.raises(ValueError, match="outside the folder"):
        read_manifest(tmp_path / "data")
