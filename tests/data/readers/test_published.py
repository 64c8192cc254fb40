"""Something-Something V2, UCF-101, EPIC-KITCHENS-100: rows from the published layouts."""

import pytest
from layouts import image_bytes, write_frames, write_json, write_video

from aid.config import SourceConfig
from aid.data.readers.epic import seconds
from aid.data.readers.ucf101 import class_in_words
from aid.data.sources import read_source


def write_something(folder, videos="20bn-something-something-v2/{}.webm"):
    entry = {"template": "Holding [something] next to [something]", "placeholders": ["a cup", "b"]}
    write_json(
        folder / "labels/train.json",
        [{"id": "78687", "label": "holding a cup next to b", **entry}, {"id": "42326", **entry}],
    )
    write_json(folder / "labels/validation.json", [{"id": "7", "label": "Öffnet 盒子", **entry}])
    write_json(folder / "labels/test.json", [{"id": "1420"}])
    write_json(folder / "labels/labels.json", {"Holding something next to something": "47"})
    for number in ("78687", "42326", "7", "1420"):
        if videos.endswith("}"):
            write_frames(folder / videos.format(number), "img_{:05d}.jpg", num_frames=11)
        else:
            write_video(folder / videos.format(number), num_frames=6, fps=12)
    return folder


def test_something_something_takes_the_label_and_fills_a_bare_template(tmp_path):
    source = read_source(write_something(tmp_path))
    assert source.format == "something"
    assert [(row.id, row.split, row.instruction) for row in source.rows] == [
        ("78687", "train", "holding a cup next to b"),
        ("42326", "train", "Holding a cup next to b"),
        ("7", "validation", "Öffnet 盒子"),
        ("1420", "test", ""),
    ]
    row = source.rows[0]
    assert row.video == "20bn-something-something-v2/78687.webm"
    assert (row.num_frames, row.fps, row.height, row.width) == (6, 12.0, 48, 64)
    assert "the test split has no labels." in source.notes
    assert [row.id for row in read_source(tmp_path, SourceConfig(split="val")).rows] == ["7"]


def test_something_something_is_read_from_extracted_frames(tmp_path):
    source = read_source(
        write_something(tmp_path, "rawframes/{}"), SourceConfig(split="train", limit=1)
    )
    (row,) = source.rows
    assert (row.video, row.num_frames, row.fps) == ("rawframes/78687", 11, 12.0)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([{"label": "x"}], "needs an id"),
        ([{"id": "../../secret"}], "needs an id"),
        ([{"id": "1", "template": "a [b]", "placeholders": []}], "0 placeholders"),
        ([{"id": "1", "template": "a [b", "placeholders": ["c"]}], "1 placeholders"),
        ([{"id": "1", "template": "a [b]"}], "without placeholders"),
        ({"id": "1"}, "must hold a list"),
        ([7], "needs an id"),
    ],
)
def test_malformed_labels_of_something_something_are_refused(tmp_path, labels, sentence):
    write_something(tmp_path)
    write_json(tmp_path / "labels/train.json", labels)
    with pytest.raises(ValueError, match=sentence):
        read_source(tmp_path)


def write_ucf101(folder):
    videos = {
        "v_ApplyEyeMakeup_g08_c01": ("train", "train", "test"),
        "v_ApplyEyeMakeup_g01_c01": ("test", "train", "train"),
        "v_YoYo_g25_c05": ("train", "test", "train"),
    }
    lists = folder / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    for number in range(3):
        for split in ("train", "test"):
            names = [name for name, splits in videos.items() if splits[number] == split]
            lines = [f"{name.split('_')[1]}/{name}.avi" for name in names]
            mark = " 1" if split == "train" else ""
            text = "".join(f"{line}{mark}\r\n" for line in lines)
            (lists / f"{split}list0{number + 1}.txt").write_text(text)
    for name in videos:
        write_video(folder / "UCF-101" / name.split("_")[1] / f"{name}.avi", fps=25)
    return folder


