"""The splits of a table-top data set: which scenes each has and what is asked in them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from aid.tabletop.language import instructions
from aid.tabletop.world.scene import Scene, sample_scene
from aid.tabletop.world.tasks import SceneTask, choose_tasks, choose_twins

MAX_ATTEMPTS = 64
_MAX_SCENES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Split:
    """What distinguishes a split.

    `must_succeed` replaces a scene in which the arm fails at something by the next one, so that
    every video of a test shows what its instruction says. `failure_share` of the videos fail on
    purpose, with states that say so. `are_twins`: scenes with two objects of one colour only, asked
    in pairs that the shape word tells apart.
    """

    name: str
    number: int
    tasks_per_scene: int
    fewest_tasks: int
    is_play: bool = False
    is_held_out: bool = False
    are_twins: bool = False
    must_succeed: bool = False
    failure_share: float = 0.0


SPLITS = {
    split.name: split
    for split in (
        Split(name="play", number=0, tasks_per_scene=2, fewest_tasks=1, is_play=True),
        Split(name="train", number=1, tasks_per_scene=4, fewest_tasks=4, failure_share=0.03),
        Split(name="test", number=2, tasks_per_scene=4, fewest_tasks=4, must_succeed=True),
        Split(name="forks", number=3, tasks_per_scene=4, fewest_tasks=4, must_succeed=True),
        Split(
            name="combos",
            number=4,
            tasks_per_scene=1,
            fewest_tasks=1,
            is_held_out=True,
            must_succeed=True,
        ),
        Split(
            name="twins",
            number=5,
            tasks_per_scene=4,
            fewest_tasks=4,
            are_twins=True,
            failure_share=0.03,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A scene, what to do in it, and the planned failure of each task (None: do it right)."""

    scene: Scene
    tasks: list[SceneTask]
    failures: list[str | None]
    wordings: list[int]
    """Which wording each task's instruction takes."""


def candidate_plans(split: Split, seed: int, index: int) -> Iterator[Plan]:
    """Plans for the split's scene number `index`, to be tried in order until one will do.

    Scene seeds of different splits, indices and data-set seeds are all different.
    """
    for attempt in range(MAX_ATTEMPTS):
        scene_seed = ((seed * 8 + split.number) * _MAX_SCENES + index) * MAX_ATTEMPTS + attempt
        scene = sample_scene(scene_seed, play=split.is_play)
        random = np.random.default_rng([4409, scene_seed])
        choose = choose_twins if split.are_twins else choose_tasks
        tasks = choose(scene, split.tasks_per_scene, random, _allowed(split, scene))
        if len(tasks) >= split.fewest_tasks:
            yield Plan(
                scene=scene,
                tasks=tasks,
                failures=["miss" if random.random() < split.failure_share else None for _ in tasks],
                wordings=[int(random.integers(len(instructions(t.task)))) for t in tasks],
            )


def _allowed(split: Split, scene: Scene) -> Callable[[SceneTask], bool]:
    if split.is_play:
        return lambda task: True
    return lambda task: task.is_held_out(scene) == split.is_held_out
