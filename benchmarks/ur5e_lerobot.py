"""Writes a LeRobot v3 data set of simulated UR5e episodes with tools of others.

COMMAND  python3.12 -m venv ur5e && ur5e/bin/pip install 'lerobot[dataset]==0.6.1' ogbench==1.2.2
         apt-get install libegl1 libgl1-mesa-dri
         MUJOCO_GL=egl ur5e/bin/python benchmarks/ur5e_lerobot.py data/ur5e --episodes 60
HARDWARE one CPU core
TIME     about ten seconds per episode

OGBench's oracle moves and stacks cubes on a table; the `lerobot` package writes the episodes as
it does for a recorded robot (two cameras, AV1 video). The instruction comes from the
environment's target; episodes that the environment does not count as a success are left out.
`--raw FOLDER` keeps the pixels that were given to lerobot as lossless FFV1 video, for comparison
with a reader's frames.
"""

import argparse
from pathlib import Path

import av
import gymnasium
import mujoco
import numpy as np
import ogbench.manipspace  # noqa: F401  registers the environments
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

COLOURS = ("red", "blue", "orange", "green")
EVERY = 2
"""Control steps from one recorded frame to the next."""
MAX_STEPS, NUM_JOINTS = 400, 6
NEAREST_TARGET = 0.08
"""Metres; a target nearer than that asks for a move that nobody would see."""
ON_A_CUBE = 0.04
"""Metres above the table from which on a target lies on another cube."""


def instruction_of(info: dict, num_cubes: int) -> str | None:
    """What the environment asks for, in words; None where the cube hardly has to move.

    Left and right are those of the front camera, which looks at the robot: +y is right, +x nearer.
    """
    cube = int(info["privileged/target_block"])
    start, goal = info[f"privileged/block_{cube}_pos"], info["privileged/target_block_pos"]
    if np.linalg.norm(goal - start) < NEAREST_TARGET:
        return None
    if goal[2] > ON_A_CUBE:
        others = [other for other in range(num_cubes) if other != cube]
        distance = [
            np.linalg.norm(info[f"privileged/block_{i}_pos"][:2] - goal[:2]) for i in others
        ]
        below = others[int(np.argmin(distance))]
        return f"stack the {COLOURS[cube]} cube on the {COLOURS[below]} cube"
    nearer, right = (goal - start)[:2]
    if abs(right) > abs(nearer):
        way = "to the right" if right > 0 else "to the left"
    else:
        way = "nearer" if nearer > 0 else "farther away"
    return f"move the {COLOURS[cube]} cube {way}"


def side_camera() -> mujoco.MjvCamera:
    """A second camera, which looks along the table."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.lookat[:] = (0.425, 0.0, 0.1)
    camera.distance, camera.azimuth, camera.elevation = 1.2, 90, -35
    return camera


def episode(env: gymnasium.Env, oracle: CubePlanOracle, seed: int) -> dict | None:
    """One rollout of the oracle; None if it is not worth keeping."""
    inner = env.unwrapped
    observation, info = env.reset(seed=seed)
    instruction = instruction_of(info, inner._num_cubes)
    if instruction is None:
        return None
    oracle.reset(observation, info)
    cameras = {"front": "front_pixels", "side": side_camera()}
    inner.render(camera="front_pixels")
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        inner._renderer.scene.flags[flag] = False  # several times slower without a GPU
    seen: dict[str, list[np.ndarray]] = {name: [] for name in cameras}
    state, action, is_success = [], [], False
    for step in range(MAX_STEPS):
        move = np.clip(oracle.select_action(observation, info), -1, 1)
        if step % EVERY == 0:
            for name, camera in cameras.items():
                seen[name].append(inner.render(camera=camera).copy())
            state.append(info["proprio/joint_pos"].astype(np.float32))
            action.append(np.asarray(move, np.float32))
        observation, _, _, _, info = env.step(move)
        is_success = bool(info["success"])
        if oracle.done:
            break
    if not is_success:
        return None
    return {"seen": seen, "state": state, "action": action, "instruction": instruction}


def write_raw(path: Path, frames: list[np.ndarray], fps: int) -> None:
    """Frames without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def main() -> None:
    """Rolls out and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the data set; must not exist")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--env", default="cube-double-v0")
    parser.add_argument("--images", action="store_true", help="pictures in the tables, no video")
    parser.add_argument("--raw", type=Path, help="folder for the same frames without loss")
    options = parser.parse_args()
    env = gymnasium.make(
        options.env, terminate_at_goal=False, mode="data_collection", visualize_info=False,
        max_episode_steps=1001, width=options.size, height=options.size,
    )  # fmt: skip
    oracle = CubePlanOracle(env=env.unwrapped, noise=0.0, noise_smoothing=0.5)
    np.random.seed(options.seed)  # the oracle draws from it
    fps = round(1 / env.unwrapped._control_timestep / EVERY)
    picture = {
        "dtype": "image" if options.images else "video",
        "shape": (options.size, options.size, 3),
        "names": ["height", "width", "channels"],
    }
    vector = {"dtype": "float32", "names": None}
    moves = env.action_space.shape[0]
    features = {
        "observation.images.front": picture,
        "observation.images.side": picture,
        "observation.state": {**vector, "shape": (NUM_JOINTS,)},
        "action": {**vector, "shape": (moves,)},
    }
    written = LeRobotDataset.create(
        repo_id="local/ur5e", fps=fps, features=features, root=options.out, robot_type="ur5e",
        use_videos=not options.images,
    )  # fmt: skip
    if options.raw:
        options.raw.mkdir(parents=True)
    made = tried = 0
    while made < options.episodes:
        found = episode(env, oracle, seed=options.seed * 100_000 + tried)
        tried += 1
        if found is None:
            continue
        for place, (state, action) in enumerate(zip(found["state"], found["action"], strict=True)):
            written.add_frame(
                {
                    **{f"observation.images.{n}": f[place] for n, f in found["seen"].items()},
                    "observation.state": state,
                    "action": action,
                    "task": found["instruction"],
                }
            )
        written.save_episode()
        for name, frames in found["seen"].items() if options.raw else ():
            write_raw(options.raw / f"{made:06d}_{name}.mkv", frames, fps)
        made += 1
        print(f"{made}/{options.episodes}: {found['instruction']}, {len(found['state'])} frames")
    written.finalize()


if __name__ == "__main__":
    main()