def test_ucf101_has_list_one_as_its_split_and_all_three_by_name(tmp_path):
    source = read_source(write_ucf101(tmp_path))
    assert source.format == "ucf101"
    assert {row.id: row.split for row in source.rows} == {
        "v_ApplyEyeMakeup_g08_c01": "train",
        "v_ApplyEyeMakeup_g01_c01": "test",
        "v_YoYo_g25_c05": "train",
    }
    row = source.rows[0]
    assert (row.instruction, row.num_frames, row.fps) == ("apply eye makeup", 5, 25.0)
    for split, ids in {
        "test02": ["v_YoYo_g25_c05"],
        "test03": ["v_ApplyEyeMakeup_g08_c01"],
    }.items():
        assert [row.id for row in read_source(tmp_path, SourceConfig(split=split)).rows] == ids


def test_classes_become_words():
    names = {"ApplyLipstick": "apply lipstick", "YoYo": "yo yo", "HandstandPushups": None}
    assert class_in_words("HandstandPushups") == "handstand pushups"
    assert [class_in_words(n) for n, words in names.items() if words] == ["apply lipstick", "yo yo"]


@pytest.mark.parametrize("line", ["../../etc/passwd", "a/b/v_A_g01_c01.avi", "A/movie.avi 1"])
def test_a_line_that_does_not_name_a_video_of_ucf101_is_refused(tmp_path, line):
    write_ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist/testlist02.txt").write_text(line)
    with pytest.raises(ValueError, match=r"testlist02\.txt', line 1: .* is not a video"):
        read_source(tmp_path)


HEAD = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def write_epic(folder, as_frames=False):
    rows = {
        "EPIC_100_train.csv": HEAD
        + "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.50,00:00:01.50,3,6,open door,open,3,door,3,"
        "\"['door', 'lid']\",\"[3, 4]\"\n"
        + 'P01_01_1,P01,P01_01,00:00:01.629,00:00:01.00,00:00:02.00,5,8,"put pan, lid",put,0,'
        "pan,1,['pan'],[1]\n",
        "EPIC_100_validation.csv": HEAD
        + "P01_02_0,P01,P01_02,00:00:01.0,00:00:00.00,00:00:01.00,1,4,close door,close,4,door,3,"
        "['door'],[3]\n"
        + "P18_01_0,P18,P18_01,00:00:01.0,00:00:00.00,00:00:01.00,1,4,cut onion,cut,7,onion,4,"
        "['onion'],[4]\n",
        "EPIC_100_test_timestamps.csv": "narration_id,participant_id,video_id,"
        "narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame\n"
        "P01_03_0,P01,P01_03,00:00:01.0,00:00:00.00,00:00:01.00,1,4\n",
        "EPIC_100_unseen_participant_ids_validation.csv": "participant_id\nP18\n",
        "EPIC_100_video_info.csv": "video_id,duration,fps,resolution\nP01_01,2.0,4.0,64x48\n",
    }
    lists = folder / "epic-kitchens-100-annotations"
    lists.mkdir(parents=True)
    for name, text in rows.items():
        (lists / name).write_text(text)
    for video in ("P01_01", "P01_02", "P01_03", "P18_01"):
        home = folder / "EPIC-KITCHENS" / video[:3]
        if as_frames:
            write_frames(home / "rgb_frames" / video, "frame_{:010d}.jpg", num_frames=8)
        else:
            write_video(home / "videos" / f"{video}.MP4", num_frames=8)
    return folder


def test_epic_segments_are_spans_of_long_videos(tmp_path):
    source = read_source(write_epic(tmp_path))
    assert source.format == "epic"
    assert [(r.id, r.split, r.instruction, r.start, r.stop) for r in source.rows] == [
        ("P01_01_0", "train", "open door", 0.5, 1.5),
        ("P01_01_1", "train", "put pan, lid", 1.0, 2.0),
        ("P01_02_0", "validation", "close door", 0.0, 1.0),
        ("P18_01_0", "validation", "cut onion", 0.0, 1.0),
        ("P01_03_0", "test", "", 0.0, 1.0),
    ]
    row = source.rows[0]
    assert row.video == "EPIC-KITCHENS/P01/videos/P01_01.MP4"
    assert (row.num_frames, row.fps) == (4, 4.0)


