import itertools

import numpy as np
import pytest

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def episodes(renderer):
    """A few scenes, each with four tasks carried out."""
    from aid.tabletop.world.scene import sample_scene
    from aid.tabletop.world.simulate import Simulator
    from aid.tabletop.world.tasks import choose_tasks

    found = []
    for seed in range(7):
        scene = sample_scene(seed)
        simulator = Simulator(scene, renderer)
        for task in choose_tasks(scene, 4, np.random.default_rng(seed)):
            found.append((scene, task, simulator.run(task, num_frames=16)))
    return found


def simulate(renderer, seed, num_frames=16, failure=None, family=None, shadows=False):
    from aid.tabletop.world.scene import sample_scene
    from aid.tabletop.world.simulate import Simulator
    from aid.tabletop.world.tasks import feasible_tasks

    scene = sample_scene(seed)
    tasks = [t for t in feasible_tasks(scene) if family in (None, t.task.family)]
    simulator = Simulator(scene, renderer, shadows=shadows)
    return tasks[0], simulator.run(tasks[0], num_frames=num_frames, failure=failure)


def test_the_arm_fulfils_the_task(episodes):
    assert np.mean([episode.success for _, _, episode in episodes]) >= 0.97


def test_nothing_else_moves(episodes):
    for scene, task, episode in episodes:
        moved = np.linalg.norm(episode.positions[-1] - episode.positions[0], axis=1)
        others = [i for i in range(len(scene.items)) if i != task.object_index]
        assert moved[others].max() < 0.02


def test_all_tasks_of_a_scene_start_from_the_same_pixels(episodes):
    for (scene, _, one), (other_scene, _, other) in itertools.pairwise(episodes):
        is_same = np.array_equal(one.frames[0], other.frames[0])
        assert is_same == (scene.seed == other_scene.seed)


def test_the_gripper_is_home_at_the_end_except_after_lift(episodes):
    for _, task, episode in episodes:
        top = np.abs(episode.frames[-1, :16].astype(int) - episode.frames[0, :16]).mean()
        assert (top < 2) == (task.task.family != "lift"), task


def test_states_cover_every_frame_once(episodes):
    for _, _, episode in episodes:
        covered = [f for s in episode.states for f in range(s.first_frame, s.last_frame + 1)]
        assert covered == list(range(16)) and len(episode.states) == 4


def test_simulators_can_share_a_renderer(renderer):
    from aid.tabletop.world.scene import sample_scene
    from aid.tabletop.world.simulate import Simulator
    from aid.tabletop.world.tasks import feasible_tasks

    scenes = [sample_scene(seed) for seed in (1, 2)]
    simulators = [Simulator(scene, renderer) for scene in scenes]
    first = [
        simulator.run(feasible_tasks(simulator.scene)[0], num_frames=2).frames[0]
        for simulator in (*simulators, simulators[0])
    ]
    assert np.array_equal(first[0], first[2]) and not np.array_equal(first[0], first[1])


def test_the_same_seed_gives_the_same_pixels(renderer):
    (_, one), (_, other) = (simulate(renderer, 4) for _ in range(2))
    assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(one.positions, other.positions)


@pytest.mark.parametrize("num_frames", [2, 3, 4, 7, 40])
def test_any_number_of_frames(renderer, num_frames):
    _, episode = simulate(renderer, 2, num_frames)
    assert episode.frames.shape == (num_frames, 64, 64, 3)
    covered = [f for s in episode.states for f in range(s.first_frame, s.last_frame + 1)]
    assert covered == list(range(num_frames))
    assert len(episode.states) == min(4, num_frames)


@pytest.mark.parametrize("family", ["put", "push", "lift"])
def test_a_planned_miss_fails_and_its_states_mention_it(renderer, family):
    task, episode = simulate(renderer, 2, failure="miss", family=family)
    assert not episode.success
    said = " ".join(state.text for state in episode.states)
    assert {"put": "fails to grasp", "push": "fails to push", "lift": "misses"}[family] in said, (
        task
    )


def test_cast_shadows_change_the_picture_but_not_the_physics(renderer):
    (_, plain), (_, shaded) = (simulate(renderer, 2, 2, shadows=s) for s in (False, True))
    assert not np.array_equal(plain.frames, shaded.frames)
    assert np.array_equal(plain.positions, shaded.positions)


@pytest.mark.parametrize("size", [96, 256])
def test_the_picture_looks_the_same_at_any_size(renderer, size):
    from aid.tabletop.world.render import Renderer

    large_renderer = Renderer(size)
    _, large = simulate(large_renderer, 2, 2)
    large_renderer.close()
    _, small = simulate(renderer, 2, 2)
    assert large.frames.shape == (2, size, size, 3)
    # Compare the average colours of a 32 x 32 grid.
    shrunk = [
        frames.reshape(2, 32, s, 32, s, 3).mean((2, 4))
        for frames, s in ((large.frames, size // 32), (small.frames, 2))
    ]
    assert np.abs(shrunk[0] - shrunk[1]).mean() < 2.0


def test_the_arm_does_the_same_in_every_dressing(renderer):
    from dataclasses import replace

    from aid.tabletop.world.scene import sample_scene
    from aid.tabletop.world.simulate import Simulator
    from aid.tabletop.world.tasks import feasible_tasks

    dressed = next(
        scene
        for scene in (sample_scene(seed, play=True) for seed in range(50))
        if scene.dressing is not None and feasible_tasks(scene)
    )
    task = feasible_tasks(dressed)[0]
    one, other = (
        Simulator(scene, renderer).run(task, num_frames=4)
        for scene in (dressed, replace(dressed, dressing=None))
    )
    np.testing.assert_array_equal(one.positions, other.positions)
    assert np.abs(one.frames[0].astype(int) - other.frames[0]).mean() > 10
