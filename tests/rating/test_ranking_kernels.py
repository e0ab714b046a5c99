"""Moments of truncated Gaussians, and of performances in a known order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, truncnorm

from pipeline.rating.ranking_kernels import log_normal_cdf, order_performances, truncate_above, truncate_within


@pytest.mark.parametrize("mean", [-30.0, -5.0, 0.0, 0.3, 4.0])
def test_truncation_above_has_the_moments_of_scipy(mean: float) -> None:
    log_mass, new_mean, new_variance = truncate_above(mean, 4.0, 0.5)
    part = truncnorm((0.5 - mean) / 2, np.inf, loc=mean, scale=2)
    assert log_mass == pytest.approx(math.log(truncnorm_mass((0.5 - mean) / 2, math.inf)), rel=1e-9)
    assert new_mean == pytest.approx(part.mean(), rel=1e-6)
    assert new_variance == pytest.approx(part.var(), rel=1e-4)


@pytest.mark.parametrize("mean", [-25.0, -3.0, 0.0, 0.7, 14.5, 40.0])
def test_truncation_within_has_the_moments_of_numbers_on_a_grid(mean: float) -> None:
    log_mass, new_mean, new_variance = truncate_within(mean, 4.0, 0.8)
    x = np.linspace(-0.8, 0.8, 400_001)
    log_density = -0.125 * (x - mean) ** 2
    weights = np.exp(log_density - log_density.max())
    weights[[0, -1]] *= 0.5
    grid_mean = weights @ x / weights.sum()
    # the tail of one exponential is right to a few percent of a small width
    assert new_mean == pytest.approx(grid_mean, abs=0.02)
    assert new_variance == pytest.approx(weights @ (x - grid_mean) ** 2 / weights.sum(), rel=0.1)
    mass = weights.sum() * (x[1] - x[0]) * math.exp(log_density.max()) / (2 * math.sqrt(2 * math.pi))
    assert log_mass == pytest.approx(math.log(mass), abs=0.02)


def truncnorm_mass(low: float, high: float) -> float:
    return 0.5 * (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2)))


@pytest.mark.parametrize("x", [-40.0, -5.0, -1.0, -0.999, 0.0, 9.0])
def test_log_cdf_is_that_of_scipy(x: float) -> None:
    assert log_normal_cdf(x) == pytest.approx(multivariate_normal(0, 1).logcdf(x) if x > -6 else -804.608442, rel=1e-6)


def test_an_order_has_the_probability_of_an_orthant() -> None:
    rng = np.random.default_rng(2)
    factor = rng.normal(size=(4, 4))
    covariance, mean = factor @ factor.T + np.eye(4), rng.normal(size=4)
    # differences of neighbours, negated: all below zero
    A = np.diff(np.eye(4), axis=0)
    exact = multivariate_normal(A @ mean, A @ covariance @ A.T, abseps=1e-8, seed=1).cdf(np.zeros(3))
    log_mass, _, _ = order_performances(mean, covariance, np.arange(4, dtype=np.int8), 0.0)
    assert math.exp(log_mass) == pytest.approx(exact, rel=0.03)


def test_an_order_has_the_moments_of_draws() -> None:
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(4, 4))
    covariance, mean = factor @ factor.T + np.eye(4), rng.normal(size=4)
    draws = rng.multivariate_normal(mean, covariance, size=400_000)
    groups = np.array([1, 0, 1, 2], np.int8)
    margin = 0.7
    gap = draws[:, [1]] - draws[:, [0, 2]]
    lead = draws[:, [0, 2]] - draws[:, [3]]
    kept = draws[(gap > margin).all(1) & (lead > margin).all(1) & (np.abs(draws[:, 0] - draws[:, 2]) < margin)]
    _, precision, shift = order_performances(mean, covariance, groups, margin)
    after = np.linalg.inv(np.linalg.inv(covariance) + precision)
    sd = kept.std(axis=0)
    moved = after @ (np.linalg.solve(covariance, mean) + shift) - kept.mean(axis=0)
    assert np.abs(moved / sd).max() < 0.15
    np.testing.assert_allclose(np.sqrt(np.diagonal(after)), sd, rtol=0.15)
