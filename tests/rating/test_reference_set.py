"""The reference set, and moments centred on it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.ballot import make_ballots
from pipeline.rating.pair_counts import count_ballots_naive
from pipeline.rating.reference_set import MIN_COMPARISONS, centre_moments, find_reference
from tests.rating.arenas import pair_row, weigh_equally


def reference_of(n: int, matches: list[tuple[int, int, int]]) -> list[int]:
    """Return the set's members, given (i, j, number of times that i beat j)."""
    rows = [pair_row(i, j) for i, j, times in matches for _ in range(times)]
    counts = count_ballots_naive(make_ballots(rows))
    found = find_reference(counts.pairs(weigh_equally), counts.comparisons(n))
    return np.flatnonzero(found).tolist()


def test_reference_needs_ten_comparisons() -> None:
    assert MIN_COMPARISONS == 10
    assert reference_of(4, [(0, 1, 9), (1, 2, 1), (2, 3, 9)]) == [1, 2]
    assert reference_of(4, [(0, 1, 10), (1, 2, 1), (2, 3, 9)]) == [0, 1, 2]


def test_reference_is_everyone_while_fewer_than_two_have_enough() -> None:
    assert reference_of(4, [(0, 1, 5), (0, 2, 5)]) == [0, 1, 2, 3]
    assert reference_of(3, []) == [0, 1, 2]


def test_reference_lies_in_the_component_of_most_models() -> None:
    assert reference_of(6, [(0, 1, 50), (2, 3, 10), (3, 4, 10)]) == [2, 3, 4]


def test_reference_of_equal_components_has_most_comparisons_then_the_smallest_id() -> None:
    assert reference_of(4, [(0, 1, 10), (2, 3, 11)]) == [2, 3]
    assert reference_of(4, [(0, 3, 10), (1, 2, 10)]) == [0, 3]


def test_a_component_without_enough_comparisons_leaves_everyone() -> None:
    # the largest component has one model with ten comparisons; another, smaller one does not stand in
    assert reference_of(6, [(0, 1, 5), (0, 2, 5), (0, 3, 1), (4, 5, 30)]) == [0, 1, 2, 3, 4, 5]


def test_centre_moments_is_the_stated_projection() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 6))
    covariance, mean = root @ root.T, rng.normal(size=6)
    reference = np.array([True, False, True, True, False, False])
    weights = reference / 3
    projection = np.eye(6) - np.outer(np.ones(6), weights)
    centred, spread = centre_moments(mean, covariance, reference)
    np.testing.assert_allclose(centred, mean - weights @ mean)
    np.testing.assert_allclose(spread, projection @ covariance @ projection.T, atol=1e-12)
    assert centred[reference].mean() == pytest.approx(0)


def test_centre_moments_does_not_feel_a_common_shift() -> None:
    covariance, reference = np.diag([1.0, 2.0, 3.0]), np.array([True, True, False])
    _, plain = centre_moments(np.zeros(3), covariance, reference)
    mean, shifted = centre_moments(np.full(3, 7.0), covariance + 2700.0, reference)
    assert mean.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(shifted, plain, atol=1e-11)
