import numpy as np
import pytest
from scipy.linalg import sqrtm

from aid.metrics import distances
from aid.metrics.distances import (
    Moments,
    centred_kernel_distance,
    draws,
    frechet_distance,
    interval,
    kernel_distance,
    kernel_distances,
)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def features(generator, num, dim=24):
    """Correlated, shifted, of unequal spread: like real ones."""
    mixing = generator.normal(size=(dim, dim)) / np.arange(1, dim + 1)
    return generator.normal(size=(num, dim)) @ mixing + generator.normal(size=dim)


def test_equal_sets_are_at_distance_zero(generator):
    x = features(generator, 100)
    assert abs(frechet_distance(Moments.of(x), Moments.of(x))) < 1e-9 * np.trace(np.cov(x.T))
    # With fewer videos than features the covariance has no inverse.
    y = features(generator, 10, dim=40)
    assert abs(frechet_distance(Moments.of(y), Moments.of(y[::-1]))) < 1e-6


def test_known_normal_distributions_have_the_closed_form(generator):
    """Independent coordinates: |m_a - m_b|^2 + sum (s_a - s_b)^2, in any rotation."""
    mean, a, b = generator.normal(size=6), generator.uniform(1, 3, 6), generator.uniform(1, 3, 6)
    turn, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    one = Moments(num=9.0, mean=np.zeros(6), covariance=turn @ np.diag(a**2) @ turn.T)
    other = Moments(num=9.0, mean=mean, covariance=turn @ np.diag(b**2) @ turn.T)
    exact = mean @ mean + ((a - b) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(exact, rel=1e-9)


def test_the_frechet_distance_is_scipys(generator):
    x, y = features(generator, 300), features(generator, 200)
    a, b = np.cov(x.T), np.cov(y.T)
    apart = x.mean(0) - y.mean(0)
    reference = apart @ apart + np.trace(a + b) - 2 * np.trace(sqrtm(a @ b).real)
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(reference, rel=1e-6)


def test_weights_count_videos_as_repeating_them_does(generator):
    x, y = features(generator, 7), features(generator, 9)
    of_x, of_y = generator.integers(0, 4, (7, 1)), generator.integers(0, 4, (9, 1))
    again_x, again_y = np.repeat(x, of_x[:, 0], 0), np.repeat(y, of_y[:, 0], 0)
    one, other = Moments.of(x, of_x[:, 0].astype(float)), Moments.of(again_x)
    assert np.allclose(one.covariance, other.covariance) and np.allclose(one.mean, other.mean)
    got = kernel_distances(x, y, of_x.astype(float), of_y.astype(float))[0]
    assert got == pytest.approx(kernel_distance(again_x, again_y), rel=1e-9)


def test_the_kernel_distance_is_the_textbooks_double_sum(generator, monkeypatch):
    x, y = features(generator, 11), features(generator, 13)

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    own = [[k(a, b) for j, b in enumerate(z) for i, a in enumerate(z) if i != j] for z in (x, y)]
    reference = np.mean(own[0]) + np.mean(own[1]) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(reference, rel=1e-9)
    monkeypatch.setattr(distances, "BLOCK", 4)
    assert kernel_distance(x, y) == pytest.approx(reference, rel=1e-9)
    assert np.allclose(Moments.of(x).covariance, np.cov(x.T))


def test_the_kernel_distance_of_one_distribution_is_zero_on_average(generator):
    values = [
        kernel_distance(generator.normal(size=(40, 8)), generator.normal(size=(40, 8)))
        for _ in range(200)
    ]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0  # unbiased, so not clamped


def test_a_shifted_mean_is_seen_by_all_but_the_centred_distance(generator):
    x, y = generator.normal(size=(300, 20)), generator.normal(size=(300, 20))
    floor, spread = kernel_distance(x, y), 3 * abs(centred_kernel_distance(x, y)) + 0.05
    shifted = y + 1.0
    assert kernel_distance(x, shifted) > floor + 1
    assert frechet_distance(Moments.of(x), Moments.of(shifted)) > 15
    assert abs(centred_kernel_distance(x, shifted)) < spread
    assert centred_kernel_distance(x, shifted) == pytest.approx(centred_kernel_distance(x, y))


def test_the_bootstrap_interval_surrounds_the_value_and_shrinks_with_more_videos(generator):
    widths = []
    for num in (50, 800):
        values = generator.normal(size=num)
        weights = draws(num, 400, generator)
        assert (weights.sum(0) == num).all()
        low, high = interval(values.mean(), values @ weights / num)
        assert low < values.mean() < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.35)
    assert widths[1] == pytest.approx(2 * 1.96 / np.sqrt(800), rel=0.25)


def test_one_video_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 videos, got 1"):
        Moments.of(np.zeros((1, 3)))
