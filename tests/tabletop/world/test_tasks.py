import itertools

import numpy as np

from aid.tabletop.language import FAMILIES, instructions, understand
from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.splits import SPLITS, candidate_plans
from aid.tabletop.world.tasks import (
    DISTINCT_DISTANCE,
    choose_tasks,
    choose_twins,
    expected_end,
    feasible_tasks,
)


def plans(split, count):
    return [next(candidate_plans(SPLITS[split], 0, index)) for index in range(count)]


def test_instructions_name_the_task_again():
    for seed in range(20):
        for scene_task in feasible_tasks(sample_scene(seed)):
            for sentence in instructions(scene_task.task):
                assert understand(sentence).task == scene_task.task


def test_all_families_occur():
    tasks = [task for plan in plans("train", 100) for task in plan.tasks]
    counts = {f: sum(t.task.family == f for t in tasks) / len(tasks) for f in FAMILIES}
    assert min(counts.values()) > 0.04, counts
    assert counts["put"] > 0.3 and counts["push"] > 0.15, counts


def test_chosen_tasks_of_a_scene_end_differently():
    for plan in plans("forks", 40):
        assert len(plan.tasks) >= 3
        for one, other in itertools.combinations(plan.tasks, 2):
            ends = [expected_end(plan.scene, task) for task in (one, other)]
            is_same_object = one.object_index == other.object_index
            assert not is_same_object or np.linalg.norm(ends[0] - ends[1]) >= DISTINCT_DISTANCE


def test_most_scenes_hold_a_minimal_pair():
    def differing_words(one, other):
        words = ("family", "object", "target", "direction")
        return sum(getattr(one.task, word) != getattr(other.task, word) for word in words)

    has_pair = [
        any(differing_words(a, b) == 1 for a, b in itertools.combinations(plan.tasks, 2))
        for plan in plans("train", 60)
    ]
    assert np.mean(has_pair) > 0.8


def test_choosing_depends_on_nothing_but_the_generator():
    scene = sample_scene(3)
    once, again = (choose_tasks(scene, 4, np.random.default_rng(1)) for _ in range(2))
    assert once == again


def test_held_out_colour_pairs_are_put_together_in_combos_only():
    for split in ("train", "val", "test", "forks", "twins"):
        for plan in plans(split, 25):
            assert not any(task.is_held_out(plan.scene) for task in plan.tasks)
    for plan in plans("combos", 20):
        assert [task.is_held_out(plan.scene) for task in plan.tasks] == [True]


def test_no_two_splits_or_data_set_seeds_share_a_scene():
    seeds = [
        plan.scene.seed
        for split in SPLITS.values()
        for seed in (0, 1)
        for index in range(5)
        for plan in itertools.islice(candidate_plans(split, seed, index), 2)
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_splits_number_never_changes_because_its_scenes_would():
    numbers = {name: split.number for name, split in SPLITS.items()}
    assert numbers == {
        "play": 0, "train": 1, "test": 2, "forks": 3, "combos": 4, "twins": 5, "val": 6,
    }  # fmt: skip
    assert max(numbers.values()) < 8  # more would collide with the next seed's scenes


def test_scenes_to_choose_on_are_as_those_of_the_test():
    for plan in plans("val", 25):
        assert len(plan.tasks) == SPLITS["test"].tasks_per_scene
        assert not any(task.is_held_out(plan.scene) for task in plan.tasks)
        assert not any(plan.failures)
    assert SPLITS["val"].must_succeed


def test_twins_differ_in_the_shape_word_alone():
    families, shapes = set(), set()
    for plan in plans("twins", 40):
        assert len(plan.tasks) == 4
        for one, other in (plan.tasks[:2], plan.tasks[2:]):
            said, also_said = (instructions(t.task)[0].split() for t in (one, other))
            words = [pair for pair in zip(said, also_said, strict=True) if pair[0] != pair[1]]
            assert len(words) == 1 and set(words[0]) <= {"ball", "can", "block"}
            families.add(one.task.family)
            shapes.add(frozenset(words[0]))
        ends = [(t.object_index, tuple(expected_end(plan.scene, t).round(2))) for t in plan.tasks]
        assert len(set(ends)) == 4
    assert {"put", "lift"} < families and len(shapes) == 3


def test_a_scene_without_two_objects_of_one_colour_has_no_twins():
    def num_colours(scene):
        return len({scene.items[i].colour for i in scene.objects})

    scenes = [sample_scene(seed) for seed in range(60)]
    assert any(num_colours(scene) < len(scene.objects) for scene in scenes)
    for scene in scenes:
        if num_colours(scene) == len(scene.objects):
            assert choose_twins(scene, 4, np.random.default_rng(0)) == []
        else:
            assert choose_twins(scene, 4, np.random.default_rng(0))


def test_planned_failures_are_rare_and_in_training_splits_only():
    for split in ("train", "twins"):
        failures = [failure is not None for plan in plans(split, 400) for failure in plan.failures]
        assert 0.01 < np.mean(failures) < 0.05
    for split in ("play", "val", "test", "forks", "combos"):
        assert all(f is None for plan in plans(split, 10) for f in plan.failures)
