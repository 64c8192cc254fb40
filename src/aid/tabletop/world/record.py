"""Makes the manifest row of an episode: instruction, states and the facts of the simulation."""

from dataclasses import asdict
from typing import Any

import mujoco
import numpy as np

from aid.tabletop import STATE_WRITER
from aid.tabletop.language import instructions
from aid.tabletop.other_worlds import OtherWorld
from aid.tabletop.other_worlds.windows import Window
from aid.tabletop.world.scene import Scene
from aid.tabletop.world.simulate import Episode
from aid.tabletop.world.splits import Plan, Split
from aid.tabletop.world.tasks import feasible_tasks
from aid.types import VideoRow


def video_row(split: Split, plan: Plan, number: int, episode: Episode, identity: str) -> VideoRow:
    """The row of the plan's task `number`; the video is `videos/<identity>.mp4`.

    Rows of `play` have neither instruction nor states.
    """
    task = plan.tasks[number]
    wordings = [] if split.is_play else instructions(task.task, plan.group)
    num_frames, height, width, _ = episode.frames.shape
    return VideoRow(
        id=identity,
        video=f"videos/{identity}.mp4",
        instruction=wordings[plan.wordings[number]] if wordings else "",
        num_frames=num_frames,
        fps=round((num_frames - 1) / episode.seconds, 4),
        height=height,
        width=width,
        wordings=wordings,
        states=[] if split.is_play else episode.states,
        state_writer="" if split.is_play else STATE_WRITER,
        world=_world(split, plan, number, episode),
    )


def other_world_row(world: OtherWorld, seed: int, window: Window, identity: str) -> VideoRow:
    """The row of a window of another world; no instruction, no states."""
    num_frames, height, width, _ = window.frames.shape
    return VideoRow(
        id=identity,
        video=f"videos/{identity}.mp4",
        instruction="",
        num_frames=num_frames,
        fps=window.fps,
        height=height,
        width=width,
        world={
            "world": world.name,
            "scene": f"{world.name}-{seed}",
            **window.facts,
            "mujoco": mujoco.__version__,
        },
    )


def _world(split: Split, plan: Plan, number: int, episode: Episode) -> dict[str, Any]:
    scene, task = plan.scene, plan.tasks[number]
    feasible = feasible_tasks(scene)
    world = {
        "scene": scene.seed,
        "look": scene.look,
        "task": {
            **asdict(task.task),
            "object_index": task.object_index,
            "target_index": task.target_index,
        },
        "success": episode.success,
        "failure": plan.failures[number],
        "items": _items(scene, episode),
        "held": task.object_index if bool(episode.is_held[-1]) else None,
        "camera": camera_world(scene),
        "feasible": len(feasible),
        "mujoco": mujoco.__version__,
        "seconds": round(episode.seconds, 4),
    }
    if not split.is_play and plan.group != "simple":
        world["wordings"] = plan.group
    if not split.is_play and split.must_succeed:
        world["alternatives"] = [asdict(other.task) for other in feasible]
    return world


def camera_world(scene: Scene) -> dict[str, Any]:
    """The camera as JSON.

    The columns of `rotation` are the camera's axes in the world: x to the right of the image, y up,
    z backwards (it looks along -z). A point p has the camera coordinates rotation^T (p - position)
    = (x, y, z) and is seen at column W/2 + s x / -z and row H/2 - s y / -z of the image, where
    s = H/2 / tan(fovy/2) and fovy is in degrees.
    """
    return {
        "position": [round(value, 6) for value in scene.camera.position],
        "rotation": np.array(scene.camera.axes).T.round(6).tolist(),
        "fovy": round(scene.camera.fovy, 6),
    }


def _items(scene: Scene, episode: Episode) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "colour": item.colour,
            "shape": item.shape,
            "is_container": item.is_container,
            "start": episode.positions[0, index].round(5).tolist(),
            "end": episode.positions[-1, index].round(5).tolist(),
            "radius": item.size.radius,
            "height": item.size.height,
        }
        for index, item in enumerate(scene.items)
    ]
