"""Reweighting: votes on adaptive matchups say what uniform ones would, once reweighted; slots are measured."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.paper.world import make_rankings
from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.matchmaking.policies import propose_sets
from pipeline.matchmaking.random_policy import sample_sets
from pipeline.matchmaking.view import ArenaView, Belief, dense_pair_rows
from pipeline.rating.reweighting import OffPolicyCheck, OffPolicySums

N = 10
K = 4


def answer(sets: NDArray[np.int64], skills: NDArray[np.float64], rng: np.random.Generator) -> Ballots:
    """Return Plackett-Luce votes on sets (m, k), in slot order."""
    performance = skills[sets] + rng.gumbel(size=sets.shape)
    groups = np.argsort(np.argsort(-performance, axis=1), axis=1)
    flat = make_rankings(sets)
    return Ballots(flat.offsets, flat.models, groups.ravel().astype(np.int8), flat.modes)


def check_all(ballots: Ballots, propensities: NDArray[np.float64]) -> OffPolicyCheck:
    """Check ballots that all have a propensity."""
    sums = OffPolicySums(N)
    sums.add(ballots, propensities, np.ones(len(ballots), np.bool_))
    return sums.check()


def propose_adaptively(
    skills: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return sets (count, k) of a matchmaker that knows the skills roughly, and their propensities."""
    view = ArenaView(
        k=K,
        active=np.ones(N, np.bool_),
        mu=np.full(N, 25.0),
        s2=np.ones(N),
        comparisons=np.full(N, 100),
        pair_row=dense_pair_rows(np.zeros((N, N), np.int64)),
        belief=Belief(skills, 0.3 * np.eye(N)),
    )
    proposals = [propose_sets("gibbs", view, 1, rng)[0] for _ in range(count)]
    return np.array([p.models for p in proposals]), np.array([p.propensity for p in proposals])


def test_reweighted_votes_of_gibbs_agree_with_uniform_ones_where_plain_ones_do_not() -> None:
    rng = np.random.default_rng(1)
    skills = np.linspace(1.5, -1.5, N)
    sets, propensities = propose_adaptively(skills, 6_000, rng)
    adaptive = check_all(answer(sets, skills, rng), propensities)
    many = sample_sets(N, K, 60_000, rng)
    uniform = check_all(answer(many, skills, rng), np.full(60_000, 1 / comb(N, K)))
    assert uniform.effective_votes == pytest.approx(60_000)
    assert 100 < adaptive.effective_votes < 3_000
    assert max(1 / (propensities * comb(N, K))) <= 20.0 + 1e-9
    target = np.array([share.share for share in uniform.reweighted], np.float64)
    plain = np.array(adaptive.plain, np.float64) - target
    found = np.array([share.share for share in adaptive.reweighted], np.float64) - target
    assert np.abs(plain).max() > 0.1
    assert np.abs(found).mean() < np.abs(plain).mean() / 2
    inside = [s.low <= t <= s.high for s, t in zip(adaptive.reweighted, target, strict=True) if s.low and s.high]
    assert len(inside) == N
    assert sum(inside) >= N - 2


def test_intervals_of_reweighted_shares_cover() -> None:
    skills = np.linspace(1.0, -1.0, N)
    rng = np.random.default_rng(2)
    sets, propensities = propose_adaptively(skills, 12_000, rng)
    many = sample_sets(N, K, 60_000, rng)
    target = check_all(answer(many, skills, rng), np.full(60_000, 1 / comb(N, K))).plain
    covered = 0
    for part in np.split(np.arange(12_000), 20):
        check = check_all(answer(sets[part], skills, rng), propensities[part])
        for share, truth in zip(check.reweighted, target, strict=True):
            assert share.low is not None
            assert share.high is not None
            covered += share.low <= truth <= share.high if truth is not None else 0
    assert 0.85 <= covered / (20 * N) <= 0.99


def test_equal_propensities_change_nothing() -> None:
    rng = np.random.default_rng(3)
    check = check_all(answer(sample_sets(N, K, 500, rng), np.zeros(N), rng), np.full(500, 0.01))
    assert [share.share for share in check.reweighted] == pytest.approx(list(check.plain))
    assert check.effective_votes == pytest.approx(500)


def test_a_worked_example_with_ties_unranked_models_and_unknown_propensities() -> None:
    ballots = make_ballots(
        [
            ([0, 1], [1, 2], Mode.RANK),
            ([0, 1], [2, 1], Mode.RANK),
            ([1, 0], [1, 1], Mode.RANK),
            ([0, 1, 2], [None, 1, None], Mode.BEST),
            ([0, 1], None, Mode.SKIP),
        ]
    )
    sums = OffPolicySums(3)
    known = np.array([True, True, False, False, True])
    sums.add(ballots, np.array([1 / 3, 1 / 9, 0.0, 7.0, 0.5]), known)
    check = sums.check()
    assert (check.votes, check.without_propensity) == (4, 2)
    assert check.effective_votes == pytest.approx(4**2 / (1 + 9))
    assert check.plain[0] == 1.5 / 4
    assert check.plain[1] == (0 + 1 + 0.5 + 2) / 5
    assert [share.share for share in check.reweighted] == [pytest.approx(1 / 4), pytest.approx(3 / 4), None]
    assert check.slots[0].share == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    assert check.slots[2].share == 0.0
    assert check.slots[3].share is None


def test_a_slot_that_is_favoured_is_found_and_fair_ones_are_not() -> None:
    rng = np.random.default_rng(4)
    sets = sample_sets(N, K, 4_000, rng)
    skills = np.linspace(1, -1, N)
    fair = check_all(answer(sets, skills, rng), np.full(4_000, 1 / comb(N, K)))
    assert sum(s.low <= 0.5 <= s.high for s in fair.slots[:K] if s.low and s.high) >= K - 1
    performance = skills[sets] + rng.gumbel(size=sets.shape) + np.array([0.3, 0.0, 0.0, 0.0])
    groups = np.argsort(np.argsort(-performance, axis=1), axis=1).ravel().astype(np.int8)
    flat = make_rankings(sets)
    biased = check_all(Ballots(flat.offsets, flat.models, groups, flat.modes), np.full(4_000, 1 / comb(N, K)))
    first = biased.slots[0]
    assert first.low is not None
    assert first.low > 0.5


def test_batches_add_up_and_nothing_is_nothing() -> None:
    rng = np.random.default_rng(5)
    ballots, propensities = answer(sample_sets(N, K, 300, rng), np.zeros(N), rng), rng.uniform(0.001, 0.1, 300)
    parts = OffPolicySums(N)
    for keep in (np.arange(300) < 100, np.arange(300) >= 100):
        parts.add(ballots.take(keep), propensities[keep], np.ones(int(keep.sum()), np.bool_))
    whole = check_all(ballots, propensities)
    assert parts.check().effective_votes == pytest.approx(whole.effective_votes)
    assert [s.share for s in parts.check().reweighted] == pytest.approx([s.share for s in whole.reweighted])
    empty = OffPolicySums(2).check()
    assert (empty.votes, empty.effective_votes, empty.plain) == (0, 0.0, (None, None))


def test_what_is_no_probability_is_refused() -> None:
    ballots = make_ballots([([0, 1], [1, 2], Mode.RANK)])
    with pytest.raises(ValueError, match="not a probability"):
        OffPolicySums(2).add(ballots, np.array([0.0]), np.array([True]))
    with pytest.raises(ValueError, match="name model 1 of 1"):
        OffPolicySums(1).add(ballots, np.array([0.5]), np.array([False]))
