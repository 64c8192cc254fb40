"""The Fetch robot of Gymnasium-Robotics (Plappert et al., 2018, arXiv:1802.09464).

Our script lifts a block and puts it elsewhere, pushes it, or hits a puck that slides away.
"""

import colorsys
import importlib
import math
from collections.abc import Iterator
from dataclasses import replace

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

ENVIRONMENTS = ("FetchPickAndPlace-v4", "FetchPush-v4", "FetchSlide-v4")
SHARES = (0.5, 0.3, 0.2)
WINDOWS_PER_ROLLOUT = 3
_MAX_STEPS = 500
_OWN_COLOURS_SHARE = 0.3
_OPEN, _CLOSED = 1.0, -1.0
_Action = Float[np.ndarray, "4"]
_Point = Float[np.ndarray, "3"]


def play(seed: int, *, size: int, num_frames: int) -> list[Window]:
    """Up to three windows of one rollout, a function of the arguments alone."""
    random = np.random.default_rng([7305, seed])
    name = str(random.choice(ENVIRONMENTS, p=SHARES))
    rollout = _Rollout(name, random)
    camera = _camera(random, is_slide="Slide" in name)
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


def _camera(random: np.random.Generator, *, is_slide: bool) -> mujoco.MjvCamera:
    return free_camera(
        look_at=(
            float(random.uniform(1.0, 1.15) if is_slide else random.uniform(1.25, 1.38)),
            float(random.uniform(0.68, 0.82)),
            float(random.uniform(0.42, 0.52)),
        ),
        distance=float(random.uniform(1.2, 1.8) if is_slide else random.uniform(0.8, 1.5)),
        azimuth=float(random.uniform(100, 260)),
        elevation=float(random.uniform(-60, -15)),
    )


class _Rollout:
    """One environment, made anew, because a reset does not restore all of it."""

    def __init__(self, name: str, random: np.random.Generator):
        gymnasium.logger.min_level = gymnasium.logger.ERROR
        gymnasium.register_envs(importlib.import_module("gymnasium_robotics"))
        self._name, self._random = name, random
        self._env = gymnasium.make(name, disable_env_checker=True).unwrapped
        self._env.reset(seed=int(random.integers(2**31)))
        self.model, self.data = self._env.model, self._env.data
        self.control_step = self._env.dt
        self._start = self._grip()
        _paint(self.model, random)

    def steps(self) -> Iterator[bool]:
        while True:
            yield True
            for action in self._script():
                self._env.step(action)
                yield False
            self._env.reset(seed=int(self._random.integers(2**31)))

    def things(self) -> Float[np.ndarray, " n"]:
        return self._thing()

    def _script(self) -> Iterator[_Action]:
        if "Slide" in self._name:
            yield from self._hit()
            return
        while np.linalg.norm(self._thing()[:2] - self._start[:2]) < 0.22:  # within reach
            yield from self._pick_and_place() if "Pick" in self._name else self._push()

    def _pick_and_place(self) -> Iterator[_Action]:
        above = np.array([0, 0, 0.08])
        yield from self._move(self._thing() + above, _OPEN)
        yield from self._move(self._thing(), _OPEN)
        yield from self._wait(6, _CLOSED)
        yield from self._move(self._thing() + above, _CLOSED)
        goal = self._goal()
        is_raised = self._random.random() < 0.4
        yield from self._move(goal + above, _CLOSED)
        if is_raised:
            yield from self._wait(8, _CLOSED)
        yield from self._move(goal, _CLOSED)
        yield from self._wait(4, _OPEN)
        yield from self._move(goal + above, _OPEN)

    def _push(self) -> Iterator[_Action]:
        thing, goal = self._thing(), self._goal()
        way = (goal - thing) / max(float(np.linalg.norm(goal - thing)), 1e-6)
        before = thing - 0.075 * way
        yield from self._move(before + np.array([0, 0, 0.07]), _CLOSED)
        yield from self._move(before, _CLOSED)
        yield from self._move(goal - 0.03 * way, _CLOSED)
        yield from self._move(self._grip() + np.array([0, 0, 0.07]) - 0.03 * way, _CLOSED)

    def _hit(self) -> Iterator[_Action]:
        thing = self._thing()
        angle = self._random.uniform(-0.6, 0.6)
        way = np.array([math.cos(angle), math.sin(angle), 0.0])
        before = thing - 0.10 * way
        yield from self._move(before + np.array([0, 0, 0.06]), _CLOSED)
        yield from self._move(before, _CLOSED)
        yield from self._move(thing + 0.06 * way, _CLOSED, speed=self._random.uniform(0.5, 1.0))
        yield from self._wait(40, _CLOSED)

    def _move(self, target: _Point, fingers: float, speed: float = 0.0) -> Iterator[_Action]:
        """Towards a point; by default at a speed that is drawn. 1 is 1.25 m/s."""
        speed = speed or self._random.uniform(0.2, 0.45)
        for _ in range(40):
            error = target - self._grip()
            if np.linalg.norm(error) < 0.008:
                return
            step = 8 * error
            yield np.array([*(step * min(1.0, speed / np.linalg.norm(step))), fingers])

    def _wait(self, steps: int, fingers: float) -> Iterator[_Action]:
        for _ in range(steps):
            yield np.array([0.0, 0.0, 0.0, fingers])

    def _goal(self) -> _Point:
        x, y = self._start[:2] + self._random.uniform(-0.14, 0.14, 2)
        return np.array([x, y, self._thing()[2]])

    def _thing(self) -> _Point:
        return self.data.site("object0").xpos.copy()

    def _grip(self) -> _Point:
        return self.data.site("robot0:grip").xpos.copy()


def _paint(model: mujoco.MjModel, random: np.random.Generator) -> None:
    """Paints thing, table, floor and sky, or leaves them as they are.

    The crosshair by which the simulation drags the hand is hidden.
    """
    model.geom_rgba[model.geom_bodyid == model.body("robot0:mocap").id, 3] = 0
    if random.random() < _OWN_COLOURS_SHARE:
        return
    table = model.body("table0").geomadr[0]
    geoms = (model.geom("object0").id, table, model.geom("floor0").id)
    for geom, (low, high) in zip(geoms, ((0.3, 1.0), (0.0, 0.6), (0.0, 0.6)), strict=True):
        model.geom_matid[geom] = -1
        model.geom_rgba[geom, :3] = _colour(random, low, high)
    sky = int(np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX)[0])
    pixels = model.tex_data[model.tex_adr[sky] :][
        : 3 * model.tex_height[sky] * model.tex_width[sky]
    ]
    pixels.reshape(-1, 3)[:] = 255 * np.array(_colour(random, 0.0, 0.6))


def _colour(random: np.random.Generator, least: float, most: float) -> tuple[float, float, float]:
    """Any hue, with a saturation in a range."""
    hue, saturation, value = random.uniform((0, least, 0.25), (1, most, 0.8))
    return colorsys.hsv_to_rgb(hue, saturation, value)
