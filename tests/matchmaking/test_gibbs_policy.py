"""The policy `gibbs`: propensities against frequencies, open matchups, new, retired and very many models."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.matchmaking.errors import MatchmakingError
from pipeline.matchmaking.gibbs_policy import GibbsSettings, choose_candidates, propose_gibbs
from pipeline.matchmaking.view import ArenaView, Belief, dense_pair_rows

MANY = 100


def make_settled(
    n: int,
    k: int = 4,
    *,
    sd: float = 0.5,
    new: tuple[int, ...] = (),
    retired: tuple[int, ...] = (),
    open_sets: tuple[tuple[int, ...], ...] = (),
) -> ArenaView:
    """Return models in order, 1 logit apart, with enough comparisons; new ones are in the middle, with none."""
    mean = -np.arange(n, dtype=np.float64)
    variance = np.full(n, sd**2)
    comparisons = np.full(n, MANY)
    mean[list(new)], variance[list(new)], comparisons[list(new)] = mean.mean(), (n / 3) ** 2, 0
    active = np.ones(n, np.bool_)
    active[list(retired)] = False
    return ArenaView(
        k=k,
        active=active,
        mu=np.full(n, 25.0),
        s2=np.ones(n),
        comparisons=comparisons,
        pair_row=dense_pair_rows(np.zeros((n, n), np.int64)),
        open_sets=open_sets,
        belief=Belief(mean, np.diag(variance)),
    )


@pytest.mark.parametrize("new", [(), (2,), (0, 1, 2, 3)])
def test_propensity_is_the_frequency_of_the_unordered_set(new: tuple[int, ...]) -> None:
    view = make_settled(7, 3, sd=1.5, new=new, retired=(5,), open_sets=((0, 1, 3),))
    settings = GibbsSettings(temperature=0.4, uniform_share=0.2)
    rng = np.random.default_rng(1)
    said: dict[frozenset[int], float] = {}
    seen: Counter[frozenset[int]] = Counter()
    for _ in range(3_000):
        (proposed,) = propose_gibbs(view, 1, rng, settings=settings)
        models = frozenset(proposed.models)
        assert proposed.propensity is not None
        assert said.setdefault(models, proposed.propensity) == pytest.approx(proposed.propensity, rel=1e-12)
        seen[models] += 1
    assert len(said) == comb(6, 3)
    assert sum(said.values()) == pytest.approx(1.0)
    assert min(said.values()) >= 0.2 / comb(6, 3)
    sets = list(said)
    assert chisquare([seen[s] for s in sets], [3_000 * said[s] for s in sets], sum_check=False).pvalue > 0.001


def test_neighbours_in_doubt_meet() -> None:
    proposals = propose_gibbs(make_settled(40), 300, np.random.default_rng(2), settings=GibbsSettings(uniform_share=0))
    spans = [max(p.models) - min(p.models) for p in proposals]
    assert np.median(spans) <= 5


def test_matchups_out_at_once_differ_and_cover_the_board() -> None:
    proposals = propose_gibbs(make_settled(40), 32, np.random.default_rng(3))
    pairs = Counter(pair for p in proposals for pair in combinations(sorted(p.models), 2))
    assert max(pairs.values()) <= 6
    assert len({model for p in proposals for model in p.models}) >= 36


def test_open_sets_count_as_what_was_proposed_before() -> None:
    view = make_settled(12)
    both = propose_gibbs(view, 2, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    (first,) = propose_gibbs(view, 1, rng)
    (second,) = propose_gibbs(replace(view, open_sets=(first.models,)), 1, rng)
    assert first == both[0]
    assert set(second.models) == set(both[1].models)
    assert second.propensity == pytest.approx(both[1].propensity)


def test_new_models_go_first_until_they_have_their_first_matchups() -> None:
    settings = GibbsSettings(uniform_share=0.0)
    proposals = propose_gibbs(make_settled(30, new=(7, 21)), 10, np.random.default_rng(5), settings=settings)
    assert all({7, 21} & set(p.models) for p in proposals[:6])
    assert all(len({7, 21} & set(p.models)) == 1 for p in proposals[:3])
    assert all(sum(new in p.models for p in proposals[:6]) >= 3 for new in (7, 21))


def test_a_new_model_meets_models_from_all_over_the_board() -> None:
    settings = GibbsSettings(uniform_share=0.0)
    others = []
    for seed in range(50):
        (proposed,) = propose_gibbs(make_settled(49, new=(24,)), 1, np.random.default_rng(seed), settings=settings)
        others.append(sorted(set(proposed.models) - {24}))
    low, middle, high = np.median(np.array(others), axis=0)
    assert 4 <= low <= 18
    assert 18 <= middle <= 30
    assert 30 <= high <= 44


@pytest.mark.parametrize("n", [4, 5])
def test_few_models_are_no_trouble_new_or_not(n: int) -> None:
    for new in ((), (0,), (0, 1), tuple(range(n))):
        proposals = propose_gibbs(make_settled(n, new=new), 40, np.random.default_rng(6))
        assert all(len(set(p.models)) == 4 for p in proposals)
        if n == 4:
            assert [p.propensity for p in proposals] == pytest.approx([1.0] * 40)


def test_greedy_proposals_have_all_but_the_uniform_share() -> None:
    settings = GibbsSettings(temperature=0.0)
    proposals = [propose_gibbs(make_settled(9), 1, np.random.default_rng(s), settings=settings)[0] for s in range(60)]
    greedy = max(Counter(frozenset(p.models) for p in proposals).items(), key=lambda item: item[1])[0]
    uniform = 0.05 / comb(9, 4)
    for p in proposals:
        assert p.propensity == pytest.approx(0.95 + uniform if set(p.models) == greedy else uniform)


def test_many_models_are_looked_at_in_part_and_propensities_stay_exact() -> None:
    view = make_settled(30, 3, sd=1.0)
    settings = GibbsSettings(temperature=1.0, uniform_share=0.5, candidates=6)
    rng = np.random.default_rng(7)
    said = {}
    for _ in range(3_000):
        (proposed,) = propose_gibbs(view, 1, rng, settings=settings)
        said[frozenset(proposed.models)] = proposed.propensity or 0.0
    likely = [p for p in said.values() if p > 0.6 / comb(30, 3)]
    assert len(likely) == comb(6, 3)
    uniform = 0.5 / comb(30, 3)
    assert sum(likely) == pytest.approx(0.5 + comb(6, 3) * uniform)
    assert all(p == pytest.approx(uniform) for p in said.values() if p not in likely)


def test_choose_candidates_takes_new_ones_then_those_in_doubt() -> None:
    mean = np.array([0.0, 10.0, 10.2, 20.0, 30.0, 40.0, 40.1, 50.0])
    belief = Belief(mean, np.eye(8))
    comparisons = np.array([9, 9, 9, 0, 3, 9, 9, 9])
    active = np.array([0, 1, 2, 3, 4, 5, 6])
    assert choose_candidates(active, belief, comparisons, comparisons < 4, 1).tolist() == [3]
    assert choose_candidates(active, belief, comparisons, comparisons < 4, 4).tolist() == [3, 4, 5, 6]
    assert choose_candidates(active, belief, comparisons, comparisons < 4, 9).tolist() == active.tolist()


def test_two_thousand_new_models_are_all_shown_before_any_is_shown_twice_as_often() -> None:
    n = 2_000
    view = make_settled(n, new=tuple(range(n)))
    proposals = propose_gibbs(view, 512, np.random.default_rng(8), settings=GibbsSettings(uniform_share=0.0))
    shown = np.bincount([model for p in proposals for model in p.models], minlength=n)
    assert shown.max() <= 4
    assert (shown > 0).sum() > 1_000


def test_propose_gibbs_needs_a_belief_and_settings_that_make_sense() -> None:
    with pytest.raises(MatchmakingError, match="needs the posterior"):
        propose_gibbs(replace(make_settled(5), belief=None), 1, np.random.default_rng(1))
    with pytest.raises(MatchmakingError, match="covariance must be of 5 models"):
        replace(make_settled(5), belief=Belief(np.zeros(5), np.eye(4)))
    with pytest.raises(MatchmakingError, match="between 0 and 1"):
        GibbsSettings(uniform_share=1.5)
