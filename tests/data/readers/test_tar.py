import io
import json
import tarfile

import pytest
from layouts import write_video

from aid.config import SourceConfig
from aid.data.sources import read_source


def write_shard(path, members):
    """A tar of (name, bytes), or of finished TarInfos."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4").read_bytes()


def test_files_of_one_key_are_a_sample_and_videos_are_unpacked(tmp_path, video):
    write_shard(
        tmp_path / "set/train/00000.tar",
        [
            ("000.mp4", video),
            ("000.txt", " öffne\n die Tür ".encode()),
            ("001.json", json.dumps({"caption": "push the 箱"}).encode()),
            ("001.mp4", video),
        ],
    )
    write_shard(tmp_path / "set/val/00000.tar", [("./a/b.c.mp4", video), ("000.MP4", video)])
    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert source.format == "webdataset"
    assert [(row.split, row.instruction) for row in source.rows] == [
        ("train", "öffne die Tür"),
        ("train", "push the 箱"),
        ("val", ""),
        ("val", ""),
    ]
    for row in source.rows:
        assert (source.folder / row.video).read_bytes() == video
        assert (row.num_frames, row.fps, row.height, row.width) == (5, 4.0, 48, 64)
    assert sorted(p.name for p in (tmp_path / "set").rglob("*") if p.is_file()) == ["00000.tar"] * 2


def test_only_selected_videos_are_unpacked_and_only_once(tmp_path, video):
    write_shard(tmp_path / "set/0.tar", [(f"{n}.mp4", video) for n in range(4)])
    source = read_source(tmp_path / "set", SourceConfig(limit=2), unpack_to=tmp_path / "out")
    made = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(made) == 2
    times = {path: path.stat().st_mtime_ns for path in made}
    assert (
        read_source(tmp_path / "set", SourceConfig(limit=2), unpack_to=tmp_path / "out") == source
    )
    assert {path: path.stat().st_mtime_ns for path in made} == times


def test_videos_are_unpacked_to_the_users_cache_by_default(tmp_path, video, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shard = write_shard(tmp_path / "set/0.tar", [("0.mp4", video)])
    first = read_source(tmp_path / "set").folder
    assert first.is_relative_to(tmp_path / "cache/aid-video")
    write_shard(shard, [("0.mp4", video), ("1.mp4", video)])
    assert read_source(tmp_path / "set").folder != first  # another archive, another folder


@pytest.mark.parametrize("name", ["../evil.mp4", "/tmp/evil.mp4", "a/../../evil.mp4"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, video, name):
    write_shard(tmp_path / "set/0.tar", [("0.mp4", video), (name, video)])
    with pytest.raises(ValueError, match="leads out of the archive"):
        read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_an_archive_are_refused(tmp_path, kind):
    link = tarfile.TarInfo("0.mp4")
    link.type, link.linkname = kind, "/etc/passwd"
    write_shard(tmp_path / "set/0.tar", [(link, b"")])
    with pytest.raises(ValueError, match="is a link, a device or sparse"):
        read_source(tmp_path / "set", unpack_to=tmp_path / "out")


@pytest.mark.parametrize("keep", [700, 1600])
def test_an_incomplete_archive_is_refused_by_name(tmp_path, video, keep):
    path = write_shard(tmp_path / "set/0.tar", [("0.mp4", video), ("1.mp4", video)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"0\.tar'"):
        read_source(tmp_path / "set", unpack_to=tmp_path / "out")


def test_an_archive_of_noise_or_of_nothing_is_refused(tmp_path):
    for content in (b"", b"\x00" * 100, b"noise" * 1000):
        (tmp_path / "0.tar").write_bytes(content)
        with pytest.raises(ValueError, match=r"not a readable tar archive|holds no video"):
            read_source(tmp_path, unpack_to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_captions_that_are_not_text_are_refused(tmp_path, video):
    for name, content in {"0.txt": b"\xff\xfe\x00x", "0.json": b"{"}.items():
        write_shard(tmp_path / "0.tar", [("0.mp4", video), (name, content)])
        with pytest.raises(ValueError, match=r"is not UTF-8 text|is not valid JSON"):
            read_source(tmp_path, unpack_to=tmp_path / "out")


def test_the_key_of_a_sample_is_its_name_up_to_the_first_dot(tmp_path, video):
    names = {"0001": "push it", "sample0002.input": "pull it", "walk_0.5x": "walk"}
    members = [(f"{n}.{end}", c) for n, w in names.items() for end, c in
               (("mp4", video), ("txt", w.encode()))]  # fmt: skip
    write_shard(tmp_path / "set/0.tar", members)
    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert [row.instruction for row in source.rows] == ["push it", "pull it", "walk"]
    assert all((source.folder / row.video).read_bytes() == video for row in source.rows)


def test_cameras_of_a_sample_are_rows_of_one_episode(tmp_path, video):
    other = video + b"other"
    write_shard(
        tmp_path / "set/0.tar",
        [
            ("7.front.mp4", video), ("7.wrist.mp4", other), ("7.txt", b"push"),
            ("8.front.mp4", video), ("8.wrist.mp4", video), ("8.wrist.txt", b"lift"),
        ],
    )  # fmt: skip
    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert [(r.camera, r.instruction, r.world["episode"]) for r in source.rows] == [
        ("front", "push", "0.tar/7"), ("wrist", "push", "0.tar/7"),
        ("front", "", "0.tar/8"), ("wrist", "lift", "0.tar/8"),
    ]  # fmt: skip
    assert (source.folder / source.rows[1].video).read_bytes() == other


@pytest.mark.parametrize(
    "members",
    [
        [("0.json", json.dumps({"caption": ["push", "shove", ""]}).encode())],
        [("0.txt", b"push"), ("0.caption", b"shove")],
        [("0.caption_0.txt", b"push"), ("0.caption_1.txt", b"shove")],
    ],
)
def test_several_captions_of_a_sample_are_wordings(tmp_path, video, members):
    write_shard(tmp_path / "set/0.tar", [("0.mp4", video), *members])
    (row,) = read_source(tmp_path / "set", unpack_to=tmp_path / "out").rows
    assert (row.instruction, row.wordings) == ("push", ["push", "shove"])


def test_a_repeated_key_is_another_video(tmp_path, video):
    other = video + b"other"
    write_shard(
        tmp_path / "set/0.tar",
        [("0.mp4", video), ("0.txt", b"push"), ("0.mp4", other), ("0.txt", b"lift")],
    )
    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    assert [row.instruction for row in source.rows] == ["push", "lift"]
    assert [(source.folder / row.video).read_bytes() for row in source.rows] == [video, other]


def test_members_that_are_not_read_are_counted(tmp_path, video):
    write_shard(
        tmp_path / "set/0.tar",
        [("0.mp4", video), ("0.cls", b"3"), ("1.txt", b"alone"), ("2.npy", b"x")],
    )
    (tmp_path / "set/plain.mp4").write_bytes(video)
    (tmp_path / "set/1.tar.gz").touch()
    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    notes = " ".join(source.notes)
    assert len(source.rows) == 1
    for sentence in (
        "2 samples have no video and are left out (the first: '0.tar/1')",
        "1 members of type .cls are not read (the first: '0.tar/0.cls')",
        "1 members of type .npy are not read",
        "1 videos beside the tar files are left out; give --format captions (the first: 'plain.mp4",
        "1 compressed archives are left out",
        "1 videos have no instruction",
    ):
        assert sentence in notes, sentence


def test_the_split_is_a_folder_or_a_word_in_the_name_of_a_shard(tmp_path, video):
    names = {"train-000.tar": "train", "data/val_0.tar": "val", "shards/0.tar": "shards",
             "test/train-0.tar": "test", "0.tar": ""}  # fmt: skip
    for name in names:
        write_shard(tmp_path / "set" / name, [("0.mp4", video)])
    rows = read_source(tmp_path / "set", unpack_to=tmp_path / "out").rows
    assert {row.world["packed"]: row.split for row in rows} == names
