"""Simulates the arm's execution of a task in a scene, and records the outcome.

All tasks of a scene start from the same state, so they have the same first frame.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from aid.tabletop.language import states
from aid.tabletop.world.mjcf import TIMESTEP, scene_files, scene_mjcf
from aid.tabletop.world.outcome import Ending, succeeded
from aid.tabletop.world.render import Renderer
from aid.tabletop.world.scene import Scene
from aid.tabletop.world.script import CONTROL_STEP, inverse_kinematics, plan, trajectory
from aid.tabletop.world.shapes import FINGER_OPEN
from aid.tabletop.world.tasks import SceneTask
from aid.types import State

_SETTLE_STEPS = 80
_REST_STEPS = 10
"""Control steps (0.2 s) in which an item at rest must not move."""
NUM_STATES = 4


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A video and its ground truth.

    `positions` are the origins of the items' bodies in metres (x towards the camera, y to the
    right, z up): the centre of an object, the middle of a container's underside.
    """

    frames: UInt8[np.ndarray, "f H W 3"]
    positions: Float[np.ndarray, "f i 3"]
    is_held: Bool[np.ndarray, " f"]
    states: list[State]
    success: bool
    seconds: float


class Simulator:
    """The physics of one scene; it can run any of the scene's tasks."""

    def __init__(self, scene: Scene, renderer: Renderer, *, shadows: bool = False):
        self.scene = scene
        self._renderer = renderer
        text = scene_mjcf(scene, render_size=renderer.render_size, shadows=shadows)
        self._model = mujoco.MjModel.from_xml_string(text, scene_files(scene))
        self._data = mujoco.MjData(self._model)
        self._bodies = [self._model.body(f"item{i}").id for i in range(len(scene.items))]
        self._fingers = [self._model.geom(n).id for n in ("left_finger", "right_finger")]
        self._start = self._settle()
        self._shadows = shadows

    def _settle(self) -> np.ndarray:
        joints = inverse_kinematics(*self.scene.home)
        self._data.qpos[:7] = self._data.ctrl[:] = [*joints, FINGER_OPEN, FINGER_OPEN]
        mujoco.mj_step(self._model, self._data, nstep=_SETTLE_STEPS)
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        start = np.empty(mujoco.mj_stateSize(self._model, kind))
        mujoco.mj_getState(self._model, self._data, start, kind)
        return start

    def first_frame(self) -> UInt8[np.ndarray, "H W 3"]:
        """The frame that the videos of all tasks of the scene begin with."""
        self._renderer.use(self.scene, self._model, self._shadows)
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        mujoco.mj_setState(self._model, self._data, self._start, kind)
        mujoco.mj_forward(self._model, self._data)
        return self._renderer.draw(self._data)

    def run(self, task: SceneTask, *, num_frames: int, failure: str | None = None) -> Episode:
        """Runs a task from the scene's first frame.

        Args:
            task: the task.
            num_frames: number of frames, evenly spread from start to end.
            failure: a planned failure, see `script.plan`.
        """
        model, data = self._model, self._data
        self._renderer.use(self.scene, model, self._shadows)
        mujoco.mj_setState(model, data, self._start, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(model, data)
        commands, phases = trajectory(self.scene, plan(self.scene, task, failure))
        num_steps = len(commands)
        shown = np.round(np.linspace(0, num_steps, num_frames)).astype(int)
        frames: list[np.ndarray] = []
        positions = [data.xpos[self._bodies].copy()]
        held = [self._is_held(task.object_index)]
        for step in range(num_steps + 1):
            if step > 0:
                data.ctrl[:] = commands[step - 1]
                mujoco.mj_step(model, data, nstep=round(CONTROL_STEP / TIMESTEP))
                positions.append(data.xpos[self._bodies].copy())
                held.append(self._is_held(task.object_index))
            repeats = int((shown == step).sum())
            if repeats:
                frames += [self._renderer.draw(data)] * repeats
        path, is_held = np.array(positions), np.array(held)
        success = succeeded(
            self.scene,
            task,
            Ending(
                start=path[0],
                shortly_before=path[-1 - _REST_STEPS],
                end=path[-1],
                is_held=bool(is_held[-3:].any()),
            ),
        )
        return Episode(
            frames=np.stack(frames),
            positions=path[shown],
            is_held=is_held[shown],
            states=_true_states(task, phases, is_held, shown, success),
            success=success,
            seconds=num_steps * CONTROL_STEP,
        )

    def _is_held(self, index: int) -> bool:
        """Whether both fingers touch an item."""
        contact = self._data.contact
        body = self._bodies[index]
        touching = set()
        for one, other in contact.geom:
            for finger, geom in ((one, other), (other, one)):
                if finger in self._fingers and self._model.geom_bodyid[geom] == body:
                    touching.add(int(finger))
        return len(touching) == 2


def _true_states(
    task: SceneTask,
    phases: Int[np.ndarray, " t"],
    is_held: Bool[np.ndarray, " t1"],
    shown: Int[np.ndarray, " f"],
    success: bool,
) -> list[State]:
    """The four states according to the simulation, each with its frames."""

    def held_at_end_of(phase: int) -> bool:
        end = int(np.flatnonzero(phases == phase)[-1]) + 1
        return bool(is_held[max(0, end - 5) : end + 1].any())

    grasps = held_at_end_of(2 if task.task.family == "lift" else 1)
    sentences = states(task.task, grasps, held_at_end_of(2), success)
    phase_of_frame = phases[np.maximum(shown - 1, 0)]
    spans = _spans(phase_of_frame)
    return [
        State(text=text, first_frame=first, last_frame=last)
        for text, (first, last) in zip(sentences, spans, strict=True)
        if first <= last
    ]


def _spans(phase_of_frame: Int[np.ndarray, " f"]) -> list[tuple[int, int]]:
    """First and last frame of each phase; the phases are contiguous.

    Each has at least one frame; with fewer than four frames the last phases are empty (first >
    last).
    """
    num_frames = len(phase_of_frame)
    starts = [0]
    for phase in range(1, NUM_STATES):
        start = int((phase_of_frame < phase).sum())
        start = max(starts[-1] + 1, min(start, num_frames - NUM_STATES + phase))
        starts.append(min(start, num_frames))
    ends = [*starts[1:], num_frames]
    return [(start, end - 1) for start, end in zip(starts, ends, strict=True)]
