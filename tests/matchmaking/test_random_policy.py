"""The baseline: every set is equally likely, and says so."""

from __future__ import annotations

from collections import Counter
from math import comb

import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.matchmaking.random_policy import propose_random, sample_sets
from tests.matchmaking.test_policies import make_view


def test_propose_random_has_the_propensity_of_its_frequencies() -> None:
    proposals = propose_random(make_view(7, k=3, retired=(4,)), 20_000, np.random.default_rng(5))
    sets = Counter(frozenset(proposal.models) for proposal in proposals)
    assert len(sets) == comb(6, 3)
    assert {proposal.propensity for proposal in proposals} == {1 / comb(6, 3)}
    assert chisquare(list(sets.values())).pvalue > 0.001


@pytest.mark.parametrize(("n", "k"), [(2, 2), (5, 5), (8, 8), (40, 3)])
def test_sample_sets_draws_distinct_models(n: int, k: int) -> None:
    drawn = sample_sets(n, k, 1000, np.random.default_rng(1))
    assert drawn.min() >= 0
    assert drawn.max() < n
    assert all(len(set(row)) == k for row in drawn.tolist())


def test_sample_sets_draws_all_orders_equally_often() -> None:
    drawn = sample_sets(4, 3, 24_000, np.random.default_rng(2))
    orders = Counter(map(tuple, drawn.tolist()))
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 0.001
