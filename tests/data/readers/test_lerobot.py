import json

import pyarrow
import pyarrow.parquet
import pytest
from layouts import (
    frame_table,
    image_bytes,
    lerobot_info,
    write_json,
    write_lerobot_v2,
    write_lerobot_v3,
    write_lines,
    write_table,
    write_video,
)

from aid.config import SourceConfig
from aid.data.sources import read_source
from aid.types import State
from aid.video import frame_files, read_image

LANGUAGE = pyarrow.list_(
    pyarrow.struct(
        {
            "role": pyarrow.string(),
            "content": pyarrow.string(),
            "style": pyarrow.string(),
            "timestamp": pyarrow.float32(),
            "camera": pyarrow.string(),
            "tool_calls": pyarrow.list_(pyarrow.string()),
        }
    )
)


def said(content, style, timestamp=0.0):
    return {"role": "user", "content": content, "style": style, "timestamp": timestamp}


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_v2_gives_a_row_per_episode_and_camera(tmp_path, version):
    source = read_source(write_lerobot_v2(tmp_path, version))
    assert source.format == "lerobot"
    assert [(r.camera.rpartition(".")[2], r.instruction, r.num_frames) for r in source.rows] == [
        ("top", "put the cube in the bowl", 5),
        ("wrist", "put the cube in the bowl", 5),
        ("top", "öffne die Schublade", 6),
        ("wrist", "öffne die Schublade", 6),
    ]
    row = source.rows[3]
    assert row.video == "videos/chunk-000/observation.images.wrist/episode_000001.mp4"
    assert (row.fps, row.height, row.width, row.split) == (4.0, 48, 64, "train")
    assert (row.start, row.stop) == (0.0, None)


def test_a_thousand_episodes_a_chunk_are_found_in_their_chunks(tmp_path):
    write_lerobot_v2(tmp_path, cameras=("observation.image",))
    lines = [{"episode_index": 2005, "tasks": ["x"], "length": 3}]
    write_lines(tmp_path / "meta/episodes.jsonl", lines)
    name = "videos/chunk-002/observation.image/episode_002005.mp4"
    write_video(tmp_path / name, num_frames=3)
    (row,) = read_source(tmp_path).rows
    assert row.video == name


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_v3_episodes_are_spans_of_one_file(tmp_path, codec):
    rows = read_source(write_lerobot_v3(tmp_path, codec=codec), SourceConfig(camera="wrist")).rows
    assert {row.video for row in rows} == {"videos/observation.images.wrist/chunk-000/file-000.mp4"}
    assert [(row.start, row.stop, row.num_frames) for row in rows] == [
        (0.0, 1.25, 5),
        (1.25, 2.75, 6),
        (2.75, 3.75, 4),
    ]
    assert [row.instruction for row in rows][1] == "öffne die Schublade"
    assert len({row.id for row in rows}) == 3


def test_an_episode_of_several_tasks_becomes_a_row_per_task(tmp_path):
    both = ["put the cube in the bowl", "öffne die Schublade"]
    write_lerobot_v3(
        tmp_path,
        cameras=("observation.images.top",),
        lengths=(5, 6),
        tasks_of=[[both[0]], both],
        task_numbers=[0] * 5 + [0, 0, 1, 1, 1, 1],
        tasks_column="task",
    )
    rows = read_source(tmp_path).rows
    assert [(r.instruction, r.start, r.stop, r.num_frames) for r in rows] == [
        (both[0], 0.0, 1.25, 5),
        (both[0], 1.25, 1.75, 2),
        (both[1], 1.75, 2.75, 4),
    ]


def test_the_language_column_gives_stages_and_other_wordings(tmp_path):
    rows = [
        said("reach for the cube", "subtask"),
        said("lift it", "subtask", 0.5),
        said("place the cube into the bowl", "task_aug"),
        said("which colour?", "memory", 0.25),
    ]
    write_lerobot_v3(
        tmp_path,
        cameras=("observation.images.top",),
        lengths=(5, 3),
        more_features={"language_persistent": {"dtype": "language", "shape": [1], "names": None}},
        more_columns={"language_persistent": [rows] * 5 + [[]] * 3},
        column_types={"language_persistent": LANGUAGE},
    )
    first, second = read_source(tmp_path).rows
    assert first.wordings == ["place the cube into the bowl"]
    assert first.states == [
        State(text="reach for the cube", first_frame=0, last_frame=1),
        State(text="lift it", first_frame=2, last_frame=4),
    ]
    assert (second.wordings, second.states) == ([], [])


