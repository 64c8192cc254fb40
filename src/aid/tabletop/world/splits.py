"""The splits of a table-top data set: their scenes and tasks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from aid.tabletop.language import Group, instructions
from aid.tabletop.world.scene import Scene, sample_scene
from aid.tabletop.world.tasks import SceneTask, choose_tasks, choose_twins

MAX_ATTEMPTS = 64
_MAX_SCENES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Split:
    """The properties of a split.

    `val` is for every choice; `test`, `forks` and `combos` are looked at once, at the end.

    `must_succeed` replaces a scene in which the arm fails a task by the next scene, so that every
    video of a test shows what its instruction says. `failure_share` is the share of planned
    failures, whose states describe the failure. `are_twins` selects scenes with two objects of one
    colour, and pairs of tasks that differ in the shape word only.
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

    @property
    def is_learned(self) -> bool:
        """Whether models learn words from it."""
        return not self.is_play and not self.must_succeed


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
        Split(name="val", number=6, tasks_per_scene=4, fewest_tasks=4, must_succeed=True),
    )
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A scene, its tasks, and the planned failure of each task (None: no failure)."""

    scene: Scene
    tasks: list[SceneTask]
    failures: list[str | None]
    wordings: list[int]
    """The index of each instruction's wording in its group."""
    group: Group = "simple"


def candidate_plans(split: Split, seed: int, index: int, group: Group = "simple") -> Iterator[Plan]:
    """Plans for the split's scene number `index`, to be tried in order until one is suitable.

    Different splits, indices and data-set seeds have different scene seeds. The group of wordings
    changes nothing else.
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
                wordings=[int(random.integers(len(instructions(t.task, group)))) for t in tasks],
                group=group,
            )


def _allowed(split: Split, scene: Scene) -> Callable[[SceneTask], bool]:
    if split.is_play:
        return lambda task: True
    return lambda task: task.is_held_out(scene) == split.is_held_out
