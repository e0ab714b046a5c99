"""The policy `ksort`: pivot and upper confidence bound, as in K-Sort Arena (arXiv 2408.14468).

Method
------
The *pivot* p is the active model with fewest comparisons. It is shown with the k - 1 other active models q
that have the largest

    U(q) = -|S_p - S_q| + alpha sqrt(ln n / n_pq),        S = mu - 3 s

where (mu, s^2) is the paper's filter, n_pq the comparisons of p with q, and n the number of matchups answered
so far (exploitation: near in skill; exploration: seldom met).

- *Unmet pairs first*: U is infinite at n_pq = 0. Among unmet models the nearer in S goes first.
- *Ties* (several models with fewest comparisons, equal U) are broken at random by the generator.
- *Open matchups count as answered*: their pairs are in n_pq, in n and in the comparisons that choose the
  pivot, and each set proposed here is open for the next. So 32 proposals made at once differ; the filter
  stays as it is.
- *Slots* are in uniformly random order, so the pivot has no favoured place.
- *Propensity* is None: up to ties a proposal is a function of the state, so that other sets had probability
  zero, and votes cannot be reweighted.

Differences from the paper
--------------------------
- It prints S = mu + 3 s and +|S_p - S_q|. Its text asks for players of similar skill, and it ranks by the
  conservative score mu - 3 s: both need the minus. With +|S_p - S_q| the best would meet the worst, whose
  order is known already.
- n is counted in matchups, from the comparisons: sum / (k (k - 1)), at least 1. Under the logarithm that
  hardly differs from a count of pairs.

Assumptions
-----------
Comparisons are ordered and tied pairs, so a matchup answered `all_bad` or `skip` adds
none and its pivot stays first in line. Whoever fears for that puts appearances into the view's `comparisons`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.matchmaking.view import ArenaView, ProposedSet, count_open_comparisons, describe_shortage

if TYPE_CHECKING:
    from numpy.random import Generator

NAME: Final = "ksort"

ALPHA: Final = 1.0
"""Weight of exploration, in units of the filter's skill, whose prior sd is 25/3."""


def propose_ksort(view: ArenaView, count: int, rng: Generator, *, alpha: float = ALPHA) -> list[ProposedSet]:
    """Propose `count` sets of active models; none if they are fewer than k."""
    if describe_shortage(view) is not None:
        return []
    models = np.flatnonzero(view.active)
    score = (view.mu - 3.0 * np.sqrt(view.s2))[models]
    comparisons = count_open_comparisons(view)
    open_pairs = _OpenPairs(view.n_models)
    for open_set in view.open_sets:
        open_pairs.add(open_set)

    proposals = []
    for _ in range(count):
        pivot = _choose_pivot(comparisons[models], rng)
        met = (view.pair_row(int(models[pivot])) + open_pairs.row(int(models[pivot])))[models]
        matchups = max(1.0, float(comparisons.sum()) / (view.k * (view.k - 1)))
        others = _sort_others(pivot, score, met, matchups=matchups, alpha=alpha, rng=rng)[: view.k - 1]
        chosen = models[rng.permutation(np.concatenate([[pivot], others]))].tolist()
        proposals.append(ProposedSet(tuple(chosen), NAME, None))
        comparisons[chosen] += view.k - 1
        open_pairs.add(chosen)
    return proposals


def _choose_pivot(comparisons: NDArray[np.int64], rng: Generator) -> int:
    fewest = np.flatnonzero(comparisons == comparisons.min())
    return int(fewest[rng.integers(len(fewest))])


def _sort_others(
    pivot: int,
    score: NDArray[np.float64],
    met: NDArray[np.int64],
    *,
    matchups: float,
    alpha: float,
    rng: Generator,
) -> NDArray[np.int64]:
    """Return the other models, best first."""
    nearness = -np.abs(score[pivot] - score)
    exploration = alpha * np.sqrt(np.log(matchups) / np.maximum(met, 1))
    bound = np.where(met == 0, nearness, nearness + exploration)
    # The last key is the first to sort by: unmet models, then the larger bound, then chance.
    order: NDArray[np.int64] = np.lexsort((rng.random(len(score)), -bound, met > 0))
    others: NDArray[np.int64] = order[order != pivot]
    return others


class _OpenPairs:
    """Comparisons that open sets will add, by model."""

    def __init__(self, n_models: int) -> None:
        self._n_models = n_models
        self._partners: defaultdict[int, list[int]] = defaultdict(list)

    def add(self, models: Iterable[int]) -> None:
        chosen = list(models)
        for model in chosen:
            self._partners[model].extend(other for other in chosen if other != model)

    def row(self, model: int) -> NDArray[np.int64]:
        return np.bincount(self._partners.get(model, []), minlength=self._n_models).astype(np.int64)