def test_subtask_numbers_give_stages(tmp_path):
    write_lerobot_v3(
        tmp_path,
        cameras=("observation.images.top",),
        lengths=(5,),
        more_features={"subtask_index": {"dtype": "int64", "shape": [1], "names": None}},
        more_columns={"subtask_index": [1, 1, 0, 0, 0]},
    )
    table = {"subtask_index": [0, 1], "__index_level_0__": ["lift", "reach"]}
    write_table(tmp_path / "meta/subtasks.parquet", table)
    (row,) = read_source(tmp_path).rows
    assert row.states == [
        State(text="reach", first_frame=0, last_frame=1),
        State(text="lift", first_frame=2, last_frame=4),
    ]


def test_text_columns_of_instructions_are_wordings_and_stand_in_for_an_empty_task(tmp_path):
    names = ("language_instruction", "language_instruction_2")
    write_lerobot_v3(
        tmp_path,
        cameras=("observation.images.top",),
        lengths=(5,),
        tasks_of=[[""]],
        more_features={n: {"dtype": "string", "shape": [1], "names": None} for n in names},
        more_columns={names[0]: ["close the lid"] * 5, names[1]: ["shut it"] * 5},
    )
    (row,) = read_source(tmp_path).rows
    assert (row.instruction, row.wordings) == ("close the lid", ["close the lid", "shut it"])


def test_images_inside_the_tables_are_unpacked_byte_for_byte(tmp_path):
    folder, out = tmp_path / "set", tmp_path / "out"
    camera = "observation.image"
    write_json(folder / "meta/info.json", lerobot_info("v2.1", [camera], 1, kind="image"))
    write_lines(folder / "meta/tasks.jsonl", [{"task_index": 0, "task": "push"}])
    write_lines(
        folder / "meta/episodes.jsonl", [{"episode_index": 0, "tasks": ["push"], "length": 12}]
    )
    images = [{"bytes": image_bytes(n, "PNG"), "path": f"frame_{n}.png"} for n in range(12)]
    table = frame_table(0, 12, [0] * 12, **{camera: images})
    write_table(folder / "data/chunk-000/episode_000000.parquet", table)
    before = sorted(path for path in folder.rglob("*"))
    source = read_source(folder, unpack_to=out)
    assert source.folder == out
    (row,) = source.rows
    files = frame_files(out / row.video)
    assert [file.read_bytes() for file in files] == [image["bytes"] for image in images]
    assert read_image(files[3])[0, 0, 0] == 13
    assert (row.num_frames, row.height, row.width, row.fps) == (12, 48, 64, 4.0)
    assert sorted(path for path in folder.rglob("*")) == before


def test_depth_is_left_out_with_a_note(tmp_path):
    info = write_lerobot_v2(tmp_path, cameras=("observation.images.top",)) / "meta/info.json"
    values = json.loads(info.read_text())
    depth = {"dtype": "video", "shape": [48, 64, 1], "info": {"video.is_depth_map": True}}
    values["features"]["observation.depth"] = depth
    info.write_text(json.dumps(values))
    source = read_source(tmp_path)
    assert {row.camera for row in source.rows} == {"observation.images.top"}
    assert source.notes == ["depth is not read: observation.depth."]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"codebase_version": "v1.6"}, "'v1.6' is not supported"),
        ({"codebase_version": None}, "'None' is not supported"),
        ({"fps": "fast"}, "fps must be a number, got 'fast'"),
        ({"fps": 0}, "fps must be above 0"),
        ({"features": []}, "features must be an object"),
        ({"video_path": "{video_key.__class__}/{secret}"}, "'{secret}', which is unknown"),
        ({"video_path": "../../{video_key}.mp4"}, "lies outside the folder"),
        ({"chunks_size": "many"}, "chunks_size must be a number"),
    ],
)
def test_a_hostile_info_is_refused_with_one_sentence(tmp_path, change, sentence):
    info = write_lerobot_v2(tmp_path) / "meta/info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | change))
    with pytest.raises(ValueError, match=sentence) as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_template_is_not_a_format_string(tmp_path):
    """`str.format` would look up attributes, or make a text of a gigabyte."""
    info = write_lerobot_v2(tmp_path) / "meta/info.json"
    values = json.loads(info.read_text())
    for hostile in ("{episode_index.real}", "{episode_index:999999999d}", "{0}"):
        info.write_text(json.dumps(values | {"video_path": hostile}))
        try:
            rows = read_source(tmp_path).rows
        except ValueError:
            continue
        assert rows[0].video == hostile  # taken literally: no such file, and nothing was done


def test_a_damaged_table_is_refused_by_name(tmp_path):
    write_lerobot_v3(tmp_path)
    path = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"file-000\.parquet' is not a readable Parquet file"):
        read_source(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="has no meta/episodes"):
        read_source(tmp_path)


