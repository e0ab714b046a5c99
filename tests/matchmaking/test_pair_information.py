"""Pair information: against integrals and plain matrix inverses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.matchmaking.pair_information import LOGISTIC_B, expect_answer, measure_pairs


def make_posterior(n: int, seed: int, scale: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a mean and a covariance."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    return scale * rng.normal(size=n), scale**2 * (root @ root.T / n + 0.1 * np.eye(n))


def entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of a Bernoulli, in nats."""
    inside = np.clip(p, 1e-300, 1 - 1e-16)
    return -inside * np.log(inside) - (1 - inside) * np.log1p(-inside)


def integrate_entropy(d: float, v: float, left: float) -> float:
    """Expected entropy of the sign once the mean has moved by N(0, v - left): by a sum over 2,001 quantiles."""
    quantiles = norm.ppf((np.arange(2_001) + 0.5) / 2_001)
    return float(entropy(norm.cdf((d + math.sqrt(v - left) * quantiles) / math.sqrt(left))).mean())


@given(d=st.floats(-6, 6), v=st.floats(0.05, 30), share=st.floats(0.02, 1))
@settings(max_examples=60, deadline=None)
def test_measure_pairs_is_near_the_expected_entropy(d: float, v: float, share: float) -> None:
    mean, covariance = np.array([d, 0.0]), np.diag([v, 0.0])
    found = measure_pairs(mean, covariance, share * covariance)[0, 1]
    assert found == pytest.approx(integrate_entropy(d, v, share * v), abs=0.03)


@given(seed=st.integers(0, 50), shift=st.floats(-5, 5), common=st.floats(0, 9))
@settings(max_examples=20, deadline=None)
def test_measure_pairs_knows_no_shift_and_no_order_of_models(seed: int, shift: float, common: float) -> None:
    mean, covariance = make_posterior(6, seed)
    found = measure_pairs(mean, covariance, covariance)
    assert measure_pairs(mean + shift, covariance + common, covariance + common) == pytest.approx(found, abs=1e-9)
    order = np.random.default_rng(seed).permutation(6)
    swapped = np.ascontiguousarray(covariance[np.ix_(order, order)])
    assert measure_pairs(mean[order], swapped, swapped) == pytest.approx(found[np.ix_(order, order)])
    assert np.array_equal(found, found.T)
    assert not found.diagonal().any()


def test_measure_pairs_falls_with_distance_and_with_open_matchups() -> None:
    mean, covariance = np.array([0.0, 0.1, 1.0, 4.0]), np.eye(4)
    alone = measure_pairs(mean, covariance, covariance)[0]
    assert alone[1] > alone[2] > alone[3] > 0
    expected = expect_answer(mean, covariance, covariance, np.array([0, 1]), 1.0)
    assert measure_pairs(mean, covariance, expected)[0, 1] < alone[1]


@given(seed=st.integers(0, 50), weight=st.floats(0.1, 1), size=st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_expect_answer_adds_the_informations_to_the_precision(seed: int, weight: float, size: int) -> None:
    mean, covariance = make_posterior(6, seed, scale=2.0)
    models = np.random.default_rng(seed).permutation(6)[:size]
    precision = np.linalg.inv(covariance)
    for a in models:
        for b in models:
            if a < b:
                v = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
                information = weight * norm.pdf(mean[a] - mean[b], scale=math.sqrt(v + LOGISTIC_B))
                contrast = np.zeros(6)
                contrast[a], contrast[b] = 1.0, -1.0
                precision += information * np.outer(contrast, contrast)
    found = expect_answer(mean, covariance, covariance, models, weight)
    assert found == pytest.approx(np.linalg.inv(precision), abs=1e-9)


@pytest.mark.parametrize(("d", "v"), [(0.0, 0.0), (0.0, 4.0), (2.0, 1.0), (3.0, 30.0), (0.5, 100.0)])
def test_an_answer_informs_as_the_logistic_model_does_on_average(d: float, v: float) -> None:
    draws = d + math.sqrt(v) * norm.ppf((np.arange(20_001) + 0.5) / 20_001)
    s = 1 / (1 + np.exp(-draws))
    assert norm.pdf(d, scale=math.sqrt(v + LOGISTIC_B)) == pytest.approx(float((s * (1 - s)).mean()), abs=0.006)
