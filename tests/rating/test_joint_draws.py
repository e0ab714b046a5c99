"""Joint draws: rank intervals, P(best) and P(top k)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.rating.joint_draws import DRAWS, LEAST_MASS, MASS, draw_ranks, draw_skills, rank_values


def draw_rank_intervals(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], ranks: NDArray[np.int64], **options: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return draw_ranks(mean, covariance, **options).intervals(ranks)


def test_rank_values_orders_equal_ones_by_index() -> None:
    assert rank_values(np.array([1.0, 3.0, 1.0, 2.0])).tolist() == [3, 1, 4, 2]


def test_certain_models_have_their_rank() -> None:
    mean = np.array([1.0, 5.0, 3.0])
    low, high = draw_rank_intervals(mean, np.full(3, 1e-6), rank_values(mean))
    assert low.tolist() == high.tolist() == [3, 1, 2]


@pytest.mark.parametrize(("gap", "width"), [(1.6, 1), (1.9, 0)])
def test_two_models_separate_where_their_rank_is_sure_enough(gap: float, width: int) -> None:
    # P(order is wrong) = Phi(-gap): 5.5 % is more than the 4.5 % that may be left out, 2.9 % is less
    assert (norm.cdf(-gap) > 1 - MASS) == bool(width)
    low, high = draw_rank_intervals(np.array([gap, 0.0]), np.array([0.5, 0.5]), np.array([1, 2]))
    assert (high - low).tolist() == [width, width]


def intervals_naive(drawn: list[list[int]], mass: float, least: float) -> list[tuple[int, int]]:
    """Do as the module says, one model and one cut at a time."""
    n, draws = len(drawn), len(drawn[0])
    counts = [[row.count(rank) for rank in range(1, n + 1)] for row in drawn]
    spans = []
    for row in counts:
        fitting = [
            (high - low, -sum(row[low:high]), low, high)
            for low in range(n)
            for high in range(low + 1, n + 1)
            if sum(row[low:high]) >= mass * draws
        ]
        spans.append(min(fitting)[2:])
    held = [sum(row[low:high]) for row, (low, high) in zip(counts, spans, strict=True)]
    cuts = []
    for m, row in enumerate(counts):
        dearest, inside, (low, high) = 0, held[m], spans[m]
        while high - low > 1 and inside - min(row[low], row[high - 1]) >= least * draws:
            dearest = max(dearest, min(row[low], row[high - 1]))
            inside -= min(row[low], row[high - 1])
            low, high = (low + 1, high) if row[low] < row[high - 1] else (low, high - 1)
            cuts.append((dearest, m, (low, high)))
    surplus = sum(held) - mass * draws * n
    for cost in sorted({cut[0] for cut in cuts}):
        same = [cut for cut in cuts if cut[0] == cost]
        surplus -= cost * len(same)
        if surplus < -1e-9:
            break
        for _, m, span in same:
            spans[m] = span
    return [(low + 1, high) for low, high in spans]


@given(st.integers(2, 7), st.integers(0, 10**6), st.sampled_from([(0.96, 0.91), (0.9, 0.8), (0.95, 1.0)]))
def test_intervals_agree_with_naive_ones(n: int, seed: int, masses: tuple[float, float]) -> None:
    rng = np.random.default_rng(seed)
    root, mean = rng.normal(size=(n, n)) * 0.5, rng.normal(size=n)
    drawn = draw_ranks(mean, root @ root.T, draws=200)
    low, high = drawn.intervals(drawn.drawn[:, 0].astype(np.int64), mass=masses[0], least_mass=masses[1])
    naive = intervals_naive(drawn.drawn.tolist(), *masses)
    shown = drawn.drawn[:, 0].tolist()
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [
        (min(a, rank), max(b, rank)) for (a, b), rank in zip(naive, shown, strict=True)
    ]


def test_intervals_hold_their_mass_on_average_and_the_least_each() -> None:
    rng = np.random.default_rng(3)
    mean = rng.normal(size=40)
    drawn = draw_ranks(mean, np.full(40, 0.05))
    low, high = drawn.intervals(rank_values(mean))
    held = ((drawn.drawn >= low[:, None]) & (drawn.drawn <= high[:, None])).mean(axis=1)
    assert held.min() >= LEAST_MASS
    # the last cut that is affordable leaves less than a rank's share
    assert MASS <= held.mean() < MASS + 0.005


def test_correlation_decides_what_marginal_intervals_cannot() -> None:
    mean = np.array([0.5, 0.0])
    joint = np.array([[9.0, 8.99], [8.99, 9.0]])
    low, high = draw_rank_intervals(mean, joint, np.array([1, 2]))
    assert low.tolist() == high.tolist() == [1, 2]
    low, high = draw_rank_intervals(mean, np.diagonal(joint).copy(), np.array([1, 2]))
    assert (high - low).tolist() == [1, 1]


def test_singular_covariance_and_huge_differences_of_scale_are_ranked() -> None:
    mean = np.array([2.0, 1.0, 0.0, 0.0])
    spread = np.array([1e-14, 1e-14, 1e-14, 1e5])
    projection = np.eye(4) - np.outer(np.ones(4), [1 / 3, 1 / 3, 1 / 3, 0])
    low, high = draw_rank_intervals(mean, projection @ np.diag(spread) @ projection.T, np.array([1, 2, 3, 4]))
    assert low.tolist() == [1, 2, 3, 1]
    assert high.tolist() == [2, 3, 4, 4]


def test_intervals_hold_the_rank_that_is_shown() -> None:
    ranks = np.arange(1, 101)
    low, high = draw_rank_intervals(np.zeros(100), np.ones(100), ranks)
    assert (low <= ranks).all()
    assert (ranks <= high).all()
    # of equal models each rank is as likely: about 95 of 100 ranks
    assert (high - low + 1 >= 90).all()


def test_draws_do_not_depend_on_their_block() -> None:
    mean = np.linspace(0, 1, 7)
    whole = draw_rank_intervals(mean, np.eye(7), rank_values(mean), draws=DRAWS)
    again = draw_rank_intervals(mean, np.eye(7), rank_values(mean), draws=DRAWS)
    other = draw_rank_intervals(mean, np.eye(7), rank_values(mean), draws=40, seed=1)
    assert np.array_equal(whole, again)
    assert other[0].shape == (7,)


def test_p_best_of_two_models_is_the_normal_integral() -> None:
    drawn = draw_ranks(np.array([0.7, 0.0]), np.array([[1.0, 0.4], [0.4, 0.5]]), draws=40_000)
    assert drawn.p_top(1)[0] == pytest.approx(norm.cdf(0.7 / np.sqrt(1.0 + 0.5 - 0.8)), abs=0.01)


def test_p_top_sums_to_k_and_grows_with_k() -> None:
    rng = np.random.default_rng(4)
    root = rng.normal(size=(9, 9))
    drawn = draw_ranks(rng.normal(size=9), root @ root.T)
    tops = np.array([drawn.p_top(k) for k in range(10)])
    np.testing.assert_allclose(tops.sum(axis=1), np.arange(10), atol=1e-9)
    assert (np.diff(tops, axis=0) >= 0).all()
    naive = [[np.mean([rank <= k for rank in row]) for row in drawn.drawn.tolist()] for k in range(10)]
    np.testing.assert_allclose(tops, naive)


def test_a_single_model_is_the_best() -> None:
    drawn = draw_ranks(np.zeros(1), np.ones((1, 1)))
    assert drawn.p_top(1).tolist() == [1.0]
    assert draw_ranks(np.zeros(0), np.zeros((0, 0))).p_top(1).tolist() == []


def test_draw_skills_have_the_moments_of_differences() -> None:
    root = np.random.default_rng(5).normal(size=(4, 4))
    centre = np.eye(4) - 0.25
    mean, covariance = centre @ root[0], centre @ (root @ root.T) @ centre  # singular along (1, 1, 1, 1)
    drawn = draw_skills(mean, covariance, draws=100_000)
    apart = drawn[:, :1] - drawn[:, 1:]
    assert apart.mean(axis=0) == pytest.approx(mean[0] - mean[1:], abs=0.02)
    differences = np.hstack([np.ones((3, 1)), -np.eye(3)])
    assert np.cov(apart.T) == pytest.approx(differences @ covariance @ differences.T, abs=0.3)