def test_a_task_number_without_a_text_is_refused(tmp_path):
    write_lerobot_v3(
        tmp_path,
        cameras=("observation.images.top",),
        lengths=(4,),
        tasks_of=[["a", "b"]],
        task_numbers=[0, 0, 7, 7],
    )
    with pytest.raises(ValueError, match="number 7 is not in the table of texts"):
        read_source(tmp_path)


@pytest.mark.parametrize("write", [write_lerobot_v2, write_lerobot_v3])
def test_cameras_of_an_episode_share_its_name(tmp_path, write):
    cameras: dict[str, list[str]] = {}
    for row in read_source(write(tmp_path)).rows:
        cameras.setdefault(row.world["episode"], []).append(row.camera.rpartition(".")[2])
    assert set(map(tuple, cameras.values())) == {("top", "wrist")}
    assert len(cameras) == (2 if write is write_lerobot_v2 else 3)


def test_tasks_of_an_episode_share_its_name(tmp_path):
    said = ["put the cube in the bowl", "öffne die Schublade"]
    write_lerobot_v3(
        tmp_path, cameras=("c",), lengths=(5,), task_numbers=[0, 0, 0, 1, 1], tasks_of=[said]
    )
    rows = read_source(tmp_path).rows
    assert [row.instruction for row in rows] == said
    assert [row.world["episode"] for row in rows] == ["0", "0"]


EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def change_episodes(folder, **columns):
    """Other values in the table of episodes; of the camera "c" where a name is short."""
    table = pyarrow.parquet.read_table(folder / EPISODES).to_pydict()
    for name, values in columns.items():
        key = name if name in table else f"videos/c/{name}"
        assert key in table
        table[key] = values
    write_table(folder / EPISODES, table)


def places(folder):
    """First frame and number of frames of each row, and the notes."""
    source = read_source(folder)
    found = {row.world["episode"]: (round(row.start * row.fps), row.num_frames)
             for row in source.rows}  # fmt: skip
    for row in source.rows:
        assert round((row.stop - row.start) * row.fps) == row.num_frames
    return found, " ".join(source.notes)


@pytest.mark.parametrize("begins", [[0.0, 1.0, 2.0], [0.0, 1.25, 1.5], [0.5, 1.75, 3.25]])
def test_lengths_that_fill_the_file_replace_contradictory_times(tmp_path, begins):
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(5, 6, 4))
    right, notes = places(tmp_path)
    assert right == {"0": (0, 5), "1": (5, 6), "2": (11, 4)}
    assert "elsewhere" not in notes
    change_episodes(tmp_path, from_timestamp=begins, to_timestamp=[b + 1 for b in begins])
    mended, notes = places(tmp_path)
    assert mended == right
    assert "episodes lie elsewhere in the video file than their table says" in notes


def test_episodes_that_overlap_or_end_after_the_file_are_left_out_with_a_note(tmp_path):
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(5, 6, 4))
    change_episodes(
        tmp_path, length=[5, 6, 7], from_timestamp=[0.0, 1.0, 2.75], to_timestamp=[None] * 3
    )
    with pytest.raises(ValueError, match="3 episodes are left out: their times in the table"):
        read_source(tmp_path)
    change_episodes(tmp_path, from_timestamp=[0.0, 1.25, 2.75])
    found, notes = places(tmp_path)
    assert found == {"0": (0, 5), "1": (5, 6)}
    assert "1 episodes are left out: their times in the table contradict" in notes
    assert "file-000.mp4, episode 2" in notes


def test_deleted_episodes_leave_gaps_in_a_file(tmp_path):
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(5, 6, 4))
    table = pyarrow.parquet.read_table(tmp_path / EPISODES)
    pyarrow.parquet.write_table(table.take([0, 2]), tmp_path / EPISODES)
    found, notes = places(tmp_path)
    assert found == {"0": (0, 5), "2": (11, 4)}
    assert "info.json says 3 episodes, and 2 are listed" in notes
    assert "left out" not in notes


def test_the_videos_number_of_frames_is_used_instead_of_the_tables(tmp_path):
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(5, 6, 4))
    change_episodes(tmp_path, length=[5, 9, 4])
    found, notes = places(tmp_path)
    assert found == {"0": (0, 5), "1": (5, 6), "2": (11, 4)}
    assert "1 episodes have another number of frames in the video than their table says" in notes
    assert "episode 1: 6, not 9" in notes


def test_the_files_rate_is_used_instead_of_the_tables(tmp_path):
    """Twice as many frames in the same time; and as many frames in half the time."""
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(4, 6))
    video = tmp_path / "videos/c/chunk-000/file-000.mp4"
    write_video(video, num_frames=20, fps=8)
    found, notes = places(tmp_path)
    assert found == {"0": (0, 8), "1": (8, 12)}
    assert "1 video files have another frame rate than info.json says" in notes
    assert "8, not 4" in notes
    write_video(video, num_frames=10, fps=8)
    found, notes = places(tmp_path)
    assert found == {"0": (0, 4), "1": (4, 6)}
    assert {row.fps for row in read_source(tmp_path).rows} == {8.0}


