import subprocess

import numpy as np
import pytest

from aid.tabletop.world import render
from aid.tabletop.world.scene import PAINT, sample_scene


@pytest.mark.gl
def test_the_camera_projects_an_item_to_where_its_colour_is(renderer):
    from aid.tabletop.world.record import camera_world
    from aid.tabletop.world.simulate import Simulator
    from aid.tabletop.world.tasks import feasible_tasks

    for seed in range(6):
        scene = sample_scene(seed)
        episode = Simulator(scene, renderer).run(feasible_tasks(scene)[0], num_frames=2)
        camera = camera_world(scene)
        rotation = np.array(camera["rotation"])
        frame = episode.frames[0].astype(float)
        half = frame.shape[0] / 2
        focal = half / np.tan(np.radians(camera["fovy"]) / 2)
        for item, position in zip(scene.items, episode.positions[0], strict=True):
            x, y, z = rotation.T @ (position - camera["position"])
            column, row = half + focal * x / -z, half - focal * y / -z
            pixel = frame[int(row), int(column)]
            directions = {name: np.array(rgb) / np.linalg.norm(rgb) for name, rgb in PAINT.items()}
            seen = max(directions, key=lambda n: directions[n] @ pixel / np.linalg.norm(pixel))
            assert seen == item.colour, (seed, item, pixel)


def test_without_a_gl_library_the_error_names_the_remedy(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="no EGL")
    monkeypatch.setattr(render.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(ValueError, match="apt-get install libegl1 libgl1-mesa-dri"):
        render.choose_gl_library.__wrapped__()


def test_only_the_library_that_the_user_chose_is_tried(monkeypatch):
    tried = []

    def run(*args, env, **kwargs):
        tried.append(env["MUJOCO_GL"])
        return subprocess.CompletedProcess([], -11, stdout="", stderr="")

    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(render.subprocess, "run", run)
    with pytest.raises(ValueError, match="unset MUJOCO_GL"):
        render.choose_gl_library.__wrapped__()
    assert tried == ["osmesa"]
