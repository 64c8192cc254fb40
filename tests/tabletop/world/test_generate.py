import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aid.data.licence import licence_of
from aid.tabletop.world import generate as module
from aid.tabletop.world.generate import generate
from aid.types import VideoRow
from aid.video import read_video

SPLITS = {"forks": 2, "play": 2, "train": 2, "test": 1, "combos": 2, "twins": 1, "val": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small data set with every split."""
    out = tmp_path_factory.mktemp("tabletop")
    generate(out, splits=SPLITS, num_workers=1)
    return out


def rows_of(out: Path, split: str) -> list[VideoRow]:
    lines = (out / split / "manifest.jsonl").read_text().splitlines()
    return [VideoRow.from_json(json.loads(line)) for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.gl
def test_every_row_matches_its_video(data):
    for split in SPLITS:
        for row in rows_of(data, split):
            frames = read_video(data / split / row.video)
            assert frames.shape == (row.num_frames, row.height, row.width, 3) == (16, 64, 64, 3)
            assert row.fps == pytest.approx(15 / row.world["seconds"], abs=1e-3)
            if split == "play":
                assert row.instruction == "" and not row.wordings
            else:
                assert row.instruction in row.wordings and len(row.states) == 4
            assert ("alternatives" in row.world) == (split in ("val", "test", "forks", "combos"))


@pytest.mark.gl
def test_forks_share_their_first_frame_and_end_differently(data):
    scenes: dict[int, list[VideoRow]] = {}
    for row in rows_of(data, "forks"):
        scenes.setdefault(row.world["scene"], []).append(row)
    assert len(scenes) == 2
    for rows in scenes.values():
        assert len(rows) >= 3 and all(row.world["success"] for row in rows)
        videos = [read_video(data / "forks" / row.video) for row in rows]
        assert all(np.array_equal(video[0], videos[0][0]) for video in videos)
        ends = {json.dumps([item["end"] for item in row.world["items"]]) for row in rows}
        assert len(ends) == len(rows)


@pytest.mark.gl
def test_every_split_states_its_licence(data):
    assert {licence_of(data / split, []) for split in SPLITS} == {"apache-2.0"}


@pytest.mark.gl
def test_dataset_json_counts_scenes_and_videos(data):
    counts = json.loads((data / "dataset.json").read_text())["counts"]
    assert list(counts) == list(SPLITS)
    assert counts["forks"] == {"scenes": 2, "videos": 8, "successes": 8, "planned_failures": 0}


@pytest.mark.gl
def test_the_number_of_workers_and_the_order_of_splits_have_no_effect(data, tmp_path):
    generate(tmp_path, splits={"forks": 2}, num_workers=2)
    assert contents(tmp_path / "forks") == contents(data / "forks")


@pytest.mark.gl
def test_held_out_wordings_change_nothing_but_the_words(data, tmp_path):
    generate(tmp_path, splits={"forks": 2}, num_workers=1, wordings="held_out")
    assert json.loads((tmp_path / "dataset.json").read_text())["wordings"] == "held_out"
    assert json.loads((data / "dataset.json").read_text())["wordings"] == "simple"
    for ours, theirs in zip(rows_of(tmp_path, "forks"), rows_of(data, "forks"), strict=True):
        assert (tmp_path / "forks" / ours.video).read_bytes() == (
            data / "forks" / theirs.video
        ).read_bytes()
        assert ours.world == theirs.world | {"wordings": "held_out"}
        assert ours.instruction in ours.wordings and ours.states == theirs.states
        assert not set(ours.wordings) & set(theirs.wordings)


@pytest.mark.gl
def test_a_killed_run_continues_where_it_stopped(data, tmp_path, monkeypatch):
    make_scene = module.make_scene

    def die_at_the_second(job):
        if job.index == 1:
            (job.folder / "videos" / ".forks-x.tmp.mp4").write_bytes(b"half a video")
            raise KeyboardInterrupt
        make_scene(job)

    monkeypatch.setattr(module, "make_scene", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, splits={"forks": 2}, num_workers=1)
    assert not (tmp_path / "forks" / "manifest.jsonl").exists()

    made = []
    monkeypatch.setattr(module, "make_scene", lambda job: (made.append(job.index), make_scene(job)))
    generate(tmp_path, splits={"forks": 2}, num_workers=1)
    assert made == [1]
    assert contents(tmp_path / "forks") == contents(data / "forks")


@pytest.mark.gl
def test_a_finished_data_set_is_not_changed_but_can_grow(data, tmp_path):
    shutil.copytree(data, tmp_path / "copy")
    before = contents(tmp_path / "copy")
    generate(tmp_path / "copy", splits=SPLITS, num_workers=1)
    assert contents(tmp_path / "copy") == before


@pytest.mark.gl
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 96}, "size = 64"),
        ({"seed": 1}, "seed = 0"),
        ({"num_frames": 8}, "num_frames = 16"),
        ({"shadows": True}, "shadows = False"),
        ({"wordings": "train"}, "wordings = 'simple'"),
        ({"splits": {"train": 3}}, "splits.train = 2"),
    ],
)
def test_other_settings_are_refused_by_name(data, change, message):
    with pytest.raises(ValueError, match=message):
        generate(data, **{"splits": SPLITS, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 100}, "multiple of 8"),
        ({"size": 512}, "from 64 to 256"),
        ({"num_frames": 1}, "num_frames must be at least 2"),
        ({"num_frames": 10**8}, "num_frames must be at most 4096, got 100000000"),
        ({"seed": 10**30}, "seed must be from"),
        ({"splits": {"validation": 3}}, "validation"),
        ({"splits": {}}, "splits must name some of"),
        ({"splits": {"train": 0}}, "split train"),
        ({"seed": -1}, "seed must be from 0"),
        ({"num_workers": 0}, "num_workers must be at least 1"),
        ({"wordings": "held_out"}, "not for the split 'train'"),
        ({"wordings": "held_out", "splits": {"val": 1, "twins": 1}}, "not for the split 'twins'"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path, **{"splits": {"train": 1}, **change})
    assert not list(tmp_path.iterdir())


@pytest.mark.gl
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dataset.json", "no JSON", "dataset.json' is not of a table-top data set .Expecting"),
        ("dataset.json", '{"name": "mine"}', "dataset.json' is not of a table-top data set"),
        ("dataset.json", "[1]", "dataset.json' is not of a table-top data set"),
        ("train/mine.txt", "mine", "train' exists and is not of a table-top data set"),
        ("", "mine", "cannot be made .File exists"),
    ],
)
def test_a_place_that_holds_something_else_is_refused_and_kept(tmp_path, name, text, message):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*Choose another --out"):
        generate(tmp_path / "out", splits={"train": 1})
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [path]
    assert path.read_text() == text
