import numpy as np
import pytest
from blobs import BLACK, GREY, PAINT, TABLE

from aid.tabletop.reader.colour import HUES, colour_maps, darkness, ramp, smooth, table_colour

table = np.array(TABLE) / 255


def maps_of(rgb, hues=HUES):
    frame = np.array(rgb, float)[None, None] / 255
    return {name: float(values[0, 0]) for name, values in colour_maps(frame, hues, table).items()}


@pytest.mark.parametrize("colour", PAINT)
@pytest.mark.parametrize("light", [0.5, 1.0])
def test_every_paint_has_its_own_colour_in_light_and_shade(colour, light):
    found = maps_of(np.array(PAINT[colour]) * light)
    assert found.pop(colour) > 0.8
    assert max(found.values()) < 0.1


@pytest.mark.parametrize("rgb", [TABLE, BLACK, GREY, (158, 143, 122), (112, 102, 88)])
def test_table_shadow_and_arm_have_no_colour(rgb):
    assert max(maps_of(rgb).values()) < 0.05


def test_a_pixel_half_covered_counts_in_part():
    mixed = 0.5 * np.array(PAINT["red"]) + 0.5 * np.array(TABLE)
    assert 0.2 < maps_of(mixed, {"red": HUES["red"]})["red"] < 1


def test_only_the_gripper_is_dark():
    shades = np.array([[TABLE, np.array(TABLE) * 0.68, BLACK]]) / 255
    np.testing.assert_allclose(darkness(shades, table), [[0, 0, 1]])


def test_smoothing_keeps_the_mean_and_quiets_noise():
    noise = np.random.default_rng(0).normal(0.5, 0.1, (2, 32, 32, 3))
    assert smooth(noise).mean() == pytest.approx(noise.mean(), abs=0.01)
    assert smooth(noise).std() < 0.5 * noise.std()


def test_the_table_is_the_commonest_colour():
    frame = np.full((8, 8, 3), 0.5)
    frame[:3] = 0.1
    np.testing.assert_allclose(table_colour(frame), 0.5)


def test_a_ramp_rises_between_its_ends():
    np.testing.assert_allclose(
        ramp(np.array([0.0, 0.2, 0.3, 0.4, 1.0]), (0.2, 0.4)), [0, 0, 0.5, 1, 1]
    )
