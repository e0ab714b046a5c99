"""Rank groups: the definition, its limits, and that leaders are what they say in simulated worlds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.rating.joint_draws import rank_values
from pipeline.rating.posterior import PosteriorSettings, fit_posterior
from pipeline.rating.rank_groups import group_models
from tests.rating.arenas import count_ballots, model_names, simulate_ballots


def group_naive(mean: list[float], covariance: list[list[float]], ranks: list[int]) -> list[int]:
    """Do as the definition says, one model at a time."""
    order = sorted(range(len(mean)), key=ranks.__getitem__)
    groups, number, leader = [0] * len(mean), 0, -1
    for m in order:
        if leader >= 0:
            variance = covariance[leader][leader] + covariance[m][m] - 2 * covariance[leader][m]
            p_stronger = norm.cdf((mean[leader] - mean[m]) / np.sqrt(max(variance, 1e-300)))
        if leader < 0 or p_stronger > norm.cdf(1.959963984540054):
            leader, number = m, number + 1
        groups[m] = number
    return groups


@st.composite
def moments(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    root = rng.normal(size=(n, n)) * rng.choice([0.05, 0.3, 2.0], size=n)[:, None]
    return rng.normal(size=n).round(draw(st.integers(0, 3))), root @ root.T


@given(moments())
def test_groups_agree_with_the_definition(given_moments: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    mean, covariance = given_moments
    ranks = rank_values(mean)
    groups = group_models(mean, covariance, ranks)
    assert groups.tolist() == group_naive(mean.tolist(), covariance.tolist(), ranks.tolist())
    down = groups[np.argsort(ranks)]
    assert down[0] == 1
    assert set(np.diff(down).tolist()) <= {0, 1}


@given(moments())
def test_variances_alone_are_independent_models(given_moments: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    mean, covariance = given_moments
    variances, ranks = np.diagonal(covariance).copy(), rank_values(mean)
    assert group_models(mean, variances, ranks).tolist() == group_models(mean, np.diag(variances), ranks).tolist()


def test_equal_models_are_one_group_and_certain_ones_are_not() -> None:
    ranks = np.arange(1, 5)
    assert group_models(np.zeros(4), np.zeros((4, 4)), ranks).tolist() == [1, 1, 1, 1]
    assert group_models(np.array([3.0, 2.0, 1.0, 0.0]), np.zeros((4, 4)), ranks).tolist() == [1, 2, 3, 4]


def test_correlation_separates_what_variances_do_not() -> None:
    mean, ranks = np.array([0.5, 0.0]), np.array([1, 2])
    assert group_models(mean, np.array([[9.0, 8.99], [8.99, 9.0]]), ranks).tolist() == [1, 2]
    assert group_models(mean, np.array([9.0, 9.0]), ranks).tolist() == [1, 1]


def test_a_common_shift_changes_no_group() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(8, 8)) * 0.3
    mean, covariance = rng.normal(size=8), root @ root.T
    ranks = rank_values(mean)
    assert group_models(mean, covariance + 7.0, ranks).tolist() == group_models(mean, covariance, ranks).tolist()


def test_leaders_are_stronger_than_the_next_leader_in_97_5_percent_of_worlds() -> None:
    rng = np.random.default_rng(5)
    right, asked = 0, 0
    for _ in range(60):
        skills = rng.normal(size=12)
        counts = count_ballots(simulate_ballots(skills, 250, 4, rng), 12)
        fit = fit_posterior(counts, model_names(12), settings=PosteriorSettings(rank_draws=0))
        order = np.argsort(fit.rank)
        leaders = order[np.flatnonzero(np.diff(fit.group[order], prepend=0))]
        right += int((skills[leaders[:-1]] > skills[leaders[1:]]).sum())
        asked += len(leaders) - 1
    assert asked > 100
    assert right / asked >= 0.975