def test_v2_files_are_compared_with_their_tables(tmp_path):
    write_lerobot_v2(tmp_path, cameras=("a", "b"), lengths=(5, 6))
    write_video(tmp_path / "videos/chunk-000/a/episode_000000.mp4", num_frames=7)
    write_video(tmp_path / "videos/chunk-000/b/episode_000001.mp4", num_frames=12, fps=8)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    for name in ("shape", "info"):
        info["features"]["a"].pop(name)
    info["features"]["a"] |= {"shape": [64, 48, 3]}
    write_json(tmp_path / "meta/info.json", info)
    source = read_source(tmp_path)
    assert [(r.num_frames, r.fps, r.height, r.width) for r in source.rows] == [
        (7, 4.0, 48, 64), (5, 4.0, 48, 64), (6, 4.0, 48, 64), (12, 8.0, 48, 64),
    ]  # fmt: skip
    notes = " ".join(source.notes)
    assert "2 videos have another number of frames than the lists say" in notes
    assert "1 videos have another frame rate than the lists say" in notes
    assert "2 videos have another size than the lists say" in notes


@pytest.mark.parametrize("write", [write_lerobot_v2, write_lerobot_v3])
def test_cameras_without_files_are_noted(tmp_path, write):
    write(tmp_path, cameras=("a", "b"), lengths=(5, 6))
    for path in tmp_path.glob("videos/**/*.mp4"):
        if "/b/" in str(path) and "000001" not in path.name:
            path.unlink()
    source = read_source(tmp_path)
    gone = 1 if write is write_lerobot_v2 else 2
    assert [row.camera for row in source.rows].count("a") == 2
    assert [row.camera for row in source.rows].count("b") == 2 - gone
    assert any(f"{gone} episodes have no video of camera 'b'" in note for note in source.notes)


def test_a_camera_that_the_table_of_episodes_does_not_know_is_noted(tmp_path):
    write_lerobot_v3(tmp_path, cameras=("a", "b"))
    table = pyarrow.parquet.read_table(tmp_path / EPISODES)
    kept = [name for name in table.column_names if not name.startswith("videos/b/")]
    pyarrow.parquet.write_table(table.select(kept), tmp_path / EPISODES)
    source = read_source(tmp_path)
    assert {row.camera for row in source.rows} == {"a"}
    assert any("3 episodes have no video of camera 'b'" in note for note in source.notes)


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize(
    ("name", "shape", "names"),
    [
        ("observation.images.far", [48, 64, 1], ["height", "width", "channel"]),
        ("observation.images.far", [1, 48, 64], ["channels", "height", "width"]),
        ("observation.images.far", [48, 64], ["height", "width"]),
        ("observation.images.cam_depth", [48, 64, 3], None),
    ],
)
def test_depth_of_every_kind_is_left_out_with_a_note(tmp_path, kind, name, shape, names):
    write_lerobot_v2(tmp_path, cameras=("observation.images.top",))
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"][name] = {"dtype": kind, "shape": shape, "names": names}
    write_json(tmp_path / "meta/info.json", info)
    source = read_source(tmp_path)
    assert {row.camera for row in source.rows} == {"observation.images.top"}
    assert any("depth" in note and name in note for note in source.notes)


def test_tasks_of_no_frame_are_wordings(tmp_path):
    said = ["put the cube in the bowl", "öffne die Schublade"]
    write_lerobot_v3(
        tmp_path, cameras=("c",), lengths=(5,), task_numbers=[1] * 5, tasks_of=[[*said, "open it"]]
    )
    (row,) = read_source(tmp_path).rows
    assert (row.instruction, row.wordings) == (said[1], [said[1], said[0], "open it"])


def test_tasks_of_frames_replace_those_of_the_list_of_episodes(tmp_path):
    said = ["put the cube in the bowl", "öffne die Schublade"]
    write_lerobot_v3(tmp_path, cameras=("c",), lengths=(5, 6), tasks_of=[[said[1]], [said[1]]])
    source = read_source(tmp_path)
    assert [row.instruction for row in source.rows] == said
    assert any("1 episodes have other tasks in the table of frames" in note
               and "episode 0" in note for note in source.notes)  # fmt: skip
    for path in tmp_path.glob("data/*/*.parquet"):
        path.write_bytes(b"damaged")
    assert [row.instruction for row in read_source(tmp_path).rows] == [said[1], said[1]]
