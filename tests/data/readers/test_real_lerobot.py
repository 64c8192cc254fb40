"""A data set that LeRobot itself writes. `pip install lerobot` first: it is no dependency."""

import av
import numpy as np
import pytest

from aid.data.sources import read_source
from aid.video import frame_files, read_image

EPISODES = [(12, ["put it"]), (7, ["öffne"]), (9, ["a", "b"])]


def grey(episode, frame):
    return 40 * episode + 5 * frame


def shown(source, row):
    """The mean grey of each frame of the row."""
    path = source.folder / row.video
    if path.is_dir():
        first, last = (round(t * row.fps) for t in (row.start, row.stop or 1e6))
        return [read_image(file).mean() for file in frame_files(path)[first:last]]
    with av.open(str(path)) as container:
        frames = [f for f in container.decode(video=0) if row.start - 1e-3 <= f.time]
        return [f.to_ndarray(format="rgb24").mean() for f in frames if f.time < row.stop - 1e-3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "codec"), [("video", "h264"), ("video", "libsvtav1"), ("image", "")]
)
def test_every_frame_of_every_row_is_the_one_that_lerobot_wrote(tmp_path, kind, codec):
    lerobot = pytest.importorskip("lerobot.datasets.lerobot_dataset")
    axes = {"top": ((48, 64, 3), ["height", "width", "channels"])}
    axes["wrist"] = ((3, 96, 80), ["channels", "height", "width"])
    features = {
        f"observation.images.{name}": {"dtype": kind, "shape": shape, "names": names}
        for name, (shape, names) in axes.items()
    }
    features["action"] = {"dtype": "float32", "shape": (2,), "names": ["x", "y"]}
    made = lerobot.LeRobotDataset.create(
        "me/set", fps=10, root=tmp_path / "set", features=features, use_videos=kind == "video",
        **({"vcodec": codec} if codec else {}),
    )  # fmt: skip
    for episode, (length, tasks) in enumerate(EPISODES):
        for frame in range(length):
            images = {
                f"observation.images.{name}": np.full(shape, grey(episode, frame), np.uint8)
                for name, (shape, _) in axes.items()
            }
            task = tasks[0] if frame < 4 else tasks[-1]
            made.add_frame({**images, "action": np.zeros(2, np.float32), "task": task})
        made.save_episode()
    made.finalize()

    source = read_source(tmp_path / "set", unpack_to=tmp_path / "out")
    expected = [(0, 0, 12, "put it"), (1, 0, 7, "öffne"), (2, 0, 4, "a"), (2, 4, 9, "b")]
    for camera, size in {"top": (48, 64), "wrist": (96, 80)}.items():
        rows = [row for row in source.rows if row.camera.endswith(camera)]
        for row, (episode, first, last, task) in zip(rows, expected, strict=True):
            assert (row.instruction, row.num_frames, row.fps) == (task, last - first, 10.0)
            assert (row.height, row.width, row.split) == (*size, "train")
            wanted = [grey(episode, frame) for frame in range(first, last)]
            assert shown(source, row) == pytest.approx(wanted, abs=2)
