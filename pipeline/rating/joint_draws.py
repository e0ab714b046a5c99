"""Joint draws of all skills: between which ranks a model lies, and how probable the top of the board is.

Method
    Skills are drawn jointly from a Gaussian with the published moments, and each draw is ranked. A model's rank
    interval are the 2.5 and 97.5 % quantiles of its ranks, rounded outwards to whole ranks; P(best) and P(top k) are
    the shares of draws in which its rank is 1, at most k. Correlations matter: two models that were compared with each
    other only have wide intervals and a certain order.

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

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 4000
SEED: Final = 20240814
_TAIL: Final = 0.025
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
        self, ranks: NDArray[np.int64], *, tail: float = _TAIL
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the best and the worst credible rank of each model, int64 (n,) each.

        Parameters
        ----------
        ranks : int64 (n,)
            Ranks that are shown; each interval is widened to hold its own.
        tail : float
            Probability left out on either side.
        """
        if len(ranks) < 2:
            return ranks.copy(), ranks.copy()
        draws = self.drawn.shape[1]
        cut = int(tail * draws)
        drawn = np.partition(self.drawn, (cut, draws - 1 - cut), axis=1)
        low, high = drawn[:, cut].astype(np.int64), drawn[:, draws - 1 - cut].astype(np.int64)
        return np.minimum(low, ranks), np.maximum(high, ranks)

    def p_top(self, k: int) -> NDArray[np.float64]:
        """Return the probability that each model is among the best k, float64 (n,); of all models they sum to k."""
        return np.asarray((self.drawn <= k).mean(axis=1), np.float64)


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
