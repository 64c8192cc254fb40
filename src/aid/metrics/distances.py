"""Distances between two sets of features: Fréchet and kernel distance, with their intervals.

Features are rows of an array that may be larger than memory (`numpy.memmap`); all functions read
them block by block. All arithmetic is float64.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BLOCK = 1024
CUBIC = (3, 1.0)
"""Degree and constant of KVD's and KID's kernel (x . y / d + 1)^3."""
Features = Float[np.ndarray, "n d"]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and covariance of features, and their number."""

    num: float
    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]

    @classmethod
    def of(cls, features: Features, weights: Float[np.ndarray, " n"] | None = None) -> "Moments":
        """Mean and unbiased covariance (n - 1).

        Args:
            features: at least two.
            weights: how often each feature counts, as in a bootstrap; once each if None.

        Raises:
            ValueError: fewer than two features.
        """
        weights = np.ones(len(features)) if weights is None else weights
        num = float(weights.sum())
        if num < 2:
            raise ValueError(f"a covariance needs at least 2 videos, got {len(features)}.")
        blocks = [slice(i, i + BLOCK) for i in range(0, len(features), BLOCK)]
        mean = sum(weights[b] @ np.asarray(features[b], np.float64) for b in blocks) / num
        scatter = np.zeros((features.shape[1],) * 2)
        for block in blocks:
            apart = np.asarray(features[block], np.float64) - mean
            scatter += (apart * weights[block, None]).T @ apart
        return cls(num=num, mean=mean, covariance=scatter / (num - 1))


def frechet_distance(a: Moments, b: Moments) -> float:
    """Fréchet distance of two normal distributions with these moments.

    d = |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2)      (Dowson and Landau 1982)
    """
    # tr (S_a^1/2 S_b S_a^1/2)^1/2 is the sum of the singular values of S_a^1/2 S_b^1/2, which also
    # stays exact where a covariance has no inverse.
    shared = np.linalg.svd(_root(a.covariance) @ _root(b.covariance), compute_uv=False).sum()
    apart = a.mean - b.mean
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart @ apart + traces - 2 * shared)


def frechet_of_samples(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """`frechet_distance` of the moments of few features, without a d x d matrix.

    If A and B are the features minus their means, S_a = A'A / (n - 1), so the singular values of
    S_a^1/2 S_b^1/2 are those of A B' / sqrt((n - 1)(m - 1)), an n x m matrix.
    """
    apart = a.mean(0) - b.mean(0)
    a, b = a - a.mean(0), b - b.mean(0)
    n, m = len(a) - 1, len(b) - 1
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.sqrt(n * m)
    traces = np.square(a).sum() / n + np.square(b).sum() / m
    return float(apart @ apart + traces - 2 * shared)


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def kernel_sums(
    a: Features,
    b: Float[np.ndarray, "m d"],
    of_a: Float[np.ndarray, "n r"],
    of_b: Float[np.ndarray, "m r"],
    kernel: tuple[int, float] = CUBIC,
) -> Float[np.ndarray, " r"]:
    """Sum over all pairs of w_i v_j (x_i . y_j / d + c)^degree, for each column of the weights."""
    degree, constant = kernel
    sums = np.zeros(of_a.shape[1])
    for i in range(0, len(a), BLOCK):
        left = np.asarray(a[i : i + BLOCK], np.float64)
        for j in range(0, len(b), BLOCK):
            right = np.asarray(b[j : j + BLOCK], np.float64)
            values = (left @ right.T / a.shape[1] + constant) ** degree
            sums += ((of_a[i : i + BLOCK].T @ values) * of_b[j : j + BLOCK].T).sum(1)
    return sums


def kernel_distances(
    a: Features,
    b: Float[np.ndarray, "m d"],
    of_a: Float[np.ndarray, "n r"],
    of_b: Float[np.ndarray, "m r"],
    kernel: tuple[int, float] = CUBIC,
) -> Float[np.ndarray, " r"]:
    """Unbiased squared MMD with a polynomial kernel, for each column of whole-number weights.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), pairs of different draws only
                                                          (Gretton et al. 2012, Eq. 3; KVD, KID)
    """

    def within(x: Features, weights: Float[np.ndarray, "n r"]) -> Float[np.ndarray, " r"]:
        norms = np.concatenate(
            [np.square(np.asarray(x[i : i + BLOCK], np.float64)).sum(1)
             for i in range(0, len(x), BLOCK)]
        )  # fmt: skip
        alone = weights.T @ (norms / x.shape[1] + kernel[1]) ** kernel[0]  # each draw with itself
        num = weights.sum(0)
        return (kernel_sums(x, x, weights, weights, kernel) - alone) / (num * (num - 1))

    between = kernel_sums(a, b, of_a, of_b, kernel) / (of_a.sum(0) * of_b.sum(0))
    return within(a, of_a) + within(b, of_b) - 2 * between


def kernel_distance(
    a: Features, b: Float[np.ndarray, "m d"], kernel: tuple[int, float] = CUBIC
) -> float:
    """The kernel distance of two sets; its mean is 0 for two sets of one distribution."""
    once = (np.ones((len(a), 1)), np.ones((len(b), 1)))
    return float(kernel_distances(a, b, *once, kernel)[0])


def centred_kernel_distance(a: Features, b: Float[np.ndarray, "m d"]) -> float:
    """The kernel distance of features that are centred set by set, as in the reference evaluator.

    It cannot see a shift of the mean. Use it only to compare with published numbers.
    """
    return kernel_distance(
        a - np.asarray(a, np.float64).mean(0), b - np.asarray(b, np.float64).mean(0)
    )


def draws(num: int, num_resamples: int, generator: np.random.Generator) -> Float[np.ndarray, "n r"]:
    """How often each of `num` videos occurs in each bootstrap resample of the same size."""
    counts = generator.multinomial(num, np.full(num, 1 / num), size=num_resamples)
    return counts.T.astype(np.float64)


def interval(value: float, resampled: Float[np.ndarray, " r"]) -> tuple[float, float]:
    """A 95 % interval: quantiles of the resampled values, shifted so that their mean is `value`.

    Without the shift it would be biased: a bootstrap repeats videos, which enlarges both distances.
    """
    low, high = np.quantile(resampled, (0.025, 0.975)) - resampled.mean()
    return value + float(low), value + float(high)
