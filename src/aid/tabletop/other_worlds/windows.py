"""Renders a rollout of any MuJoCo environment and keeps windows in which something moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from aid.tabletop.world.render import Canvas, kept_canvas

MOVED = 0.015
"""A thing moves if one of its coordinates changes by this much, in metres or radians."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A video, its frame rate, and what is known of it."""

    frames: UInt8[np.ndarray, "f H W 3"]
    fps: float
    facts: dict[str, Any]


@runtime_checkable
class Rollout(Protocol):
    """A running simulation. `control_step` is the time of one step, in seconds."""

    model: mujoco.MjModel
    data: mujoco.MjData
    control_step: float

    def steps(self) -> Iterator[bool]:
        """Advances by one step at a time; True where a new episode starts."""

    def things(self) -> Float[np.ndarray, " n"]:
        """Positions of everything but the robot."""


class _Screen(Canvas):
    """Without goals, which are sites and no bodies."""

    def __init__(self, size: int):
        super().__init__(size)
        self.option.sitegroup[:] = 0


def moving_windows(
    rollout: Rollout,
    camera: mujoco.MjvCamera,
    *,
    size: int,
    num_frames: int,
    stride: int,
    num_windows: int,
    max_steps: int,
) -> list[Window]:
    """The first windows of a rollout in which something other than the robot moves.

    Args:
        rollout: the simulation, at its start.
        camera: of all windows.
        size: height and width in pixels.
        num_frames: frames of a window.
        stride: steps from one frame to the next.
        num_windows: how many windows at most; they do not overlap.
        max_steps: when to give up.
    """
    model = rollout.model
    model.vis.global_.offwidth = model.vis.global_.offheight = 2 * size
    model.vis.quality.offsamples, model.vis.quality.shadowsize = 0, 16
    model.light_cutoff[model.light_cutoff > 90] = (
        180  # OpenGL's name for no spot; others it refuses
    )
    screen = kept_canvas(_Screen, size)
    screen.load(model)
    found: list[Window] = []
    frames: list[np.ndarray] = []
    things: list[np.ndarray] = []
    for step, is_new in zip(range(max_steps), rollout.steps(), strict=False):
        if is_new:
            frames, things, start = [], [], step
        if (step - start) % stride:
            continue
        frames.append(screen.picture(rollout.data, camera))
        things.append(rollout.things())
        if len(frames) < num_frames:
            continue
        moved = float(np.ptp(things, axis=0).max())
        if moved >= MOVED:
            fps = round(1 / rollout.control_step / stride, 4)
            found.append(Window(frames=np.stack(frames), fps=fps, facts={"moved": round(moved, 4)}))
        frames, things = [], []
        if len(found) == num_windows:
            break
    return found


def free_camera(
    look_at: tuple[float, float, float], distance: float, azimuth: float, elevation: float
) -> mujoco.MjvCamera:
    """A camera that looks at a point; angles in degrees."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = look_at
    camera.distance, camera.azimuth, camera.elevation = distance, azimuth, elevation
    return camera


def camera_facts(camera: mujoco.MjvCamera) -> dict[str, Any]:
    """The camera as JSON; MuJoCo's own convention."""
    if camera.type == mujoco.mjtCamera.mjCAMERA_FIXED:
        return {"fixed": camera.fixedcamid}
    return {
        "look_at": camera.lookat.round(4).tolist(),
        "distance": round(camera.distance, 4),
        "azimuth": round(camera.azimuth, 4),
        "elevation": round(camera.elevation, 4),
    }
