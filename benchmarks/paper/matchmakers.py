"""Who meets next: the paper's matchmaking as the product runs it, and the random one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.paper.raters import KsortRater, RankingRater, Rater
from pipeline.matchmaking.order_entropy import choose_uncertain_set
from pipeline.matchmaking.policies import propose_sets
from pipeline.matchmaking.view import ArenaView, dense_pair_rows
from pipeline.rating.ranking import draw_skills

_DRAWS = 400


class Matchmaker(Protocol):
    """Proposes one matchup at a time; what it proposed counts as answered at the next call."""

    def propose(self, rater: Rater, rng: Generator) -> NDArray[np.int64]:
        """Return k models, int64 (k,)."""
        ...


class PolicyMatchmaker:
    """A policy of the product that needs the paper's filter and counts of pairs only."""

    def __init__(self, policy: str, n_models: int, k: int) -> None:
        self._policy = policy
        self._k = k
        self.active = np.ones(n_models, np.bool_)
        self._pairs = np.zeros((n_models, n_models), np.int64)
        self._comparisons = np.zeros(n_models, np.int64)
        self._prior = KsortRater(n_models)

    def propose(self, rater: Rater, rng: Generator) -> NDArray[np.int64]:
        """Return the policy's proposal for the state of the paper's filter (of any other method: for its prior)."""
        state = (rater if isinstance(rater, KsortRater) else self._prior).state
        view = ArenaView(
            k=self._k,
            active=self.active,
            mu=state.mu,
            s2=state.s2,
            comparisons=self._comparisons,
            pair_row=dense_pair_rows(self._pairs),
        )
        models = np.array(propose_sets(self._policy, view, 1, rng)[0].models)
        self._pairs[np.ix_(models, models)] += 1
        self._pairs[models, models] = 0
        self._comparisons[models] += self._k - 1
        return models


class EntropyMatchmaker:
    """Asks for the order that the engine on whole rankings is least sure of."""

    def __init__(self, k: int) -> None:
        self._k = k

    def propose(self, rater: Rater, rng: Generator) -> NDArray[np.int64]:
        """Return the set of least certain order under the rater's posterior."""
        if not isinstance(rater, RankingRater):
            raise TypeError(f"order-entropy needs the method ranking, not {type(rater).__name__}")
        return np.array(choose_uncertain_set(draw_skills(rater.fit, _DRAWS, rng), self._k, rng, starts=2)[0])


def make_matchmaker(policy: str, n_models: int, k: int) -> Matchmaker:
    """Make the matchmaker of `order-entropy`, or of a policy of the product."""
    if policy == "order-entropy":
        return EntropyMatchmaker(k)
    return PolicyMatchmaker(policy, n_models, k)
