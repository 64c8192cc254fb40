"""Windows of episodes: where they start, what their rows say, what is refused and said."""

import av
import numpy as np
import pytest
from layouts import write_frames, write_json, write_lerobot_v3, write_video

from aid.config import FrameConfig, SourceConfig
from aid.data.frames import read_frames
from aid.data.sources import read_source
from aid.data.windows import cut_windows, episode_of, window_report, window_starts
from aid.types import State, VideoRow

ALL = FrameConfig(fps=4.0, windows="all")


def episode(seconds=10.0, fps=20.0, **changes):
    facts = {"id": "a", "video": "a.mp4", "instruction": "x", "num_frames": round(seconds * fps)}
    return VideoRow(**(facts | {"fps": fps, "height": 64, "width": 64} | changes))


def spans(rows):
    return [
        (row.id, pytest.approx(row.start), row.stop and pytest.approx(row.stop)) for row in rows
    ]


def test_without_a_rate_rows_stay_whole():
    rows = [episode(), episode(id="b", num_frames=0, fps=0.0)]
    assert cut_windows(rows, FrameConfig(), 8) == rows


def test_one_window_is_at_the_start_of_each_episode():
    rows = cut_windows([episode(), episode(id="b/top")], FrameConfig(fps=4.0), 8)
    assert spans(rows) == [("a@0ms", 0.0, 2.0), ("b/top@0ms", 0.0, 2.0)]
    assert [row.num_frames for row in rows] == [40, 40]
    assert [row.fps for row in rows] == [20.0, 20.0], "the video's own, which spans are counted in"


def test_all_windows_follow_each_other_without_overlap():
    rows = cut_windows([episode()], ALL, 8)
    assert spans(rows) == [
        ("a@0ms", 0.0, 2.0), ("a@2000ms", 2.0, 4.0), ("a@4000ms", 4.0, 6.0),
        ("a@6000ms", 6.0, 8.0), ("a@8000ms", 8.0, None),
    ]  # fmt: skip


def test_several_windows_are_evenly_spaced():
    rows = cut_windows([episode()], FrameConfig(seconds=2.0, windows=3), 8)
    assert [row.start for row in rows] == pytest.approx([0.0, 4.1, 8.2], abs=0.05)
    assert rows[-1].stop is None
    assert rows[-1].start + 7 / 4 == pytest.approx(199 / 20), "its last frame is the episode's"


def test_a_stride_sets_the_starts_of_windows():
    overlapping = FrameConfig(fps=4.0, windows="all", stride_seconds=1.0)
    starts = [row.start for row in cut_windows([episode()], overlapping, 8)]
    assert starts == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    tiny = FrameConfig(fps=4.0, windows="all", stride_seconds=1e-9)
    starts = window_starts(200, 20.0, tiny, 8)
    assert starts == list(range(starts[-1] + 1)), "no frame starts two windows"


def test_more_windows_than_an_episode_has_frames_become_fewer():
    rows = cut_windows([episode(seconds=2.0)], FrameConfig(fps=4.0, windows=50), 8)
    assert len({row.id for row in rows}) == len(rows) < 50


def test_windows_of_an_episode_within_a_file_stay_in_its_span():
    rows = cut_windows([episode(start=100.0, stop=110.0)], ALL, 8)
    assert [row.start for row in rows] == pytest.approx([100, 102, 104, 106, 108])
    assert rows[-1].stop == 110.0
    assert [row.id for row in rows][1] == "a@2000ms", "counted from the episode's start"


def test_a_short_episode_is_one_window_with_a_note():
    notes = []
    rows = cut_windows([episode(seconds=1.0, stop=1.0), episode(id="b")], ALL, 8, notes)
    assert spans(rows)[0] == ("a@0ms", 0.0, 1.0)
    assert rows[0].num_frames == 20
    assert notes[0] == "6 windows of 2 s are cut from 2 videos and cover 100% of their time."
    assert len(notes) == 2
    assert "1 of 2 episodes are shorter than a window of 2 s" in notes[1]
    assert "'a'" in notes[1]


def test_an_episode_that_a_window_just_fits_into_is_not_called_short():
    notes = []
    assert len(cut_windows([episode(seconds=2.0, fps=15.0)], ALL, 8, notes)) == 1
    assert len(notes) == 1, "what windows cover, and no more"


def test_a_rate_above_the_videos_own_is_noted():
    notes = []
    cut_windows([episode(fps=3.0)], FrameConfig(fps=4.0), 8, notes)
    assert notes[0].endswith("cover 20% of their time. --frames.windows all covers the rest, too.")
    assert len(notes) == 2
    assert "fewer frames a second than the 4 of a window" in notes[1]


def test_a_rate_that_leaves_every_window_one_frame_is_refused():
    with pytest.raises(ValueError, match=r"second frame lies 100 s after.*lasts 10 s.*fps"):
        cut_windows([episode(), episode(id="b", seconds=3.0)], FrameConfig(fps=0.01), 8)
    rows = cut_windows([episode()], FrameConfig(fps=0.01), 1)
    assert len(rows) == 1, "one frame has no second one"


