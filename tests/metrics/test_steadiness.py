"""Static flicker and sharpness: what raises and lowers them, and what must not."""

import numpy as np
import pytest
import torch

from aid.metrics.card import html_page, markdown
from aid.metrics.likeness import compare
from aid.metrics.probes import blurred
from aid.metrics.protocol import choose_protocol
from aid.metrics.steadiness import flicker, gradient_energy, static_places
from aid.metrics.videos import VideoSet
from aid.video import to_uint8, write_mp4

NUM_FRAMES = 8


def table(noise=0.0, path=0, ground=0.0):
    """A textured table over whose upper half a bright square passes, `f 3 64 64` in [-1, 1].

    `noise` is its deviation in grey levels, `path` shifts the square's way, `ground` the picture.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 32, 32, generator=generator) - 0.5
    still = torch.nn.functional.interpolate(coarse, size=(64, 64))
    frames = still.repeat(NUM_FRAMES, 1, 1, 1)
    for time in range(NUM_FRAMES):
        frames[time, :, 8 + path : 18 + path, 4 + 6 * time : 14 + 6 * time] = 0.9
    frames = torch.roll(frames, (int(ground), int(ground)), (-2, -1))
    drawn = torch.randn(frames.shape, generator=generator)
    return (frames + noise * drawn / 127.5).clamp(-1, 1)


def likeness(tmp_path, made, real=None, number=3):
    """The figures of a video against the real one; `number` equal pairs, so intervals exist."""
    paths = {"real": {}, "made": {}}
    for title, frames in (("real", table() if real is None else real), ("made", made)):
        (tmp_path / title).mkdir(parents=True, exist_ok=True)
        for name in map(str, range(number)):
            paths[title][name] = tmp_path / title / f"{name}.mp4"
            write_mp4(paths[title][name], to_uint8(frames), 4.0, lossless=True)
    sets = [VideoSet(title=title, paths=paths[title]) for title in ("real", "made")]
    protocol = choose_protocol("strict", NUM_FRAMES, 1)
    found = compare(sets[0], sets[1:], protocol, None, tmp_path / "features")
    return found.likeness["made"], found


def test_static_places_are_those_that_nothing_comes_near():
    places = static_places(table(noise=1))
    assert not places[8:18, 4:56].any()
    assert not places[18:21, 30].any()  # smoothed over 1 pixel, then a margin of 2
    assert places[21:].all()
    assert not static_places(torch.rand(4, 3, 64, 64)).any()


def test_flicker_is_the_median_change_in_grey_levels():
    places = torch.ones(4, 4, dtype=torch.bool)
    frames = torch.zeros(6, 3, 4, 4)
    frames[1::2] = 2 / 127.5
    assert flicker(frames, places) == pytest.approx(2, abs=1e-4)
    assert flicker(frames, ~places) is None
    assert flicker(frames[:1], places) is None
    frames = torch.zeros(6, 3, 4, 4)
    frames[3] = 1  # something passes: two of five changes
    assert flicker(frames, places) == 0


def test_the_gradient_energy_of_a_ramp_is_its_squared_slope_in_every_channel():
    ramp = (0.1 * torch.arange(8)).expand(2, 3, 8, 8)
    assert gradient_energy(ramp) == pytest.approx(torch.full((6, 6), 3 * 0.1**2), rel=1e-5)
    assert gradient_energy(ramp.mT) == pytest.approx(gradient_energy(ramp), rel=1e-5)


def test_real_videos_against_themselves_are_at_1(tmp_path):
    noisy = table(noise=2)
    one, _ = likeness(tmp_path, noisy, noisy)
    for number in (one.sharpness, one.sharpness_static, one.sharpness_moving,
                   one.static_flicker_ratio):  # fmt: skip
        assert number.value == pytest.approx(1) and number.num_videos == 3
    assert one.static_flicker.value == one.real_static_flicker > 1
    assert 0.4 < one.static_share < 0.9


def test_blur_lowers_sharpness_and_not_flicker(tmp_path):
    one, _ = likeness(tmp_path, blurred(table(), 1 / 64))
    assert 0.4 < one.sharpness.value < 0.9
    assert one.sharpness_static.value < 0.9 and one.sharpness_moving.value < 0.9
    assert one.static_flicker.value == pytest.approx(0, abs=0.05)


def test_blur_of_moving_things_alone_is_seen_at_moving_places(tmp_path):
    real = table()
    one, _ = likeness(tmp_path, torch.where(static_places(real), real, blurred(real, 1 / 64)))
    assert one.sharpness_moving.value < 0.9
    assert one.sharpness_static.value == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("deviation", [2, 8])
def test_noise_raises_flicker_and_hardly_sharpness(tmp_path, deviation):
    quiet, noisy = table(noise=1), table(noise=1)
    noisy += deviation / 127.5 * torch.randn(noisy.shape, generator=torch.Generator())
    one, _ = likeness(tmp_path, noisy, quiet)
    expected = (deviation**2 + 1) ** 0.5
    assert one.static_flicker_ratio.value == pytest.approx(expected, rel=0.25)
    assert one.static_flicker.value > 1.5 * one.real_static_flicker
    assert 1 <= one.sharpness.value < 1.1


def test_a_shift_of_one_pixel_hardly_changes_a_figure(tmp_path):
    one, _ = likeness(tmp_path, table(noise=2, ground=1), table(noise=2))
    assert one.sharpness.value == pytest.approx(1, abs=0.05)
    assert one.static_flicker_ratio.value == pytest.approx(1, abs=0.1)


def test_something_that_passes_elsewhere_is_not_flicker(tmp_path):
    one, _ = likeness(tmp_path, table(path=30), table())
    assert one.static_flicker.value < 0.1
    assert one.motion_ratio.value == pytest.approx(1, abs=0.1)


def test_constant_videos_are_divided_by_nothing(tmp_path):
    grey = torch.zeros(NUM_FRAMES, 3, 64, 64)
    one, found = likeness(tmp_path, grey, grey)
    assert one.sharpness is None and one.static_flicker_ratio is None and one.motion_ratio is None
    assert one.static_flicker.value == one.real_static_flicker == 0 and one.static_share == 1
    (row,) = [line for line in markdown(found).splitlines() if line.endswith("| 100 % |")]
    assert row == "| made | 0 (0 to 0) | 0.00 | - | - | - | - | 100 % |"


def test_without_a_static_place_there_is_no_flicker(tmp_path):
    generator = torch.Generator().manual_seed(1)
    everything = torch.rand(NUM_FRAMES, 3, 64, 64, generator=generator) * 2 - 1
    one, _ = likeness(tmp_path, everything, everything)
    assert one.static_flicker is None and one.real_static_flicker is None and one.static_share == 0
    assert one.sharpness.value == 1 and one.sharpness_static is None


def test_the_card_shows_the_figures_with_intervals(tmp_path):
    made = blurred(table(noise=2), 1 / 64)
    one, found = likeness(tmp_path, made, table(noise=2))
    for text in (markdown(found), html_page("any", found)):
        assert "Static flicker and sharpness" in text
        assert f"{one.sharpness.value:.4g} (" in text
        assert f"{one.static_flicker.value:.4g} (" in text


def test_videos_weigh_by_their_energy_and_intervals_span_them(tmp_path):
    """One of two videos is blurred; the ratio is that of the sums, not the mean of ratios."""
    real, paths = table(), {"real": {}, "made": {}}
    for name, made in (("sharp", real), ("blurred", blurred(real, 1 / 32))):
        for title, frames in (("real", real), ("made", made)):
            paths[title][name] = tmp_path / f"{title}-{name}.mp4"
            write_mp4(paths[title][name], to_uint8(frames), 4.0, lossless=True)
    sets = [VideoSet(title=title, paths=paths[title]) for title in paths]
    protocol = choose_protocol("strict", NUM_FRAMES, 1)
    found = compare(sets[0], sets[1:], protocol, None, tmp_path / "features").likeness["made"]
    alone, _ = likeness(tmp_path / "alone", blurred(real, 1 / 32))
    expected = np.sqrt((1 + alone.sharpness.value**2) / 2)
    assert found.sharpness.value == pytest.approx(expected, rel=1e-6)
    assert found.sharpness.low < found.sharpness.value < found.sharpness.high
