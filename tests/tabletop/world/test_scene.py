import numpy as np
import pytest

from aid.tabletop.language import COLOURS
from aid.tabletop.world.dressing import FINGER_SHAPES
from aid.tabletop.world.scene import PAINT, STANDARD_COUNTS, WORK_AREA, sample_scene
from aid.tabletop.world.textures import TEXTURES

SCENES = [sample_scene(seed) for seed in range(150)]


def test_the_same_seed_gives_the_same_scene():
    assert sample_scene(5) == sample_scene(5)
    assert sample_scene(5, play=True) == sample_scene(5, play=True)
    assert sample_scene(5) != sample_scene(6)


def test_every_colour_word_has_a_paint():
    assert tuple(PAINT) == COLOURS


def test_names_are_unique_and_containers_have_a_colour_of_their_own():
    for scene in SCENES:
        names = [item.name for item in scene.items]
        assert len(set(names)) == len(names)
        assert (len(scene.objects), len(scene.containers)) in STANDARD_COUNTS
        colours = [item.colour for item in scene.items]
        assert all(colours.count(colours[index]) == 1 for index in scene.containers)


def test_in_a_fifth_of_the_scenes_only_the_shape_tells_two_objects_apart():
    shared = [
        len({scene.items[i].colour for i in scene.objects}) < len(scene.objects) for scene in SCENES
    ]
    assert 0.1 < np.mean(shared) < 0.3


def test_items_do_not_touch():
    for scene in SCENES:
        for i, one in enumerate(scene.items):
            for other in scene.items[:i]:
                gap = np.hypot(one.x - other.x, one.y - other.y)
                assert gap > one.size.radius + other.size.radius


def test_a_third_of_play_looks_like_train():
    looks = [sample_scene(seed, play=True).look for seed in range(200)]
    assert np.mean([look == "standard" for look in looks]) == pytest.approx(1 / 3, abs=0.1)


def test_tables_are_too_grey_to_count_as_an_item():
    for scene in SCENES:
        assert max(scene.style.table) - min(scene.style.table) < 0.3


def test_only_the_look_of_play_is_dressed():
    assert all(scene.dressing is None for scene in SCENES)
    for seed in range(100):
        scene = sample_scene(seed, play=True)
        assert (scene.dressing is not None) == (scene.look == "play")


def test_every_place_of_an_item_is_in_the_picture_of_every_camera():
    corners = [(x, y, 0.0) for x in WORK_AREA[0] for y in WORK_AREA[1]]
    for seed in range(300):
        camera = sample_scene(seed, play=True).camera
        x, y, z = np.array(camera.axes) @ (np.array(corners) - camera.position).T
        seen = np.abs([x, y]) / -z / np.tan(np.radians(camera.fovy) / 2)
        assert seen.max() < 0.97, seed


def test_looks_of_play_differ_widely():
    dressings = [sample_scene(seed, play=True).dressing for seed in range(150)]
    dressings = [dressing for dressing in dressings if dressing is not None]
    assert {dressing.table.texture for dressing in dressings} == set(TEXTURES)
    assert {dressing.arm.finger_shape for dressing in dressings} == set(FINGER_SHAPES)
    assert np.mean([len(dressing.clutter) > 2 for dressing in dressings]) > 0.5