def test_a_rate_so_high_that_every_window_is_one_frame_is_refused():
    with pytest.raises(ValueError, match=r"lasts 0\.1 s, and the videos have 4 frames.* as 4,"):
        cut_windows([episode(fps=4.0), episode(id="b", fps=3.0)], FrameConfig(fps=30.0), 3)
    assert len(cut_windows([episode(fps=4.0), episode(id="b")], FrameConfig(fps=30.0), 3)) == 2


def test_states_are_cut_to_the_window():
    states = [
        State(text="reach", first_frame=0, last_frame=49),
        State(text="grasp", first_frame=50, last_frame=90),
        State(text="lift", first_frame=91, last_frame=199),
    ]
    rows = cut_windows([episode(states=states)], ALL, 8)
    said = [[(s.text, s.first_frame, s.last_frame) for s in row.states] for row in rows]
    assert said == [
        [("reach", 0, 39)],
        [("reach", 0, 9), ("grasp", 10, 39)],
        [("grasp", 0, 10), ("lift", 11, 39)],
        [("lift", 0, 39)],
        [("lift", 0, 39)],
    ]


def test_states_that_span_the_whole_video_stay_in_every_window():
    states = [State(text=text, first_frame=0, last_frame=199) for text in ("reach", "grasp")]
    for row in cut_windows([episode(states=states)], ALL, 8):
        assert [(s.text, s.first_frame, s.last_frame) for s in row.states] == [
            ("reach", 0, 39), ("grasp", 0, 39),
        ]  # fmt: skip


def test_a_video_of_unknown_length_is_one_window_with_a_note():
    notes = []
    damaged = episode(num_frames=0, fps=0.0, states=[State(text="a", first_frame=0, last_frame=3)])
    (row,) = cut_windows([damaged], ALL, 8, notes)
    assert (row.id, row.start, row.stop) == ("a@0ms", 0.0, None)
    assert row.states == damaged.states
    assert "the length of 1 of 1 videos is unknown" in notes[1]


def test_frames_without_a_rate_are_refused():
    with pytest.raises(ValueError, match=r"the frame rate of 'a' is unknown.*--fps 12"):
        cut_windows([episode(num_frames=40, fps=0.0)], ALL, 8)


def test_windows_name_their_episode():
    rows = cut_windows([episode(seconds=4.0, world={"episode": "7", "lab": "x"})], ALL, 8)
    assert [row.world for row in rows] == [
        {"episode": "7", "lab": "x", "window": [0.0, 2.0]},
        {"episode": "7", "lab": "x", "window": [2.0, 4.0]},
    ]
    (whole,) = cut_windows([episode(seconds=2.0)], ALL, 8)
    assert whole.world == {"episode": "a"}
    whole = episode(id="7/wrist", camera="wrist")
    assert {row.world["episode"] for row in cut_windows([whole], ALL, 8)} == {"7"}
    assert {episode_of(row) for row in cut_windows([whole], ALL, 8)} == {episode_of(whole)}


