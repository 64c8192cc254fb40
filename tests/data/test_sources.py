import json
import os

import pytest
from layouts import write_frames, write_json, write_video
from videos import moving_square

from aid.config import SourceConfig
from aid.data.formats import FORMATS
from aid.data.manifest import write_manifest
from aid.data.sources import read_source
from aid.types import VideoRow
from aid.video import write_mp4


def row(**changes):
    values = {"id": "a", "video": "a.mp4", "instruction": "push", "num_frames": 5, "fps": 4.0}
    return VideoRow(**(values | {"height": 64, "width": 64} | changes))


def test_a_folder_without_any_video_is_refused_with_the_formats_that_were_looked_for(tmp_path):
    with pytest.raises(ValueError, match="Looked for: manifest") as caught:
        read_source(tmp_path)
    assert all(f"{one.name} ({one.mark})" in str(caught.value) for one in FORMATS)


def test_a_plain_folder_of_videos_needs_no_captions(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square(), fps=4.0)
    source = read_source(tmp_path)
    (made,) = source.rows
    assert (source.format, made.video, made.instruction) == ("captions", "a.mp4", "")
    assert (made.num_frames, made.fps, made.height, made.width) == (5, 4.0, 64, 64)
    assert source.notes == ["1 videos have no instruction (the first: 'a.mp4')."]


def test_a_manifest_comes_before_everything_else_and_its_rows_are_as_written(tmp_path):
    rows = [row(), row(id="b", camera="left", split="test", start=0.5, stop=1.0)]
    write_manifest(tmp_path, rows)
    write_json(tmp_path / "meta/info.json", {})
    source = read_source(tmp_path)
    assert (source.format, source.rows) == ("manifest", rows)
    assert [
        r.id for r in read_source(tmp_path, SourceConfig(split="test", camera="left")).rows
    ] == ["b"]
    assert [r.id for r in read_source(tmp_path, SourceConfig(limit=1)).rows] == ["a"]


def test_a_camera_is_selected_by_the_end_of_its_name_and_several_are_noted(tmp_path):
    names = ["observation.images.front.rgb", "observation.images.wrist.rgb"]
    write_manifest(tmp_path, [row(id=name, camera=name) for name in names])
    for asked in ("front.rgb", "images.front.rgb", names[0]):
        source = read_source(tmp_path, SourceConfig(camera=asked))
        assert [r.id for r in source.rows] == names[:1]
        assert not source.notes
    source = read_source(tmp_path, SourceConfig(camera="rgb"))
    assert [r.id for r in source.rows] == names
    assert any("'rgb' is the end of several names" in note for note in source.notes)
    with pytest.raises(ValueError, match="no video of camera 'gb'"):
        read_source(tmp_path, SourceConfig(camera="gb"))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"split": "trian"}, r"no video of split 'trian'. It has: 'test'"),
        ({"camera": "right"}, r"no video of camera 'right'. It has: 'left'"),
        ({"format": "lerobt"}, r"format 'lerobt' is unknown. Choose one of manifest, lerobot"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"fps": -1.0}, "fps must be above 0"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(tmp_path, asked, sentence):
    write_manifest(tmp_path, [row(camera="left", split="test")])
    with pytest.raises(ValueError, match=sentence):
        read_source(tmp_path, SourceConfig(**asked))


@pytest.mark.parametrize("source", ["nothing-here", "a\0b", "x" * 5000, ""])
def test_a_place_that_is_not_a_folder_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    if source:
        with pytest.raises(ValueError, match=r"is not a folder|is not a path"):
            read_source(source)
    else:  # "" is the folder one stands in
        with pytest.raises(ValueError, match="has no known format"):
            read_source(source)


def test_links_and_frames_that_lead_out_of_the_folder_are_refused(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    secret = write_video(tmp_path / "secret.mp4")
    (folder / "a.mp4").symlink_to(secret)
    with pytest.raises(ValueError, match="outside the folder"):
        read_source(folder)
    (folder / "a.mp4").unlink()
    write_video(folder / "b.mp4")
    (folder / "b.txt").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match=r"'b\.txt' lies outside the folder"):
        read_source(folder)
    (folder / "b.txt").unlink()
    write_frames(folder / "frames", "{}.jpg")
    (folder / "frames/9.jpg").symlink_to(tmp_path / "secret.mp4")
    write_manifest(folder, [row(video="frames", num_frames=0)])
    with pytest.raises(ValueError, match=r"'frames/9\.jpg' lies outside the folder"):
        read_source(folder)


def test_circular_links_are_refused(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="is not a path below"):
        read_source(tmp_path)


