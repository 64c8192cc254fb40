import io
import tarfile

import pytest
import torch
from layouts import write_video

from aid.cli import main
from aid.conditioning.states import choose_state_writer
from aid.config import ConditionConfig, SourceConfig
from aid.data.cache import Cache
from aid.data.sources import read_source
from aid.prepare import prepare


@pytest.fixture
def archive(tmp_path):
    """A data set whose one video and its words lie inside of a tar file."""
    video = write_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set/0.tar", "w") as tar:
        for name, content in (("0.mp4", video), ("0.txt", b"push without distractors")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return tmp_path / "set"


def test_videos_inside_of_archives_are_prepared_from_where_they_are_unpacked(
    archive, tiny_backbone, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    command = [
        "prepare", "--data", str(archive), "--out", str(tmp_path / "told"), "--states", "none",
        "--backbone", str(tiny_backbone), "--model.num_frames", "3",
        "--unpack-to", str(tmp_path / "unpacked"),
    ]  # fmt: skip
    assert main(command) == 0, capsys.readouterr().err
    assert list((tmp_path / "unpacked").rglob("*.mp4"))
    assert not (tmp_path / "user").exists()
    prepare(
        archive, tmp_path / "called", tiny_backbone, condition=ConditionConfig(), num_frames=3,
        states=choose_state_writer("none"),
    )  # fmt: skip
    assert list((tmp_path / "user").rglob("*.mp4"))
    told, called = (Cache(tmp_path / name).batch([0]) for name in ("told", "called"))
    assert told.latents.shape[:2] == (1, 3)
    assert torch.equal(told.latents, called.latents)


def test_words_are_stripped_where_asked_and_refused_behind_a_url(archive, tmp_path):
    asked = SourceConfig(strip_distractors=True)
    source = read_source(str(archive), asked, unpack_to=tmp_path / "unpacked")
    assert "distractors" not in source.rows[0].instruction
    with pytest.raises(ValueError, match="only a manifest is read"):
        read_source(f"file://{archive}", asked)
