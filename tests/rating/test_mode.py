"""Modes: sparse steps against dense ones, other likelihoods against a general optimiser, LAPACK in place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contracts.ballot import make_ballots
from pipeline.rating import mode as mode_module
from pipeline.rating.lapack import NotPositiveDefiniteError, factorise, invert_factor, solve_factor
from pipeline.rating.likelihoods import Likelihood, Shape, evaluate_pairs, tie_share
from pipeline.rating.mode import Fitting, find_mode, start_fit
from pipeline.rating.pair_counts import WeightedPairs
from tests.rating.arenas import count_ballots, pair_row, simulate_ballots, weigh_equally


def draw_pairs(n: int, votes: int, seed: int, *, tie_width: float = 0.0) -> WeightedPairs:
    rng = np.random.default_rng(seed)
    return count_ballots(simulate_ballots(rng.normal(size=n), votes, 3, rng, tie_width=tie_width), n).pairs(
        weigh_equally
    )


@pytest.mark.parametrize("tie_width", [0.0, 0.8])
@pytest.mark.parametrize("tau", [0.5, 8.0])
def test_sparse_steps_agree_with_dense_ones(monkeypatch: pytest.MonkeyPatch, tie_width: float, tau: float) -> None:
    pairs, fitting = draw_pairs(40, 600, seed=1, tie_width=tie_width), Fitting()
    dense = find_mode(pairs, 40, tau, start_fit(pairs, 40, fitting), fitting)
    monkeypatch.setattr(mode_module, "DENSE_MODELS", 0)
    sparse = find_mode(pairs, 40, tau, start_fit(pairs, 40, fitting), fitting)
    np.testing.assert_allclose(sparse.theta, dense.theta, atol=1e-9)
    assert sparse.log_evidence == pytest.approx(dense.log_evidence, abs=1e-8)
    assert (sparse.eta is None) == (dense.eta is None) == (tie_width == 0.0)
    np.testing.assert_allclose(sparse.take_covariance(), dense.take_covariance(), rtol=1e-7, atol=1e-10)


def test_a_chain_that_gradients_cannot_solve_is_solved_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mode_module, "DENSE_MODELS", 0)
    monkeypatch.setattr(mode_module, "_GRADIENT_STEPS", 2)
    rows = [pair_row(i, i + 1) for i in range(29)] * 30
    pairs = count_ballots(make_ballots(rows), 30).pairs(weigh_equally)
    found = find_mode(pairs, 30, 32.0, start_fit(pairs, 30, Fitting()), Fitting())
    assert (np.diff(found.theta) < 0).all()


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("lapse", [0.0, 0.05])
@pytest.mark.parametrize("pseudo_ties", [0.0, 0.5])
def test_modes_of_all_likelihoods_agree_with_scipy(shape: Shape, lapse: float, pseudo_ties: float) -> None:
    n, tau = 6, 1.5
    pairs = draw_pairs(n, 150, seed=2, tie_width=0.9)
    share = tie_share(pairs, pseudo_ties=pseudo_ties)
    out = np.empty(n + 1), np.empty(len(pairs.first)), np.empty(len(pairs.first))
    counts = pairs.wins, pairs.losses, pairs.ties
    equals = WeightedPairs(np.array([0]), np.array([1]), np.ones(1), np.zeros(1), np.full(1, pseudo_ties))
    small = np.empty(3), np.empty(1), np.empty(1)

    def loss(x: NDArray[np.float64]) -> float:
        value = evaluate_pairs(int(shape), lapse, share, pairs.first, pairs.second, *counts, x, n, *out)[0]
        between = np.array([0.0, 0.0, x[n]])
        ties = equals.wins, equals.losses, equals.ties
        prior = evaluate_pairs(int(shape), 0.0, 0.0, equals.first, equals.second, *ties, between, 2, *small)[0]
        return float(-value - prior + x[:n] @ x[:n] / (2 * tau**2))

    fitting = Fitting(Likelihood("any", shape, lapse), pseudo_ties=pseudo_ties)
    ours = find_mode(pairs, n, tau, start_fit(pairs, n, fitting), fitting)
    peer = scipy.optimize.minimize(loss, np.append(np.zeros(n), -0.5), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(ours.theta, peer.x[:n], atol=2e-5)
    assert ours.eta == pytest.approx(peer.x[n], abs=2e-5)


def test_pseudo_ties_keep_a_tie_parameter_without_ties() -> None:
    pairs = draw_pairs(5, 100, seed=3)
    fitting = Fitting(pseudo_ties=0.5)
    found = find_mode(pairs, 5, 1.0, start_fit(pairs, 5, fitting), fitting)
    assert found.eta is not None
    assert 0 < math.exp(found.eta) < 0.02


@given(st.integers(1, 300), st.integers(0, 10**6))
def test_lapack_solves_and_inverts(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    matrix, right = root @ root.T + n * np.eye(n), rng.normal(size=n)
    factor = matrix.copy()
    factorise(factor)
    np.testing.assert_allclose(solve_factor(factor, right), np.linalg.solve(matrix, right), atol=1e-9)
    np.testing.assert_allclose(invert_factor(factor), np.linalg.inv(matrix), atol=1e-9)


def test_lapack_says_what_it_cannot_do() -> None:
    with pytest.raises(NotPositiveDefiniteError, match="order 2"):
        factorise(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="C order"):
        factorise(np.asfortranarray(np.eye(3)[:, :2]))
