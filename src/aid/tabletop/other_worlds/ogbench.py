"""OGBench's UR5e (Park et al., 2024, arXiv:2410.20092), moved by its scripted oracles.

Task after task without a break, as its authors collect their `play` data.
"""

import functools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float

from aid.tabletop.other_worlds.windows import (
    Window,
    camera_facts,
    free_camera,
    moving_windows,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its viewer, which is not used, misses a display
    import ogbench.manipspace  # noqa: F401  registers the environments
    from ogbench.manipspace.oracles.plan.button_plan import ButtonPlanOracle
    from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle
    from ogbench.manipspace.oracles.plan.drawer_plan import DrawerPlanOracle
    from ogbench.manipspace.oracles.plan.window_plan import WindowPlanOracle

ENVIRONMENTS = (
    "cube-double-v0",
    "cube-triple-v0",
    "cube-quadruple-v0",
    "scene-v0",
    "scene-v0",
    "puzzle-3x3-v0",
    "puzzle-4x4-v0",
)
WINDOWS_PER_ROLLOUT = 4
_OWN_CAMERA_SHARE = 0.3
_MAX_STEPS = 700
_ORACLES = {
    "cube": CubePlanOracle,
    "button": ButtonPlanOracle,
    "drawer": DrawerPlanOracle,
    "window": WindowPlanOracle,
}


def play(seed: int, *, size: int, num_frames: int) -> list[Window]:
    """Up to four windows of one rollout, a function of the arguments alone."""
    random = np.random.default_rng([7304, seed])
    name = str(random.choice(ENVIRONMENTS))
    rollout = _Rollout(name, int(random.integers(2**31)))
    camera = _camera(random)
    windows = moving_windows(
        rollout,
        camera,
        size=size,
        num_frames=num_frames,
        stride=int(random.integers(3, 6)),
        num_windows=WINDOWS_PER_ROLLOUT,
        max_steps=_MAX_STEPS,
    )
    facts = {"environment": name, "camera": camera_facts(camera)}
    return [replace(window, facts=facts | window.facts) for window in windows]


def _camera(random: np.random.Generator) -> mujoco.MjvCamera:
    """The environment's own camera, or one from any side but the robot's."""
    camera = free_camera(
        look_at=(
            float(random.uniform(0.32, 0.48)),
            float(random.uniform(-0.08, 0.08)),
            float(random.uniform(0.03, 0.16)),
        ),
        distance=float(random.uniform(0.8, 1.5)),
        azimuth=float(random.uniform(105, 255)),
        elevation=float(random.uniform(-65, -15)),
    )
    if random.random() < _OWN_CAMERA_SHARE:
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
    return camera


@functools.cache
def _environment(name: str) -> Any:
    """Making one takes seconds, so each process makes it once; a reset restores all of it."""
    gymnasium.logger.min_level = gymnasium.logger.ERROR
    made = gymnasium.make(
        name,
        disable_env_checker=True,
        terminate_at_goal=False,
        mode="data_collection",
        visualize_info=False,
    )
    return made.unwrapped


class _Rollout:
    """Task after task in one environment."""

    def __init__(self, name: str, seed: int):
        self._env = _environment(name)
        np.random.seed(seed)  # the oracles draw from it
        self._observed = self._env.reset(seed=seed)
        self._is_puzzle = name.startswith("puzzle")
        self.model, self.data = self._env.model, self._env.data
        self.control_step = self._env.control_timestep()
        joints = range(self.model.njnt)
        names = [self.model.joint(joint).name for joint in joints]
        is_thing = np.array([not name.startswith("ur5e") for name in names])
        starts = [*self.model.jnt_qposadr, self.model.nq]
        self._things = np.concatenate(
            [np.arange(starts[joint], starts[joint + 1]) for joint in joints if is_thing[joint]]
        )

    def steps(self) -> Iterator[bool]:
        yield True
        while True:
            oracle = self._oracle()
            oracle.reset(*self._observed)
            while not oracle.done:
                action = np.clip(oracle.select_action(*self._observed), -1, 1)
                observation, _, _, _, info = self._env.step(action)
                self._observed = observation, info
                yield False
            self._observed = self._env.set_new_target(p_stack=0.5)

    def _oracle(self) -> Any:
        if self._is_puzzle:
            return ButtonPlanOracle(env=self._env, noise=0.1, gripper_always_closed=True)
        task = self._observed[1].get("privileged/target_task", "cube")
        return _ORACLES[str(task)](env=self._env, noise=0.1)

    def things(self) -> Float[np.ndarray, " n"]:
        return self.data.qpos[self._things].copy()
