import json

import numpy as np
import pytest
from PIL import Image

from aid.tabletop import ASSETS
from aid.tabletop.reader.items import fit_shapes, items_in, measured_blobs
from aid.tabletop.world.render import Renderer, choose_gl_library
from aid.tabletop.world.scene import sample_scene
from aid.tabletop.world.simulate import Simulator

NUMBER = 24


def picture(number: int) -> np.ndarray:
    return np.array(Image.open(ASSETS / "frames" / f"scene-{number}.png").convert("RGB"))


@pytest.fixture(scope="module", params=[64, 128])
def scenes(request):
    """First frames of scenes that nothing was fitted on, and the names of their items."""
    choose_gl_library()
    renderer = Renderer(request.param)
    found = []
    for seed in range(9_300_000_000, 9_300_000_000 + NUMBER):
        scene = sample_scene(seed)
        names = [item.name for item in scene.items]
        found.append((Simulator(scene, renderer).first_frame(), names))
    renderer.close()
    return found


@pytest.mark.gl
def test_first_frames_are_read(scenes):
    read = [(items_in(frame), names) for frame, names in scenes]
    right = sum(
        items is not None and sorted(one[0] for one in items) == sorted(names)
        for items, names in read
    )
    assert right >= NUMBER - 2
    for items, names in read:
        possible = {name for one in items or [] for name in one}
        assert items is None or set(names) <= possible


@pytest.mark.gl
def test_the_fit_finds_the_sizes_of_the_shapes(scenes):
    fitted = fit_shapes([frame for frame, _ in scenes], [names for _, names in scenes])
    shipped = json.loads((ASSETS / "items.json").read_text())
    for shape in ("block", "can", "bowl"):
        assert fitted[shape]["mean"][0] == pytest.approx(shipped[shape]["mean"][0], abs=0.15)


@pytest.mark.parametrize(
    ("number", "names"),
    [
        (1, {"red can", "orange ball", "green plate"}),
        (2, {"red bowl", "yellow block", "green can", "blue block"}),
        (3, {"yellow ball", "green block", "blue box", "purple bowl"}),
        (4, {"red block", "yellow plate", "blue can", "purple block"}),
    ],
)
def test_the_shipped_frames_are_read(number, names):
    assert {one[0] for one in items_in(picture(number))} == names


def test_a_larger_item_has_a_larger_measure():
    sizes = {colour: measures[0] for colour, measures in measured_blobs(picture(1))}
    assert sizes["orange"] < sizes["red"] < sizes["green"]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.full((64, 64, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8),
        np.full((64, 64, 3), (200, 20, 20), np.uint8),
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((64, 96, 3), np.uint8),
    ],
    ids=["black", "grey", "noise", "red", "small", "wide"],
)
def test_other_pictures_are_not_read(frame):
    assert items_in(frame) is None


def test_a_strange_item_makes_the_whole_frame_unread():
    frame = picture(1).copy()
    frame[2:10, 4:60] = (20, 40, 230)
    assert items_in(frame) is None
