"""Episodes that are held out: which, how many, by whole episodes, the same at every reading."""

import json

import pytest

from aid.config import FrameConfig, SourceConfig
from aid.data.manifest import write_manifest
from aid.data.sources import list_source, read_source
from aid.data.windows import cut_windows
from aid.types import VideoRow


def row(name, **changes):
    facts = {"id": name, "video": f"{name}.mp4", "instruction": "push", "num_frames": 50}
    return VideoRow(**(facts | {"fps": 10.0, "height": 64, "width": 64} | changes))


def write(folder, number=60, cameras=("",), **changes):
    """A manifest of some episodes; with cameras, a row for each."""
    folder.mkdir(exist_ok=True)
    rows = [
        row(f"{i:03d}/{camera}" if camera else f"{i:03d}", camera=camera, **changes)
        for i in range(number)
        for camera in cameras
    ]
    write_manifest(folder, rows)
    return folder


def ids(folder, **asked):
    return [one.id for one in list_source(folder, SourceConfig(**asked)).rows]


def test_every_episode_is_in_one_of_the_two_splits_and_training_reads_its_own(tmp_path):
    folder = write(tmp_path / "set")
    train = ids(folder, hold_out=0.15)
    held = ids(folder, hold_out=0.15, split="held_out")
    assert train == ids(folder, hold_out=0.15, split="train"), "what is read without a split"
    assert sorted(train + held) == ids(folder)
    assert 3 <= len(held) <= 15, "about 9 of 60"
    made = read_source(folder, SourceConfig(hold_out=0.15, split="held_out")).rows
    assert {one.split for one in made} == {"held_out"}


def test_all_cameras_of_an_episode_are_in_one_split(tmp_path):
    folder = write(tmp_path / "set", cameras=("top", "wrist"))
    train, held = (ids(folder, hold_out=0.3, split=name) for name in ("train", "held_out"))
    assert not {name[:3] for name in train} & {name[:3] for name in held}
    assert [name for name in held if "wrist" in name] == ids(
        folder, hold_out=0.3, split="held_out", camera="wrist"
    ), "a camera alone has the same episodes"
    assert [n[:3] for n in ids(write(tmp_path / "one"), hold_out=0.3, split="held_out")] == [
        name[:3] for name in held if "wrist" in name
    ]


def test_the_split_depends_on_the_seed_and_not_on_the_order(tmp_path):
    folder = write(tmp_path / "set")
    held = ids(folder, hold_out=0.3, split="held_out")
    assert held != ids(folder, hold_out=0.3, hold_out_seed=1, split="held_out")
    lines = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_text("".join(reversed(lines)))
    assert ids(folder, hold_out=0.3, split="held_out") == held[::-1]


def test_more_episodes_or_a_larger_share_keep_held_out_episodes_held_out(tmp_path):
    few, many = write(tmp_path / "few", 60), write(tmp_path / "many", 200)
    held = set(ids(few, hold_out=0.2, split="held_out"))
    grown = set(ids(many, hold_out=0.2, split="held_out"))
    assert {name for name in grown if int(name) < 60} == held
    assert held < set(ids(few, hold_out=0.4, split="held_out"))


@pytest.mark.parametrize("number", [2, 3, 9])
@pytest.mark.parametrize("share", [1e-6, 0.15, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_few_episodes_have_at_least_one_in_each_split(tmp_path, number, share, seed):
    folder = write(tmp_path / "set", number)
    asked = {"hold_out": share, "hold_out_seed": seed}
    held = ids(folder, **asked, split="held_out")
    assert 1 <= len(held) < number
    assert len(ids(folder, **asked)) == number - len(held)
    if share < 0.01:
        assert len(held) == 1


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    folder = write(tmp_path / "set", 3)
    for split in ("train", "held_out"):
        with pytest.raises(ValueError, match=r"would keep all 3 episodes out .* Try 0\.33"):
            ids(folder, hold_out=0.999, split=split)
    with pytest.raises(ValueError, match="this data set has only one"):
        ids(write(tmp_path / "one", 1, cameras=("top", "wrist")), hold_out=0.5)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_outside_of_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"from 0 up to but without 1, got"):
        SourceConfig(hold_out=share)


def test_another_split_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"'train' and 'held_out', asked is 'val'"):
        SourceConfig(hold_out=0.2, split="val")


def test_a_note_has_the_numbers_and_the_ignored_splits(tmp_path):
    folder = write(tmp_path / "set", 20, cameras=("top", "wrist"), split="val")
    source = read_source(folder, SourceConfig(hold_out=0.3))
    held = 20 - len(source.rows) // 2
    assert source.notes[0] == (
        f"hold_out 0.3 with seed 0 keeps {held} of 20 episodes ({2 * held} of 40 videos "
        "read) out of training; --split held_out reads them."
    )
    assert "splits of its own (val 40)" in source.notes[1]
    assert read_source(write(tmp_path / "plain"), SourceConfig()).notes == []


def test_rows_of_several_splits_are_in_one_split_after_holding_out(tmp_path):
    folder = write(tmp_path / "set", 20, split="test", world={"also_in": ["train", "held_out"]})
    train, held = (ids(folder, hold_out=0.3, split=name) for name in ("train", "held_out"))
    assert not set(train) & set(held)


def test_a_limit_and_a_camera_do_not_change_the_split(tmp_path):
    folder = write(tmp_path / "set", cameras=("top", "wrist"))
    train = ids(folder, hold_out=0.3)
    assert ids(folder, hold_out=0.3, limit=5) == train[:5]
    source = read_source(folder, SourceConfig(hold_out=0.3, limit=5))
    assert len(source.notes) == 1, "said of those that were read"
    with pytest.raises(ValueError, match=r"no video of camera 'left'. It has: 'top', 'wrist'"):
        ids(folder, hold_out=0.3, camera="left")


def test_windows_of_one_episode_are_in_one_split(tmp_path):
    folder = write(tmp_path / "set", cameras=("top", "wrist"))
    frames = FrameConfig(fps=4.0, windows="all")
    windows = cut_windows(read_source(folder).rows, frames, 8)
    assert len(windows) == 2 * 2 * 60
    (tmp_path / "cut").mkdir()
    write_manifest(tmp_path / "cut", windows)
    train, held = (
        {one.split("/")[0] for one in ids(tmp_path / "cut", hold_out=0.3, split=name)}
        for name in ("train", "held_out")
    )
    assert held == {one[:3] for one in ids(folder, hold_out=0.3, split="held_out")}
    assert not train & held


def test_a_manifest_behind_a_url_is_divided_in_the_same_way(tmp_path):
    folder = write(tmp_path / "set")
    asked = SourceConfig(hold_out=0.3, split="held_out")
    listing = list_source(folder.as_uri(), asked)
    assert [one.id for one in listing.rows] == ids(folder, hold_out=0.3, split="held_out")
    assert "of 60 episodes" in listing.notes[0]


def test_names_that_are_not_unicode_are_divided_too(tmp_path):
    folder = write(tmp_path / "set", 3)
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    values = [json.loads(line) | {"world": {"episode": "\udcff" + line[:9]}} for line in lines]
    for number, value in enumerate(values):
        value["world"]["episode"] += str(number)
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, values)))
    assert len(ids(folder, hold_out=0.3, split="held_out")) >= 1
