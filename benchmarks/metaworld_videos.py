"""Records Meta-World's scripted experts, a world that the backbone is not pretrained on.

COMMAND  python -m venv v && v/bin/pip install -e . metaworld==3.1.1
         apt-get install libegl1 libgl1-mesa-dri
         v/bin/python benchmarks/metaworld_videos.py data/metaworld
HARDWARE one CPU core
TIME     half a minute

Meta-World (Yu et al., 2019, arXiv:1910.10897; MIT) pins MuJoCo 3.3.0, hence an environment of its
own. Writes a data set in aid's format (docs/data.md), without words: a video of each task in
alphabetical order, if a thing moves in it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import metaworld
import mujoco
import numpy as np
from jaxtyping import Float
from metaworld.policies import ENV_POLICY_MAP

from aid.data.manifest import write_manifest
from aid.tabletop.other_worlds import OtherWorld
from aid.tabletop.other_worlds.windows import moving_windows
from aid.tabletop.world.record import other_world_row
from aid.tabletop.world.render import choose_gl_library
from aid.video import write_mp4

METAWORLD = OtherWorld(
    name="metaworld",
    module="metaworld",
    package="metaworld",
    licence="mit",
    about="Meta-World's Sawyer (https://meta-world.github.io), moved by its scripted experts",
)
CAMERAS = ("corner", "corner2", "corner3", "corner4")
"""All of them are mounted upside down, so pictures are turned by half a turn."""
STRIDE = 5
MAX_STEPS = 450
CARD = f"""---
license: {METAWORLD.licence}
---

Videos of {METAWORLD.about}.
"""


class Expert:
    """A scripted expert at its task."""

    def __init__(self, task: str, seed: int):
        benchmark = metaworld.MT1(task, seed=seed)
        self._env = benchmark.train_classes[task]()
        self._env.set_task(benchmark.train_tasks[0])
        self._policy = ENV_POLICY_MAP[task]()
        self._observed = self._env.reset(seed=seed)[0]
        self.model, self.data = self._env.model, self._env.data
        self.control_step = self._env.dt

    def steps(self) -> Iterator[bool]:
        """Advances by one step at a time."""
        yield True
        while True:
            action = np.clip(self._policy.get_action(self._observed), -1, 1)
            self._observed = self._env.step(action)[0]
            yield False

    def things(self) -> Float[np.ndarray, " n"]:
        """Positions of two things, where the task has them."""
        return self._observed[[4, 5, 6, 11, 12, 13]]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--num_frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    choose_gl_library()
    (asked.out / "videos").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, task in enumerate(sorted(ENV_POLICY_MAP)):
        if len(rows) == asked.videos:
            break
        expert = Expert(task, asked.seed)
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        camera.fixedcamid = expert.model.camera(CAMERAS[number % len(CAMERAS)]).id
        windows = moving_windows(
            expert,
            camera,
            size=asked.size,
            num_frames=asked.num_frames,
            stride=STRIDE,
            num_windows=1,
            max_steps=MAX_STEPS,
        )
        for window in windows:
            frames = np.ascontiguousarray(window.frames[:, ::-1, ::-1])
            row = other_world_row(METAWORLD, asked.seed, window, f"metaworld-{task}")
            row.world.update(scene=f"{task}-{asked.seed}", environment=task)
            write_mp4(asked.out / row.video, frames, fps=row.fps, lossless=True)
            rows.append(row)
        print(f"{task:<28} {len(windows)} video", flush=True)
    (asked.out / "README.md").write_text(CARD)
    write_manifest(asked.out, rows)


if __name__ == "__main__":
    main()
