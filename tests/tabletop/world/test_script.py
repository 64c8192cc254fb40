import math

import numpy as np
import pytest

from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.script import CONTROL_STEP, inverse_kinematics, plan, trajectory
from aid.tabletop.world.shapes import FOREARM, HAND, SHOULDER_HEIGHT, UPPER_ARM
from aid.tabletop.world.tasks import feasible_tasks


@pytest.mark.parametrize("point", [(0.3, 0.1, 0.03), (0.2, -0.15, 0.15), (0.42, 0.0, 0.1)])
def test_the_joint_angles_reach_the_point(point):
    yaw, shoulder, elbow, wrist, _ = inverse_kinematics(*point, roll=0.0)
    angle, reach, height = 0.0, 0.0, SHOULDER_HEIGHT
    for turn, length in ((shoulder, UPPER_ARM), (elbow, FOREARM), (wrist, HAND)):
        angle += turn
        reach += length * math.cos(angle)
        height += length * math.sin(angle)
    assert angle == pytest.approx(-math.pi / 2)  # the hand points down
    assert (reach * math.cos(yaw), reach * math.sin(yaw), height) == pytest.approx(point)


def test_every_script_goes_through_all_states_and_all_but_lift_end_at_home():
    for seed in range(15):
        scene = sample_scene(seed)
        for task in feasible_tasks(scene):
            waypoints = plan(scene, task)
            commands, phases = trajectory(scene, waypoints)
            assert np.all(np.diff(phases) >= 0) and set(phases) == {0, 1, 2, 3}
            assert 3.5 < len(commands) * CONTROL_STEP < 6.0
            is_home = np.allclose(commands[-1, :5], inverse_kinematics(*scene.home))
            assert is_home == (task.task.family != "lift")


def test_the_gripper_never_jumps():
    scene = sample_scene(1)
    for task in feasible_tasks(scene):
        commands, _ = trajectory(scene, plan(scene, task))
        assert np.abs(np.diff(commands, axis=0)).max() < 0.2
