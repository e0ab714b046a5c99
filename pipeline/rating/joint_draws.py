"""Joint draws of all skills: between which ranks a model lies, and how probable the top of the board is.

Method
    Skills are drawn jointly from a Gaussian with the published moments, and each draw is ranked. P(best) and P(top k)
    are the shares of draws in which a model's rank is 1, at most k. Correlations matter: two models that were compared
    with each other only have wide intervals and a certain order.

Rank intervals
    Ranks are whole numbers: the shortest span that holds 95 % of a model's draws holds 98 or 99 % of them on most
    boards, and quantiles hold more still. So the surplus is spent: spans begin as the shortest with at least `MASS`,
    and then, over the whole board, the end ranks that hold least are taken off while the mean of what the spans hold
    stays at `MASS` or above, and no span falls below `LEAST_MASS`. On average over a board 95.5 % of ranks lie
    inside, and each one does with at least 90.5 %. The half percent is for what the Gaussian leaves out: in simulated
    worlds these intervals cover 95 to 97 % and are 5 % wider than the narrowest that cover 95 % (on most; 14 % where
    nearly every rank is certain), where quantiles are 16 to 37 % wider (benchmarks/coverage).

Ties
    Draws have none. Models of equal mean share an interval; the rank that is shown orders them by id, and the
    interval is widened to hold it.

Guards and assumptions
    The seed is fixed: equal moments give equal intervals. `DRAWS` = 4,000 puts the standard error of a 2.5 %
    tail at 0.25 points, of P(best) at 0.8 points or less. A centred covariance is singular in one direction, the
    weights of its reference set; adding the same variance to all entries (a common shift) mends that and moves no
    rank. The same number of draws serves any number of models: with 2,000 they cost a second or two, less than
    their fit.

Differences from the paper
    The paper has no rank intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

DRAWS: Final = 4000
SEED: Final = 20240814
MASS: Final = 0.955
LEAST_MASS: Final = 0.905
_BLOCK: Final = 500


@dataclass(frozen=True, slots=True)
class RankDraws:
    """Ranks of n models in joint draws.

    Attributes
    ----------
    drawn : int32 (n, draws)
        Rank from 1 of each model in each draw.
    """

    drawn: NDArray[np.int32]

    def intervals(
        self, ranks: NDArray[np.int64], *, mass: float = MASS, least_mass: float = LEAST_MASS
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the best and the worst credible rank of each model, int64 (n,) each.

        Parameters
        ----------
        ranks : int64 (n,)
            Ranks that are shown; each interval is widened to hold its own.
        mass, least_mass : float
            What intervals hold on average over the board, and each of them at least.
        """
        n, draws = self.drawn.shape
        if n < 2:
            return ranks.copy(), ranks.copy()
        shares = _count_ranks(self.drawn)
        low, high, held = _find_shortest(shares, math.ceil(mass * draws))
        cost, model = _list_cuts(shares, low, high, held, math.ceil(least_mass * draws))
        order = np.argsort(cost, kind="stable")
        cost = cost[order]
        surplus = int(held.sum()) - math.ceil(mass * draws * n)
        n_cuts = int(np.searchsorted(np.cumsum(cost), surplus, side="right"))
        if n_cuts < len(cost):
            # of cuts that cost the same all are made or none: two models alike are treated alike
            n_cuts = int(np.searchsorted(cost, cost[n_cuts]))
        _cut_ends(shares, low, high, np.bincount(model[order[:n_cuts]], minlength=n))
        return np.minimum(low, ranks), np.maximum(high, ranks)

    def p_top(self, k: int) -> NDArray[np.float64]:
        """Return the probability that each model is among the best k, float64 (n,); of all models they sum to k."""
        return np.asarray((self.drawn <= k).mean(axis=1), np.float64)


