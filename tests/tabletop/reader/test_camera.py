import numpy as np
import pytest
from blobs import camera_facts

from aid.tabletop.reader.camera import Camera


def test_projecting_a_point_and_back_gives_the_same_point():
    camera = Camera.from_world(camera_facts(azimuth=0.2), 64, 96)
    for x, y, z in [(0.2, -0.1, 0.0), (0.4, 0.14, 0.03), (0.3, 0.0, 0.15)]:
        pixel = camera.pixel(np.array([x, y, z]))
        np.testing.assert_allclose(camera.place(pixel, z), [x, y], atol=1e-9)


def test_the_axes_point_as_in_the_picture():
    camera = Camera.from_world(camera_facts(azimuth=0), 64, 64)
    here, right, near, high = (
        camera.pixel(np.array(p)) for p in [(0.3, 0, 0), (0.3, 0.1, 0), (0.4, 0, 0), (0.3, 0, 0.1)]
    )
    assert right[0] > here[0] + 5 and right[1] == pytest.approx(here[1])
    assert near[1] > here[1] + 5 and high[1] < here[1] - 5


def test_a_camera_without_its_angle_is_refused():
    with pytest.raises(ValueError, match="lacks fovy"):
        Camera.from_world({k: v for k, v in camera_facts().items() if k != "fovy"}, 64, 64)
