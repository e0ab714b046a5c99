"""What every policy promises: whom it may propose, how many, in which slots, and that a seed decides."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.matchmaking.errors import MatchmakingError
from pipeline.matchmaking.policies import POLICIES, propose_sets
from pipeline.matchmaking.view import ArenaView, Belief, describe_shortage, sparse_pair_rows

ALL = sorted(POLICIES)


def make_view(
    n_models: int,
    k: int = 4,
    *,
    pairs: list[tuple[int, int, int]] | None = None,
    mu: NDArray[np.float64] | None = None,
    retired: tuple[int, ...] = (),
    open_sets: tuple[tuple[int, ...], ...] = (),
) -> ArenaView:
    """Build a view from (first, second, comparisons) of pairs; nobody was compared where there are none."""
    table = np.array(pairs or np.zeros((0, 3)), np.int64).reshape(-1, 3)
    comparisons = np.zeros(n_models, np.int64)
    np.add.at(comparisons, table[:, 0], table[:, 2])
    np.add.at(comparisons, table[:, 1], table[:, 2])
    active = np.ones(n_models, np.bool_)
    active[list(retired)] = False
    return ArenaView(
        k=k,
        active=active,
        mu=np.full(n_models, 25.0) if mu is None else mu,
        s2=np.full(n_models, 4.0),
        comparisons=comparisons,
        pair_row=sparse_pair_rows(n_models, table[:, 0], table[:, 1], table[:, 2]),
        open_sets=open_sets,
        belief=Belief(np.zeros(n_models) if mu is None else mu, np.eye(n_models)),
    )


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_gives_distinct_active_models(policy: str) -> None:
    view = make_view(9, retired=(2, 5))
    proposals = propose_sets(policy, view, 200, np.random.default_rng(1))
    assert len(proposals) == 200
    for proposal in proposals:
        assert len(set(proposal.models)) == 4
        assert not {2, 5} & set(proposal.models)
        assert proposal.policy == policy


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_follows_the_seed(policy: str) -> None:
    view = make_view(20, pairs=[(0, 1, 3), (1, 2, 1)])
    first, again, other = (propose_sets(policy, view, 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_leaves_the_view_alone(policy: str) -> None:
    table = np.zeros((8, 8), np.int64)
    view = make_view(8, open_sets=((0, 1, 2, 3),))
    before = view.comparisons.copy(), [view.pair_row(model).copy() for model in range(8)]
    propose_sets(policy, view, 8, np.random.default_rng(1))
    assert np.array_equal(view.comparisons, before[0])
    assert all(np.array_equal(view.pair_row(model), before[1][model]) for model in range(len(table)))


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_proposes_nothing_from_too_few_models(policy: str) -> None:
    view = make_view(6, retired=(0, 1, 2))
    assert propose_sets(policy, view, 5, np.random.default_rng(1)) == []
    assert "3 active models are too few for matchups of 4" in (describe_shortage(view) or "")


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_can_show_all_models_at_once(policy: str) -> None:
    view = make_view(4)
    assert describe_shortage(view) is None
    proposals = propose_sets(policy, view, 50, np.random.default_rng(1))
    assert {frozenset(proposal.models) for proposal in proposals} == {frozenset(range(4))}
    assert len({proposal.models for proposal in proposals}) > 10


@pytest.mark.parametrize("policy", ALL)
def test_propose_sets_puts_models_into_uniformly_random_slots(policy: str) -> None:
    view = make_view(4, mu=np.array([10.0, 20.0, 30.0, 40.0]))
    proposals = propose_sets(policy, view, 4000, np.random.default_rng(7))
    slots = np.array([proposal.models for proposal in proposals])
    for model in range(4):
        assert chisquare((slots == model).sum(axis=0)).pvalue > 0.001


def test_propose_sets_refuses_an_unknown_policy() -> None:
    with pytest.raises(MatchmakingError, match="unknown matchmaking policy 'best'; known are gibbs, ksort, random"):
        propose_sets("best", make_view(5), 1, np.random.default_rng(1))


def test_arena_view_refuses_arrays_of_different_lengths() -> None:
    with pytest.raises(MatchmakingError, match="must have one length"):
        make_view(5, mu=np.zeros(4))