@njit(nogil=True, cache=True)
def _count_ranks(drawn: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return how many draws give model i the rank r + 1, int32 (n, n)."""
    counts = np.zeros((len(drawn), len(drawn)), np.int32)
    for m in range(len(drawn)):
        for draw in range(drawn.shape[1]):
            counts[m, drawn[m, draw] - 1] += 1
    return counts


@njit(nogil=True, cache=True)
def _find_shortest(
    counts: NDArray[np.int32], need: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the shortest span of ranks with at least `need` draws, of equal ones that with most; and these draws."""
    n = len(counts)
    low, high, held = np.ones(n, np.int64), np.full(n, n), np.zeros(n, np.int64)
    for m in range(n):
        begin, inside = 0, 0
        for end in range(n):
            inside += counts[m, end]
            while inside - counts[m, begin] >= need:
                inside -= counts[m, begin]
                begin += 1
            width, best = end - begin, high[m] - low[m]
            if inside >= need and (held[m] == 0 or width < best or (width == best and inside > held[m])):
                low[m], high[m], held[m] = begin + 1, end + 1, inside
    return low, high, held


@njit(nogil=True, cache=True)
def _list_cuts(
    counts: NDArray[np.int32],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    held: NDArray[np.int64],
    least: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what each possible cut of an end rank costs in draws, and its model; a model's cuts in their order."""
    cost, model = np.empty(np.sum(high - low), np.int64), np.empty(np.sum(high - low), np.int64)
    found = 0
    for m in range(len(counts)):
        a, b, inside, dearest = low[m] - 1, high[m] - 1, held[m], 0
        while a < b:
            lost = min(counts[m, a], counts[m, b])
            inside -= lost
            if inside < least:
                break
            # a later cut is never cheaper, so that taking the cheapest keeps their order
            dearest = max(dearest, lost)
            cost[found], model[found] = dearest, m
            found += 1
            if counts[m, a] < counts[m, b]:
                a += 1
            else:
                b -= 1
    return cost[:found], model[:found]


@njit(nogil=True, cache=True)
def _cut_ends(
    counts: NDArray[np.int32], low: NDArray[np.int64], high: NDArray[np.int64], cuts: NDArray[np.int64]
) -> None:
    for m in range(len(counts)):
        for _ in range(cuts[m]):
            if counts[m, low[m] - 1] < counts[m, high[m] - 1]:
                low[m] += 1
            else:
                high[m] -= 1


def rank_values(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return ranks from 1 (largest) of values (n,), equal ones in index order, int64 (n,)."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return ranks


def draw_ranks(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], *, draws: int = DRAWS, seed: int = SEED
) -> RankDraws:
    """Draw skills and rank them.

    Parameters
    ----------
    mean : float64 (n,)
        Means; larger is better.
    covariance : float64 (n, n) or (n,)
        Joint covariance up to a common shift, or variances of independent models.
    draws, seed : int
        Number of joint draws and seed of their generator.
    """
    n = len(mean)
    drawn = np.ones((n, draws), np.int32)
    if n < 2:
        return RankDraws(drawn)
    factor = np.sqrt(covariance) if covariance.ndim == 1 else _factorise(covariance)
    rng = np.random.Generator(np.random.PCG64(seed))
    for begin in range(0, draws, _BLOCK):
        normals = rng.standard_normal((min(_BLOCK, draws - begin), n))
        skills = mean + (normals * factor if factor.ndim == 1 else normals @ factor.T)
        order = np.argsort(-skills, axis=1)
        block = np.empty(order.shape, np.int32)
        np.put_along_axis(block, order, np.arange(1, n + 1, dtype=np.int32)[None, :], axis=1)
        drawn[:, begin : begin + len(block)] = block.T
    return RankDraws(drawn)


def draw_skills(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], *, draws: int, seed: int = SEED
) -> NDArray[np.float64]:
    """Draw skills up to a common shift, float64 (draws, n); mean (n,), covariance (n, n)."""
    normals = np.random.Generator(np.random.PCG64(seed)).standard_normal((draws, len(mean)))
    drawn: NDArray[np.float64] = mean + normals @ _factorise(covariance).T
    return drawn


def _factorise(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F (n, n) with F F' = covariance up to a common shift."""
    # the smallest variance: a larger shift would only worsen the condition number
    shifted = covariance + float(np.diagonal(covariance).min())
    try:
        return np.asarray(np.linalg.cholesky(shifted), np.float64)
    except np.linalg.LinAlgError:
        # variances that differ by more than rounding can hold: certain models beside unplayed ones
        values, vectors = np.linalg.eigh(shifted)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), np.float64)
