"""What is said of the speed is what happened."""

import re
import time

import pytest
from prepared import make

from aid.cli import main
from aid.models.backbone import Backbone
from aid.prepare import videos as videos_module


@pytest.mark.parametrize(("slow", "low", "high"), [("decoding", 0.5, 1.0), ("encoding", 0.0, 0.3)])
def test_the_share_in_which_the_encoder_waited_is_measured(
    tiny_manifest, tiny_backbone, tmp_path, monkeypatch, capsys, slow, low, high
):
    """Six videos, each 0.5 s to decode or to encode."""
    place, name = (videos_module, "read_frames") if slow == "decoding" else (Backbone, "encode")
    usual = getattr(place, name)

    def slowly(*args, **options):
        time.sleep(0.5)
        return usual(*args, **options)

    monkeypatch.setattr(place, name, slowly)
    command = [
        "prepare", "--data", str(tiny_manifest), "--out", str(tmp_path / "out"), "--backbone",
        str(tiny_backbone), "--model.num_frames", "3", "--num_workers", "1", "--batch_size", "3",
    ]  # fmt: skip
    start = time.monotonic()
    assert main(command) == 0
    took, said = time.monotonic() - start, capsys.readouterr().out
    found = re.search(r"6 encoded in ([\d.]+) s \(([\d.]+) a second\).* (\d+)% of their time", said)
    seconds, rate, share = map(float, found.groups())
    assert 3.0 <= seconds <= took
    assert rate == pytest.approx(6 / seconds, rel=0.05)
    assert low <= share / 100 <= high
    assert main(command) == 0
    assert "encoded in" not in capsys.readouterr().out, "the second time nothing was encoded"


def test_progress_counts_every_row_once_also_those_that_were_made_before(
    tiny_manifest, tiny_backbone, tmp_path
):
    told = []
    make(tiny_manifest, tmp_path / "out", tiny_backbone, on_step=lambda *said: told.append(said))
    videos = [done for step, done, total, _ in told if step == "videos"]
    assert videos[0] == 0
    assert videos == sorted(videos)
    assert videos[-1] == 6
    assert re.fullmatch(r"[\d.]+ a second, \d+% waiting for decoding", told[2][3])
    (tmp_path / "out/cache.json").rename(tmp_path / "out/in_progress.json")
    next((tmp_path / "out").glob("videos-*")).unlink()
    again = []
    make(tiny_manifest, tmp_path / "out", tiny_backbone, on_step=lambda *said: again.append(said))
    assert [done for step, done, _, _ in again if step == "videos"][-1] == 6
