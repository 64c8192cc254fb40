"""Which files of a folder are frames, and in which order."""

import pytest

from aid.video import folders
from aid.video.folders import list_frames


def folder_of(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def listed(tmp_path, names):
    found = list_frames(folder_of(tmp_path, names))
    return [path.name for path in found.files], {note.text: note.number for note in found.notes}


def test_numbers_decide_not_the_alphabet(tmp_path):
    names, notes = listed(tmp_path, [f"frame_{i}.jpg" for i in range(12)])
    assert names == [f"frame_{i}.jpg" for i in range(12)]
    assert notes == {}


ADDED = [
    (["._im_0.jpg", "._im_1.jpg", ".DS_Store"], folders.HIDDEN, 3),
    (["Thumbs.db", "lang.txt"], folders.NO_PICTURE, 2),
    (["im_0_depth.png", "im_1_depth.png", "depth_2.png"], folders.NO_FRAME, 3),
    (["thumb.jpg", "mask_0.png", "im_0.mask.png"], folders.NO_FRAME, 3),
    (["other_0.jpg", "goal.jpg"], folders.OTHER_SERIES, 2),
    (["im_1.png"], folders.OTHER_KIND, 1),
    (["im_05.jpg"], folders.GAPS, 1),
]


@pytest.mark.parametrize(("more", "reason", "number"), ADDED)
def test_what_does_not_belong_is_left_out_and_counted(tmp_path, more, reason, number):
    frames = [f"im_{i}.jpg" for i in range(4)]
    names, notes = listed(tmp_path, frames + more)
    assert names == frames + (more if reason == folders.GAPS else [])
    assert notes[reason] == number


def test_of_two_cameras_the_first_is_taken_and_the_other_counted(tmp_path):
    names, notes = listed(
        tmp_path, [f"{eye}_{i}.png" for eye in ("right", "left") for i in range(3)]
    )
    assert names == ["left_0.png", "left_1.png", "left_2.png"]
    assert notes == {folders.OTHER_SERIES: 3}


def test_a_folder_of_nothing_but_masks_is_a_video_of_masks(tmp_path):
    assert listed(tmp_path, ["mask_0.png", "mask_1.png"]) == (["mask_0.png", "mask_1.png"], {})


def test_several_numbers_are_said_where_they_leave_two_orders(tmp_path):
    names, notes = listed(tmp_path, [f"{a}_{b}.png" for a in range(2) for b in range(2)])
    assert names == ["0_0.png", "0_1.png", "1_0.png", "1_1.png"]
    assert list(notes) == [folders.SEVERAL_NUMBERS.text]


def test_several_numbers_in_one_order_are_no_matter(tmp_path):
    given = [f"take2_{i:03d}_at_{100 + 7 * i}ms.png" for i in range(12)]
    assert listed(tmp_path, given) == (given, {})


def test_mixed_leading_zeros_are_said(tmp_path):
    names, notes = listed(tmp_path, ["1.png", "02.png", "3.png", "010.png", "9.png"])
    assert names == ["1.png", "02.png", "3.png", "9.png", "010.png"]
    assert folders.MIXED_PADDING.text in notes


def test_numbers_that_outgrow_their_leading_zeros_are_not_mixed(tmp_path):
    given = ["0098.png", "0099.png", "0100.png"]
    assert listed(tmp_path, given) == (given, {})
    more = [f"{i:02d}.png" for i in (98, 99, 100, 101)]
    (tmp_path / "b").mkdir()
    assert listed(tmp_path / "b", more) == (more, {})


def test_gaps_are_counted_and_steps_are_not_gaps(tmp_path):
    assert listed(tmp_path, [f"{i}.png" for i in (0, 5, 10, 25, 30)])[1] == {folders.GAPS: 2}
    (tmp_path / "b").mkdir()
    assert listed(tmp_path / "b", [f"{i}.png" for i in range(0, 40, 5)])[1] == {}
    (tmp_path / "c").mkdir()
    times = [1403636579763555584, 1403636579813555456, 1403636579863555584, 1403636580913555456]
    assert listed(tmp_path / "c", [f"{i}.png" for i in times])[1] == {}, "times are no counts"


def test_seconds_are_decimals_and_counters_are_not(tmp_path):
    names, notes = listed(tmp_path, ["0.25.png", "0.5.png", "0.75.png", "1.0.png"])
    assert names == ["0.25.png", "0.5.png", "0.75.png", "1.0.png"]
    assert list(notes) == [folders.DECIMALS.text]
    (tmp_path / "b").mkdir()
    names, notes = listed(tmp_path / "b", [f"shot.1.{i}.png" for i in range(8, 12)])
    assert names == [f"shot.1.{i}.png" for i in range(8, 12)]


def test_names_without_numbers_go_by_the_alphabet_and_say_so(tmp_path):
    names, notes = listed(tmp_path, ["b.png", "a.png", "c.png"])
    assert names == ["a.png", "b.png", "c.png"]
    assert list(notes) == [folders.NO_NUMBERS.text]
