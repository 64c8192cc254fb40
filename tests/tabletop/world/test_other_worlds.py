import dataclasses
import importlib
import json
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from aid.data.licence import licence_of
from aid.data.manifest import read_manifest
from aid.tabletop.other_worlds import OTHER_WORLDS
from aid.tabletop.other_worlds import windows as module
from aid.tabletop.other_worlds.windows import free_camera, moving_windows
from aid.tabletop.world.generate import generate
from aid.tabletop.world.render import close_kept_canvases
from aid.video import read_video

FALLING = """<mujoco><worldbody><light/>
<body pos="0 0 .5"><joint type="slide" axis="0 0 1" damping="1"/>
<geom size=".1" rgba="1 0 0 1"/></body></worldbody></mujoco>"""


class Falling:
    """A ball that is held for `rest` steps and then falls; anew after `length` steps."""

    control_step = 0.02

    def __init__(self, rest, length):
        self.model = mujoco.MjModel.from_xml_string(FALLING)
        self.data = mujoco.MjData(self.model)
        self.rest, self.length = rest, length

    def steps(self):
        while True:
            mujoco.mj_resetData(self.model, self.data)
            mujoco.mj_forward(self.model, self.data)
            yield True
            for step in range(1, self.length):
                if step > self.rest:
                    mujoco.mj_step(self.model, self.data, nstep=10)
                yield False

    def things(self):
        return self.data.qpos.copy()


def fall(rest, length, num_windows=1, max_steps=100):
    return moving_windows(
        Falling(rest, length),
        free_camera((0.0, 0.0, 0.3), 2.0, 90.0, -20.0),
        size=64,
        num_frames=4,
        stride=2,
        num_windows=num_windows,
        max_steps=max_steps,
    )


@pytest.fixture(autouse=True)
def _close():
    yield
    close_kept_canvases()


@pytest.fixture
def worlds():
    """Skips a test where the extra is missing."""
    for world in OTHER_WORLDS.values():
        try:
            world.check_installed()
        except ValueError as error:
            pytest.skip(str(error))


@pytest.mark.gl
def test_windows_without_motion_are_left_out():
    (window,) = fall(rest=12, length=100)
    assert window.frames.shape == (4, 64, 64, 3) and window.fps == 25
    heights = [
        np.argwhere(f[..., 0] > f[..., 2].astype(int) + 60).mean(0)[0] for f in window.frames
    ]
    assert heights[3] > heights[0] + 2
    assert fall(rest=1000, length=1001) == []


@pytest.mark.gl
def test_no_window_spans_two_episodes():
    assert fall(rest=0, length=6, num_windows=3) == []
    windows = fall(rest=0, length=8, num_windows=3)
    assert len(windows) == 3
    for window in windows[1:]:
        np.testing.assert_array_equal(window.frames, windows[0].frames)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    missing = dataclasses.replace(OTHER_WORLDS["ogbench"], package="no_such_package")
    monkeypatch.setitem(OTHER_WORLDS, "ogbench", missing)
    with pytest.raises(ValueError, match=r"needs no_such_package.*aid-video\[worlds\]"):
        generate(tmp_path / "out", splits={"play": 1, "ogbench": 1}, num_workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.gl
@pytest.mark.worlds
def test_each_world_makes_a_split_of_its_own(worlds, tmp_path):
    generate(tmp_path, splits={"ogbench": 1, "fetch": 2}, num_frames=6, num_workers=1)
    counts = json.loads((tmp_path / "dataset.json").read_text())["counts"]
    for world in ("ogbench", "fetch"):
        rows = read_manifest(tmp_path / world)
        assert len(rows) == counts[world]["videos"] >= counts[world]["scenes"]
        assert licence_of(tmp_path / world, []) == "mit"
        for row in rows:
            assert read_video(tmp_path / world / row.video).shape == (6, 64, 64, 3)
            assert row.world["world"] == world and row.world["moved"] >= module.MOVED
            assert not row.instruction and not row.states


@pytest.mark.gl
@pytest.mark.worlds
def test_one_process_makes_all_worlds_and_ends_without_a_word(worlds, tmp_path):
    counts = ["--scenes.play", "1", "--scenes.ogbench", "1", "--num_frames", "4"]
    command = [sys.executable, "-m", "aid.cli", "tabletop", "make", *counts]
    command += ["--num_workers", "1", "--out", "out"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0
    assert "Traceback" not in made.stderr and "Exception" not in made.stderr


@pytest.mark.gl
@pytest.mark.worlds
@pytest.mark.parametrize("world", OTHER_WORLDS)
def test_a_rollout_does_not_depend_on_those_before_it(worlds, world):
    play = importlib.import_module(OTHER_WORLDS[world].module).play
    asked = {"size": 64, "num_frames": 4}
    first = play(0, **asked)
    for seed in range(1, 40):  # until the same environment was used again
        if play(seed, **asked)[0].facts["environment"] == first[0].facts["environment"]:
            break
    again = play(0, **asked)
    assert [window.facts for window in again] == [window.facts for window in first]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