def test_a_file_larger_than_any_text_is_not_read(tmp_path):
    write_video(tmp_path / "a.mp4")
    with (tmp_path / "captions.jsonl").open("wb") as file:
        os.truncate(file.fileno(), 5 << 30)  # holes: it takes no room
    with pytest.raises(ValueError, match="has more than"):
        read_source(tmp_path)


def test_damaged_files_are_listed_with_zeros(tmp_path):
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.webm").write_bytes(b"noise" * 100)
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "picture.avi").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = {made.video: made for made in read_source(tmp_path).rows}
    assert rows["whole.mp4"].num_frames == 5
    for name in ("empty.mp4", "noise.webm", "half.mp4", "picture.avi"):
        made = rows[name]
        assert (made.num_frames, made.fps, made.height, made.width) == (0, 0.0, 0, 0), name


def test_a_playlist_with_a_videos_suffix_opens_no_other_file(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    secret = write_video(tmp_path / "secret.mp4")
    (folder / "a.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (folder / "b.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n")
    (folder / "c.mp4").write_text("ffconcat version 1.0\nfile ../secret.mp4\n")
    assert {(made.num_frames, made.height) for made in read_source(folder).rows} == {(0, 0)}


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "libvpx-vp9"), (".mov", "mjpeg")])
@pytest.mark.parametrize("fps", [12, 30])
def test_headers_give_length_rate_and_size(tmp_path, suffix, codec, fps):
    write_video(tmp_path / f"a{suffix}", num_frames=9, fps=fps, codec=codec)
    (made,) = read_source(tmp_path).rows
    assert (made.num_frames, made.fps, made.height, made.width) == (9, float(fps), 48, 64)


def test_a_rotated_video_has_its_upright_size(tmp_path):
    path = write_video(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # after version, times, number, length, layer, volume
    one, zero = (1 << 16).to_bytes(4, "big"), bytes(4)
    turned = zero + one + zero + (-(1 << 16)).to_bytes(4, "big", signed=True) + zero
    content[matrix : matrix + 20] = turned
    path.write_bytes(content)
    (made,) = read_source(tmp_path).rows
    assert (made.height, made.width) == (64, 48)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    write_frames(tmp_path / "f", "frame_{}.jpg", num_frames=11)
    write_manifest(tmp_path, [row(video="f", num_frames=0, height=0, width=0)])
    (made,) = read_source(tmp_path).rows
    assert (made.num_frames, made.height, made.width) == (11, 48, 64)


def test_failed_unpacking_leaves_no_incomplete_files(tmp_path):
    """The second frame is no image: the folder of frames does not appear."""
    from layouts import example_message, image_bytes, write_records

    features = {"image": {"shape": {"dimensions": ["4", "4", "3"]}, "dtype": "uint8"}}
    steps = {"sequence": {"feature": {"featuresDict": {"features": {"image": features}}}}}
    write_json(tmp_path / "set/features.json", {"featuresDict": {"features": {"steps": steps}}})
    message = example_message({"steps/image": [image_bytes(), b"not an image"]})
    write_records(tmp_path / "set/a-train.tfrecord-00000-of-00001", [message])
    with pytest.raises(ValueError, match="frame 1 of 'image' is not a JPEG"):
        read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_name_on_the_hub_is_fetched_and_its_links_into_the_store_are_allowed(
    tmp_path, monkeypatch
):
    store = tmp_path / "datasets--owner--name"
    snapshot = store / "snapshots/0123"
    (store / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    write_video(store / "blobs/a.mp4").rename(store / "blobs/abc")
    (snapshot / "a.mp4").symlink_to("../../blobs/abc")
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, repo_type: asked.append((name, repo_type)) or str(snapshot),
    )
    monkeypatch.chdir(tmp_path)
    source = read_source("owner/name")
    assert asked == [("owner/name", "dataset")]
    assert (source.folder, source.rows[0].num_frames) == (snapshot, 5)
    (snapshot / "b.mp4").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="outside the folder"):
        read_source("owner/name")


def test_a_hub_name_without_a_connection_is_refused_with_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match="'owner/name' is not a folder, and the Hugging Face hub cannot"
    ):
        read_source("owner/name")


@pytest.mark.parametrize(
    "change",
    [
        {"id": 3},
        {"id": ""},
        {"video": ["a.mp4"]},
        {"instruction": None},
        {"num_frames": -1},
        {"num_frames": 2.5},
        {"fps": "4"},
        {"fps": float("nan")},
        {"height": True},
        {"start": 2.0, "stop": 1.0},
        {"start": -1.0},
        {"wordings": "push"},
        {"world": []},
        {"states": [{"text": 7}]},
        {"states": 3},
    ],
)
def test_an_invalid_value_in_a_manifest_is_refused_by_name(tmp_path, change):
    values = row().to_json() | change
    (tmp_path / "manifest.jsonl").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"is malformed: ({'|'.join(change)}) = "):
        read_source(tmp_path)