def test_epic_has_a_strict_validation_without_participants_of_train(tmp_path):
    source = read_source(write_epic(tmp_path), SourceConfig(split="strict-validation"))
    assert [row.id for row in source.rows] == ["P18_01_0"]
    assert any("strict-validation" in note for note in source.notes)


def test_epic_frames_are_counted_from_one_with_both_ends(tmp_path):
    rows = read_source(write_epic(tmp_path, as_frames=True), SourceConfig(split="train")).rows
    first = rows[0]
    assert first.video == "EPIC-KITCHENS/P01/rgb_frames/P01_01"
    # Frames 3 to 6 of a folder: the third to the sixth, at the places 2/fps to before 6/fps.
    assert (first.start * first.fps, first.stop * first.fps, first.num_frames) == (2.0, 6.0, 4)


def write_epic_frames(folder, num_files, native, counted=60, duration=6.0):
    """One video of some seconds as a folder of frames, and a segment from 1 s to 3 s."""
    write_frames(folder / "P09/rgb_frames/P09_08", "frame_{:010d}.jpg", num_frames=1)
    for number in range(2, num_files + 1):
        (folder / f"P09/rgb_frames/P09_08/frame_{number:010d}.jpg").write_bytes(image_bytes())
    (folder / "EPIC_100_train.csv").write_text(
        "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
        f",narration\nP09_08_0,P09,P09_08,00:00:01.00,00:00:03.00,{counted},{3 * counted},open\n"
    )
    (folder / "EPIC_100_video_info.csv").write_text(
        f"video_id,duration,fps,resolution\nP09_08,{duration},{native},1920x1080\n"
    )
    return folder


@pytest.mark.parametrize("counted", [50, 60])
@pytest.mark.parametrize("native", [29.97002997002997, 47.952, 90.0])
def test_epic_frames_have_their_own_rate_not_the_videos(tmp_path, native, counted):
    """The table of videos tells the rate of the video; frames are published at 50 or 60."""
    folder = write_epic_frames(tmp_path, 6 * counted, native, counted)
    source = read_source(folder)
    (row,) = source.rows
    assert row.fps == counted
    assert (row.start * counted, row.stop * counted) == pytest.approx((counted - 1, 3 * counted))
    assert row.num_frames == 2 * counted + 1
    assert not any("another rate" in note for note in source.notes)


def test_epic_frames_extracted_at_another_rate_are_found_by_time(tmp_path):
    source = read_source(write_epic_frames(tmp_path, 180, 29.97002997002997))
    (row,) = source.rows
    assert row.fps == pytest.approx(29.97002997)
    assert (row.start, row.stop) == (1.0, 3.0)
    assert row.num_frames == 60
    assert any("P09_08: 29.97, not 60" in note for note in source.notes)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("00:00:01.50", "later", "'later' is not a time"),
        ("00:00:01.50", "00:00:00.10", "ends before it begins"),
        (",3,6,", ",three,6,", "start_frame must be a number"),
        ("P01,P01_01,", "P01,../../etc,", "are not a participant and a video"),
        ("stop_frame", "last_frame", "has no column 'stop_frame'"),
        ("open door,", "", "row 2 has 14 cells, and the first line has 15"),
    ],
)
def test_malformed_segments_of_epic_are_refused(tmp_path, old, new, sentence):
    path = write_epic(tmp_path) / "epic-kitchens-100-annotations/EPIC_100_train.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=sentence):
        read_source(tmp_path)


def test_times_are_seconds():
    assert seconds("01:02:03.25", "") == 3723.25


def test_segments_of_a_video_and_videos_of_a_group_share_an_episode(tmp_path):
    rows = read_source(write_epic(tmp_path / "epic")).rows
    assert [r.world["episode"] for r in rows] == ["P01_01", "P01_01", "P01_02", "P18_01", "P01_03"]
    rows = read_source(write_ucf101(tmp_path / "ucf")).rows
    assert {r.world["episode"] for r in rows} == {
        "v_ApplyEyeMakeup_g08", "v_ApplyEyeMakeup_g01", "v_YoYo_g25",
    }  # fmt: skip
