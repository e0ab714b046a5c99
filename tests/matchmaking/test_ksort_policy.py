"""Pivot and upper confidence bound, as in the paper; what differs from it is measured here."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from pipeline.matchmaking.ksort_policy import propose_ksort
from pipeline.matchmaking.random_policy import propose_random
from pipeline.matchmaking.view import ArenaView, ProposedSet, dense_pair_rows
from tests.matchmaking.test_policies import make_view


def propose_one(view: ArenaView, seed: int = 0) -> set[int]:
    return set(propose_ksort(view, 1, np.random.default_rng(seed))[0].models)


def compare_all(n_models: int, times: int, *, but: dict[tuple[int, int], int]) -> list[tuple[int, int, int]]:
    pairs = {(a, b): times for a in range(n_models) for b in range(a + 1, n_models)} | but
    return [(a, b, count) for (a, b), count in pairs.items()]


def test_propose_ksort_takes_the_model_with_fewest_comparisons_as_pivot() -> None:
    view = make_view(10, k=2, pairs=compare_all(10, 5, but={(3, 7): 1}))
    for seed in range(10):
        assert propose_one(view, seed) == {3, 7}


def test_propose_ksort_breaks_ties_of_the_pivot_at_random() -> None:
    view = make_view(3, k=2, pairs=[(0, 1, 4), (0, 2, 4)])
    assert {frozenset(propose_one(view, seed)) for seed in range(40)} == {frozenset({1, 2})}
    view = make_view(6, k=2, mu=np.array([0.0, 1.0, 20.0, 21.0, 40.0, 41.0]))
    pairs = {frozenset(propose_one(view, seed)) for seed in range(60)}
    assert pairs == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4, 5})}


def test_propose_ksort_shows_unmet_models_first_however_far() -> None:
    mu = np.array([25.0, 25.1, 25.2, 90.0, -40.0])
    pairs = [(0, 1, 1), (0, 2, 1), (1, 2, 9), (1, 3, 9), (1, 4, 9), (2, 3, 9), (2, 4, 9), (3, 4, 9)]
    view = make_view(5, k=3, pairs=pairs, mu=mu)
    assert propose_one(view) == {0, 3, 4}


def test_propose_ksort_shows_the_nearer_of_unmet_models() -> None:
    view = make_view(4, k=2, pairs=[(1, 2, 1), (1, 3, 1), (2, 3, 1)], mu=np.array([20.0, 35.0, 22.0, 17.0]))
    assert propose_one(view) == {0, 2}


def test_propose_ksort_weighs_nearness_against_novelty() -> None:
    # Pivot 0 has met 1 (far by 0.5) once and 2 (same skill) twelve times.
    pairs = [(0, 1, 1), (0, 2, 12), (1, 2, 20)]
    view = make_view(3, k=2, pairs=pairs, mu=np.array([25.0, 25.5, 25.0]))
    n = 33
    novelty = math.sqrt(math.log(n)) - math.sqrt(math.log(n) / 12)
    assert novelty > 0.5
    assert propose_one(view) == {0, 1}
    assert set(propose_ksort(view, 1, np.random.default_rng(0), alpha=0.1)[0].models) == {0, 2}


def test_propose_ksort_counts_uncertainty_against_a_model() -> None:
    view = make_view(3, k=2, pairs=[(1, 2, 1)], mu=np.array([25.0, 25.0, 28.0]))
    uncertain = ArenaView(
        k=2,
        active=view.active,
        mu=view.mu,
        s2=np.array([4.0, 16.0, 9.0]),  # scores 19, 13, 19
        comparisons=view.comparisons,
        pair_row=view.pair_row,
    )
    assert propose_one(uncertain) == {0, 2}


def test_propose_ksort_spreads_what_is_proposed_at_once() -> None:
    proposals = propose_ksort(make_view(12), 32, np.random.default_rng(1))
    assert len({frozenset(proposal.models) for proposal in proposals}) >= 28
    shown = np.bincount([model for proposal in proposals for model in proposal.models], minlength=12)
    assert shown.max() - shown.min() <= 3


def test_propose_ksort_counts_open_sets_as_answered() -> None:
    once = propose_ksort(make_view(12), 5, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    one_by_one: list[ProposedSet] = []
    for _ in range(5):
        view = make_view(12, open_sets=tuple(proposal.models for proposal in one_by_one))
        one_by_one += propose_ksort(view, 1, rng)
    assert once == one_by_one


def test_propose_ksort_has_no_propensity() -> None:
    assert propose_ksort(make_view(5), 1, np.random.default_rng(1))[0].propensity is None


def test_propose_ksort_is_quick_on_2000_models() -> None:
    view = make_view(2000, pairs=[(i, (i * 7 + 1) % 2000, 1) for i in range(1, 2000)])
    assert len(propose_ksort(view, 64, np.random.default_rng(1))) == 64


def votes_until_settled(policy: str, seed: int, *, n_models: int = 10, k: int = 4, most: int = 250) -> int:
    """Answer what `policy` proposes without error and rate it: the votes after which the order stays."""
    rng = np.random.default_rng(seed)
    skill = rng.permutation(n_models).astype(float)
    mu, s2 = np.full(n_models, 25.0), np.full(n_models, (25 / 3) ** 2)
    met = np.zeros((n_models, n_models), np.int64)
    settled = 0
    for vote in range(most):
        view = ArenaView(
            k=k,
            active=np.ones(n_models, np.bool_),
            mu=mu,
            s2=s2,
            comparisons=met.sum(axis=1),
            pair_row=dense_pair_rows(met),
        )
        propose = propose_ksort if policy == "ksort" else propose_random
        shown = np.array(propose(view, 1, rng)[0].models)
        order = shown[np.argsort(-skill[shown])]
        rate_order(order, mu, s2)
        met[np.ix_(shown, shown)] += 1 - np.eye(k, dtype=np.int64)
        if not np.array_equal(np.argsort(-(mu - 3 * np.sqrt(s2))), np.argsort(-skill)):
            settled = vote + 1
    return settled


def rate_order(order: NDArray[np.int64], mu: NDArray[np.float64], s2: NDArray[np.float64]) -> None:
    """Apply the paper's update (eqs 9-10) to one order of models, best first, naively."""
    old_mu, old_s2, beta2 = mu.copy(), s2.copy(), (25 / 6) ** 2
    shift, shrink = dict.fromkeys(order.tolist(), 0.0), dict.fromkeys(order.tolist(), 0.0)
    for place, winner in enumerate(order.tolist()):
        for loser in order[place + 1 :].tolist():
            c = math.sqrt(2 * beta2 + old_s2[winner] + old_s2[loser])
            x = (old_mu[winner] - old_mu[loser]) / c
            v = float(np.exp(norm.logpdf(x) - norm.logcdf(x)))
            for model, sign in ((winner, 1), (loser, -1)):
                shift[model] += sign * v / c
                shrink[model] += v * (v + x) / c**2
    for model in order.tolist():
        mu[model] += old_s2[model] * shift[model]
        s2[model] *= max(1 - old_s2[model] * shrink[model], 1e-4)


def test_propose_ksort_settles_the_order_with_fewer_votes_than_random() -> None:
    ksort = [votes_until_settled("ksort", seed) for seed in range(4)]
    random = [votes_until_settled("random", seed) for seed in range(4)]
    assert np.median(ksort) < np.median(random)