@pytest.mark.parametrize(
    ("changes", "episode_name"),
    [
        ({"id": "shard-0/3/image_1", "camera": "image_1"}, "shard-0/3"),
        ({"id": "episode_3/observation.images.top", "camera": "observation.images.top"},
         "episode_3"),
        ({"id": "top/3", "camera": "observation.images.top"}, "3"),
        ({"id": "top", "camera": "top"}, "top"),
        ({"id": "3", "world": {"scene": 12}}, "12"),
        ({"id": "3", "world": {"scene": 12, "episode": 5}}, "5"),
    ],
)  # fmt: skip
def test_cameras_and_scenes_share_an_episode(changes, episode_name):
    assert episode_of(episode(**changes)) == episode_name


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fps": 0.0}, "frames.fps must be above 0"),
        ({"seconds": float("nan")}, "frames.seconds must be above 0"),
        ({"fps": float("inf")}, "frames.fps must be above 0"),
        ({"fps": 4.0, "seconds": 2.0}, "Give one of them"),
        ({"windows": 2}, "nothing says how long one lasts"),
        ({"windows": "all"}, "nothing says how long one lasts"),
        ({"fps": 4.0, "windows": 0}, "frames.windows must be at least 1, or all, got 0"),
        ({"fps": 4.0, "stride_seconds": 1.0}, "Give frames.windows all"),
        ({"fps": 4.0, "windows": "all", "stride_seconds": -1.0}, "stride_seconds must be above 0"),
        ({"fps": 4.0, "sampling": "seer_trilinear"}, "blends the frames of whole episodes"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        FrameConfig(**settings)


def test_the_report_covers_whole_episodes_and_windows():
    counted = [(240, 20.0, 3), (800, 20.0, 1), (0, 0.0, 2)]
    whole = window_report(counted, FrameConfig(), 16)
    assert (whole["number"], whole["known"], whole["squeezed"]) == (6, 4, 4)
    assert whole["seconds"] == [12, 40]
    assert whole["apart"] == pytest.approx([239 / 20 / 15, 799 / 20 / 15])
    assert (whole["share"], whole["repeated"]) == (1, 0)
    some = window_report(counted, FrameConfig(fps=4.0), 16)
    assert (some["number"], some["per_episode"], some["squeezed"]) == (6, [1, 1], 0)
    assert some["own_apart"] == [5, 5]
    assert some["share"] == pytest.approx(16 / 76)
    every = window_report(counted, FrameConfig(fps=4.0, windows="all"), 16)
    assert (every["number"], every["per_episode"]) == (3 * 3 + 10 + 2, [3, 10])
    assert every["share"] == pytest.approx(1)


def test_the_report_counts_repeated_frames():
    assert window_report([(10, 10.0, 1)], FrameConfig(fps=20.0), 4)["repeated"] == 0.25
    assert window_report([(10, 10.0, 1)], FrameConfig(fps=2.0), 4)["repeated"] == 0.25
    assert window_report([(2, 10.0, 1)], FrameConfig(), 4)["repeated"] == 0.5
    nothing = window_report([], FrameConfig(fps=2.0), 4)
    assert (nothing["number"], nothing["share"], nothing["repeated"]) == (0, None, None)


def frames_of(path):
    """Every frame of a file, decoded from its start."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_windows_of_an_episode_within_a_file_have_its_frames(tmp_path):
    folder = write_lerobot_v3(tmp_path, lengths=(8, 8, 6))  # 4 frames a second, all in one file
    source = read_source(folder, SourceConfig(camera="top"))
    frames = FrameConfig(fps=2.0, windows="all")
    rows = cut_windows(source.rows, frames, 2)
    whole = frames_of(folder / rows[0].video)
    seen = {"0": [(0, 2), (4, 6)], "1": [(8, 10), (12, 14)], "2": [(16, 18)]}
    own = [(row.world["episode"], numbers) for row, numbers in
           zip(rows, [pair for pairs in seen.values() for pair in pairs], strict=True)]  # fmt: skip
    assert [name for name, _ in own] == ["0", "0", "1", "1", "2"]
    for row, (_, numbers) in zip(rows, own, strict=True):
        made = read_frames(folder / row.video, row, frames, 2, 48, 64)
        assert made.fps == 2.0
        for pixels, number in zip(made.pixels, numbers, strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), whole[number]), row.id


def test_a_video_whose_header_has_only_a_duration_is_cut(tmp_path):
    write_video(tmp_path / "a.webm", num_frames=20, fps=4)
    frames = FrameConfig(fps=2.0, windows="all")
    rows = cut_windows(read_source(tmp_path).rows, frames, 4)
    assert [row.id.rpartition("@")[2] for row in rows] == ["0ms", "2000ms"]


def test_a_recording_without_a_length_in_its_header_is_cut_by_its_packets(tmp_path):
    with av.open(str(tmp_path / "a.webm"), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            grey = np.full((48, 64, 3), 5 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    notes = []
    frames = FrameConfig(fps=5.0, windows="all")
    rows = cut_windows(read_source(tmp_path).rows, frames, 10, notes)
    assert [row.id.rpartition("@")[2] for row in rows] == ["0ms", "2000ms"]
    assert len(notes) == 1


def test_folders_of_frames_are_cut_at_the_given_rate(tmp_path):
    write_frames(tmp_path / "set/a", "{}.png", num_frames=12)
    rows = [episode(id="a", video="a", num_frames=0, fps=0.0)]
    write_json(tmp_path / "set/manifest.jsonl", rows[0].to_json())
    frames = FrameConfig(fps=2.0, windows="all")
    with pytest.raises(ValueError, match="--fps 12"):
        cut_windows(read_source(tmp_path / "set").rows, frames, 3)
    rows = cut_windows(read_source(tmp_path / "set", SourceConfig(fps=4.0)).rows, frames, 3)
    assert [(row.start, row.stop) for row in rows] == [(0.0, 1.5), (1.5, None)]
    shown = [read_frames(tmp_path / "set/a", row, frames, 3, 48, 64).pixels for row in rows]
    assert not (shown[0] == shown[1]).all()


@pytest.mark.parametrize("rate", [3.0, 7.0, 9.0, 10.0, 13.0, 16.0])
@pytest.mark.parametrize("num_frames", [4, 5, 6])
def test_a_window_has_the_frames_of_its_rate(tmp_path, rate, num_frames):
    """In a folder, whose spans are counted in frames, and above the folder's own 4 a second too."""
    write_frames(tmp_path / "a", "{}.png", num_frames=40)
    whole = read_frames(tmp_path / "a", episode(fps=4.0), FrameConfig(), 40, 48, 64).pixels
    frames = FrameConfig(fps=rate, windows="all")
    for row in cut_windows([episode(fps=4.0, video="a")], frames, num_frames):
        first = round(row.start * 4)
        wanted = [first + int(np.ceil(i / rate * 4 - 0.5 - 1e-5)) for i in range(num_frames)]
        made = read_frames(tmp_path / "a", row, frames, num_frames, 48, 64).pixels
        assert (made == whole[wanted]).all(), (row.id, wanted)
