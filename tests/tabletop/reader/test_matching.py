import numpy as np
import pytest

from aid.tabletop.reader.matching import (
    Blob,
    best_pair,
    centre_of_mass,
    components,
    gain_map,
    halves,
    main_part,
)


def disc(row, column, radius, size=40):
    rows, columns = np.indices((size, size)) + 0.5
    return np.clip(radius - np.hypot(rows - row, columns - column) + 0.5, 0, 1)


CLEAR = np.ones((40, 40))


def test_a_blob_is_found_where_it_went_to_a_fraction_of_a_pixel():
    blob = Blob(map=disc(12, 10, 4))
    gain = gain_map(blob, disc(20.3, 25.6, 4), CLEAR)
    offset = gain.peaks(1)[0]
    np.testing.assert_allclose(gain.refined(offset), [15.6, 8.3], atol=0.15)
    assert gain.at(offset) / blob.energy == pytest.approx(1, abs=0.1)


def test_the_gain_is_what_its_formula_says():
    rng = np.random.default_rng(0)
    blob, weights, visible = Blob(map=disc(12, 10, 4)), rng.random((40, 40)), rng.random((40, 40))
    gain = gain_map(blob, weights, visible)
    for offset in [(0, 0), (7, -3), (-5, 11)]:
        template = blob.moved(offset)
        direct = (visible * (weights**2 - (weights - template) ** 2)).sum()
        assert gain.at(offset) == pytest.approx(direct, abs=1e-6)


def test_a_half_hidden_blob_is_found():
    visible = CLEAR.copy()
    visible[:, 26:] = 0
    gain = gain_map(Blob(map=disc(12, 10, 4)), visible * disc(20, 26, 4), visible)
    assert gain.peaks(1)[0] == (16, 8)


def test_a_missing_blob_has_no_gain():
    gain = gain_map(Blob(map=disc(12, 10, 4)), np.zeros((40, 40)), CLEAR)
    assert gain.at(gain.peaks(1)[0]) < 1e-6


def test_peaks_lie_apart():
    peaks = gain_map(Blob(map=disc(12, 10, 4)), disc(20, 26, 4), CLEAR).peaks(4)
    pairs = [(a, b) for i, a in enumerate(peaks) for b in peaks[i + 1 :]]
    assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) > 2 for a, b in pairs)


def test_connected_groups_are_numbered():
    labels = components(np.maximum(disc(8, 8, 3), disc(28, 28, 3)), 0.3)
    assert set(labels.ravel()) == {0, 1, 2} and labels[8, 8] != labels[28, 28]


def test_specks_are_dropped_but_not_a_second_item():
    weights = disc(8, 8, 5) + disc(28, 28, 3) + disc(35, 5, 1)
    assert main_part(weights, 2)[35, 5] == 0 and main_part(weights, 2)[28, 28] == 1
    assert main_part(np.zeros((40, 40)), 1).sum() == 0


def test_two_blobs_of_one_colour_are_separated_by_size_even_if_they_touch():
    larger, smaller = halves(np.maximum(disc(12, 12, 5), disc(12, 20, 3.5)))
    assert larger.mass > smaller.mass
    np.testing.assert_allclose(larger.centre, [12, 12], atol=0.7)
    np.testing.assert_allclose(smaller.centre, [20, 12], atol=1.2)
    np.testing.assert_allclose(centre_of_mass(disc(12, 12, 5)), [12, 12], atol=1e-6)


def test_of_two_equal_blobs_the_one_that_left_its_position_has_moved():
    one, other = Blob(map=disc(12, 10, 4)), Blob(map=disc(28, 10, 3.8))
    later = np.maximum(disc(12, 10, 4), disc(20, 30, 3.8))
    peaks = [gain_map(blob, later, CLEAR).peaks(8) for blob in (one, other)]
    (stayed, _), (moved, gain) = best_pair([one, other], peaks, later, CLEAR, stay_bonus=0.1)
    assert stayed == (0, 0) and moved == (20, -8)
    assert gain / other.energy == pytest.approx(1, abs=0.1)


def test_of_two_equal_blobs_one_cannot_hide_behind_the_other():
    one, other = Blob(map=disc(12, 10, 5)), Blob(map=disc(28, 10, 3.5))
    peaks = [gain_map(blob, one.map, CLEAR).peaks(8) for blob in (one, other)]
    _, (_, gain) = best_pair([one, other], peaks, one.map, CLEAR, stay_bonus=0.1)
    assert gain < 0.05 * other.energy
