"""Likelihoods of a pair: probabilities, derivatives, goldens of independent programs, far tails."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.rating.likelihoods import (
    NORMAL_SCALE,
    Likelihood,
    Shape,
    evaluate_pairs,
    fill_terms,
    predict_differences,
    tie_share,
)
from pipeline.rating.pair_counts import WeightedPairs

SHAPES = pytest.mark.parametrize("shape", Shape)


def terms_of(shape: Shape, x: float, e: float | None) -> NDArray[np.float64]:
    terms = np.empty((3, 3))
    fill_terms(int(shape), x, 0.0 if e is None else e, e is not None, terms)
    return terms


def probabilities_naive(shape: Shape, x: float, parameter: float) -> list[float]:
    if shape is Shape.DAVIDSON:
        odds = [math.exp(x / 2), math.exp(-x / 2), parameter]
        return [odd / sum(odds) for odd in odds]
    cdf = norm(scale=NORMAL_SCALE).cdf if shape is Shape.NORMAL else lambda y: 1 / (1 + math.exp(-y))
    won, lost = float(cdf(x - parameter)), float(cdf(-x - parameter))
    return [won, lost, 1 - won - lost]


@SHAPES
@given(x=st.floats(-12, 12), e=st.one_of(st.none(), st.floats(-4, 1.5)))
def test_probabilities_agree_with_the_formulas(shape: Shape, x: float, e: float | None) -> None:
    ours = np.exp(terms_of(shape, x, e)[:, 0])
    naive = probabilities_naive(shape, x, 0.0 if e is None else math.exp(e))
    np.testing.assert_allclose(ours, naive, rtol=1e-7, atol=1e-12)


@SHAPES
@given(x=st.floats(-20, 20), e=st.floats(-4, 1.5))
def test_derivatives_agree_with_differences(shape: Shape, x: float, e: float) -> None:
    h = 1e-5
    ours = terms_of(shape, x, e)
    in_x = (terms_of(shape, x + h, e)[:, 0] - terms_of(shape, x - h, e)[:, 0]) / (2 * h)
    in_e = (terms_of(shape, x, e + h)[:, 0] - terms_of(shape, x, e - h)[:, 0]) / (2 * h)
    np.testing.assert_allclose(ours[:, 1], in_x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours[:, 2], in_e, rtol=1e-5, atol=1e-6)


@SHAPES
@pytest.mark.parametrize("x", [-800.0, -90.0, 90.0, 800.0])
def test_far_tails_are_finite(shape: Shape, x: float) -> None:
    terms = terms_of(shape, x, -1.0)
    assert np.isfinite(terms).all()
    assert terms[0 if x < 0 else 1, 0] < -40
    turned = terms_of(shape, -x, -1.0)
    np.testing.assert_allclose(turned[[1, 0, 2], 0], terms[:, 0], rtol=1e-12, atol=1e-300)


def test_log_normal_below_30_sds_agrees_with_scipy() -> None:
    for y in (-29.99, -30.01, -35.0, -60.0):
        ours = terms_of(Shape.NORMAL, y * NORMAL_SCALE, None)[0, 0]
        assert ours == pytest.approx(float(norm.logcdf(y)), rel=1e-11)


def one_pair(wins: float, losses: float, ties: float) -> WeightedPairs:
    index = np.array([0]), np.array([1])
    return WeightedPairs(*index, np.array([wins]), np.array([losses]), np.array([ties]))


@SHAPES
@pytest.mark.parametrize("lapse", [0.0, 0.1])
@given(x=st.floats(-6, 6), e=st.floats(-2, 1))
def test_evaluation_is_value_gradient_and_information(shape: Shape, lapse: float, x: float, e: float) -> None:
    pairs, point = one_pair(3.0, 2.0, 1.5), np.array([x / 2, -x / 2, e])
    share = tie_share(pairs)
    out = np.empty(3), np.empty(1), np.empty(1)

    def value(at: NDArray[np.float64]) -> float:
        counts = pairs.wins, pairs.losses, pairs.ties
        return evaluate_pairs(int(shape), lapse, share, pairs.first, pairs.second, *counts, at, 2, *out)[0]

    p = np.array(probabilities_naive(shape, x, math.exp(e)))
    p = (1 - lapse) * p + lapse * np.array([(1 - share) / 2, (1 - share) / 2, share])
    total = value(point)
    gradient, curvature = out[0].copy(), float(out[1][0])
    assert total == pytest.approx(float(np.array([3.0, 2.0, 1.5]) @ np.log(p)), rel=1e-8)
    h = 1e-5
    numeric = [(value(point + step) - value(point - step)) / (2 * h) for step in np.eye(3) * h]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-6)
    assert curvature > 0


def test_information_of_normal_pairs_agrees_with_statsmodels_probit() -> None:
    rng = np.random.default_rng(6)
    outcome = (rng.random(400) < 0.7).astype(int)
    peer = sm.Probit(outcome, np.ones((400, 1))).fit(disp=0, tol=1e-12)
    won = float(outcome.sum())
    pairs, out = one_pair(won, 400 - won, 0.0), (np.empty(2), np.empty(1), np.empty(1))
    x = float(peer.params[0]) * NORMAL_SCALE
    counts = pairs.wins, pairs.losses, pairs.ties
    value, _ = evaluate_pairs(2, 0.0, 0.0, pairs.first, pairs.second, *counts, np.array([x, 0.0]), 2, *out)
    assert value == pytest.approx(peer.llf, rel=1e-9)
    assert out[0][0] == pytest.approx(0.0, abs=1e-5)
    assert 1 / out[1][0] == pytest.approx(peer.cov_params()[0, 0] * NORMAL_SCALE**2, rel=1e-6)


@SHAPES
@given(mean=st.floats(-5, 5), sd=st.floats(0, 3), lapse=st.sampled_from([0.0, 0.2]))
def test_predictions_sum_to_one_and_turn_round(shape: Shape, mean: float, sd: float, lapse: float) -> None:
    likelihood = Likelihood("any", shape, lapse)
    there = predict_differences(likelihood, np.array([mean]), np.array([sd]), -1.0, tie_share=0.2)[0]
    back = predict_differences(likelihood, np.array([-mean]), np.array([sd]), -1.0, tie_share=0.2)[0]
    assert there.sum() == pytest.approx(1)
    np.testing.assert_allclose(back, there[[1, 0, 2]], rtol=1e-9, atol=1e-14)


def test_prediction_of_a_certain_difference_is_the_likelihood() -> None:
    likelihood = Likelihood("any", Shape.NORMAL, 0.0)
    ours = predict_differences(likelihood, np.array([0.7]), np.zeros(1), -0.5)[0]
    np.testing.assert_allclose(ours, probabilities_naive(Shape.NORMAL, 0.7, math.exp(-0.5)), rtol=1e-9)
    lapsed = predict_differences(replace(likelihood, lapse=0.1), np.array([0.7]), np.zeros(1), -0.5, tie_share=0.3)[0]
    np.testing.assert_allclose(lapsed, 0.9 * ours + 0.1 * np.array([0.35, 0.35, 0.3]), rtol=1e-12)
