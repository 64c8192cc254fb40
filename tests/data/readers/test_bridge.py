import json

import pytest
from layouts import write_frames, write_json, write_video

from aid.config import SourceConfig
from aid.data.readers.bridge import in_words
from aid.data.sources import read_source


def write_seer(folder, num=(15, 7), with_list=True):
    tasks = ["put_carrot_on_plate", "turn_lever_vertical_to-front_distractors"]
    items = [f"{task}/{n}" for task, count in zip(tasks, num, strict=True) for n in range(count)]
    # Shuffled, as the published list is; here by a fixed rule.
    items = [items[(7 * position) % len(items)] for position in range(len(items))]
    for item in items:
        write_frames(folder / "rawframes" / item, "img_{:05d}.jpg", num_frames=2)
    if with_list:
        write_json(folder / "path_id_bridgedata.txt", items)
    return folder, items


def test_seers_list_is_cut_at_eighty_per_cent_in_its_order(tmp_path):
    folder, items = write_seer(tmp_path)
    source = read_source(folder)
    assert source.format == "bridge-seer"
    assert [row.id for row in source.rows] == items
    assert [row.split for row in source.rows] == ["train"] * 17 + ["val"] * 5  # int(.8 * 22) = 17
    row = source.rows[0]
    assert (row.video, row.num_frames, row.fps) == (f"rawframes/{items[0]}", 2, 5.0)
    assert any("leaks" in note for note in source.notes)


def test_the_strict_split_separates_demonstrations_and_the_published_one_does_not(tmp_path):
    folder, _ = write_seer(tmp_path)

    def demonstrations(split):
        rows = read_source(folder, SourceConfig(split=split)).rows
        assert {row.split for row in rows} == {split}
        return {row.world["episode"] for row in rows}

    assert demonstrations("train") & demonstrations("val")
    strict_train, strict_val = demonstrations("strict-train"), demonstrations("strict-val")
    assert strict_train and strict_val and not strict_train & strict_val
    both = (
        read_source(folder, SourceConfig(split="strict-train")).rows,
        read_source(folder, SourceConfig(split="strict-val")).rows,
    )
    assert sum(map(len, both)) == 22


def test_seers_frames_without_the_list_have_no_split(tmp_path):
    folder, _ = write_seer(tmp_path, with_list=False)
    source = read_source(folder)
    assert [row.id for row in source.rows[:3]] == [f"put_carrot_on_plate/{n}" for n in range(3)]
    assert {row.split for row in source.rows} == {""}
    assert any("is missing" in note for note in source.notes)


def test_seers_list_may_name_videos_and_what_is_missing_is_counted(tmp_path):
    items = ["put_carrot_on_plate/0", "put_carrot_on_plate/1"]
    write_json(tmp_path / "dataset/path_id_bridgedata.txt", items)
    write_video(tmp_path / "videos/put_carrot_on_plate/1.mp4")
    source = read_source(tmp_path)
    assert [row.video for row in source.rows] == ["videos/put_carrot_on_plate/1.mp4"]
    assert any(note.startswith("1 of 2 videos") for note in source.notes)


def test_distractors_stay_in_the_instruction_unless_asked(tmp_path):
    folder, _ = write_seer(tmp_path)
    said = {row.instruction for row in read_source(folder).rows}
    assert said == {"put carrot on plate", "turn lever vertical to front distractors"}
    said = {
        row.instruction for row in read_source(folder, SourceConfig(strip_distractors=True)).rows
    }
    assert said == {"put carrot on plate", "turn lever vertical to front"}
    assert in_words("put_corn_in_pan_which-is_on_stove") == "put corn in pan which is on stove"


@pytest.mark.parametrize(
    "listed", [[], {"a": 1}, ["a"], ["../x/0"], ["a/b/0"], [3], ["a/-1"], ["../0"]]
)
def test_a_malformed_list_of_seer_is_refused(tmp_path, listed):
    write_json(tmp_path / "path_id_bridgedata.txt", listed)
    with pytest.raises(ValueError, match="must be a list of 'task/number'"):
        read_source(tmp_path)


def write_raw(folder):
    session = folder / "bridge_data_v2/datacol1_toykitchen1/many_skills/00/2023-03-15_13-35-29"
    for number in range(11):
        trajectory = session / f"raw/traj_group0/traj{number}"
        for camera in range(2 if number else 1):
            write_frames(trajectory / f"images{camera}", "im_{}.jpg", num_frames=3, first=0)
        write_frames(trajectory / "depth_images0", "im_{}.png", num_frames=3, first=0)
        (trajectory / "policy_out.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    (session / "raw/traj_group0/traj0/lang.txt").write_text(
        "put the pot on the stove\nconfidence: 0.9\nmove the pot \nput the pot on the stove\n"
    )
    write_json(session / "config.json", {})
    old = folder / "bridge_data_v1/berkeley/toykitchen1/close_box_distractors/2021-06-01_10-00-00"
    write_frames(old / "raw/traj_group0/traj0/images0", "im_{}.jpg", num_frames=3, first=0)
    return folder


def test_raw_bridge_gives_a_row_per_trajectory_and_camera(tmp_path):
    source = read_source(write_raw(tmp_path))
    assert source.format == "bridge-raw"
    assert len(source.rows) == 1 + 1 + 10 * 2
    old, first, second = source.rows[0], source.rows[1], source.rows[2]
    assert (old.instruction, old.camera) == ("close box distractors", "images0")
    assert (first.instruction, first.wordings) == (
        "put the pot on the stove",
        ["put the pot on the stove", "move the pot"],
    )
    assert (first.num_frames, first.fps, first.height, first.width) == (3, 5.0, 48, 64)
    assert second.instruction == "many skills"  # nobody described it: the task's name
    numbers = [row.world["episode"].rpartition("traj")[2] for row in source.rows[1:]]
    assert numbers == sorted(numbers, key=int)
    assert len(read_source(tmp_path, SourceConfig(camera="images1")).rows) == 10


def test_views_of_one_raw_trajectory_are_in_one_split(tmp_path):
    rows = read_source(write_raw(tmp_path)).rows
    train = {row.world["episode"] for row in rows if row.split == "train"}
    val = {row.world["episode"] for row in rows if row.split == "val"}
    assert train and val and not train & val
    json.dumps([row.to_json() for row in rows])


def test_depth_and_trajectories_without_pictures_are_counted(tmp_path):
    folder = write_raw(tmp_path)
    session = next(folder.glob("bridge_data_v2/*/*/00/*"))
    (session / "raw/traj_group0/traj99").mkdir()
    notes = " ".join(read_source(folder).notes)
    assert "11 folders of depth images are left out" in notes
    assert "1 trajectories have no images" in notes and "traj99" in notes
