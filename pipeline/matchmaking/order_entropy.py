"""The set whose order is least certain: for the engine on whole rankings (`pipeline.rating.ranking`).

Method
------
Skills are drawn jointly from the posterior. The value of a set is the entropy of the order of its models over the
draws: what an exact vote on it would tell, log2(k!) bits at most. A vote with noise tells less, about as much less for
each set. The search is greedy from the least certain pair, and from pairs with a random first model; then each place is
filled anew in turn, twice, and the best set of all starts is returned.

Assumptions
-----------
The draws are few, so entropies are biased downwards, most for the most uncertain sets; that moves no choice between
clear and unclear sets. Cost: starts x k^2 x n x draws. For an arena's live matchups there are the policies in
`policies`: this has no propensities.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX
from pipeline.matchmaking.errors import MatchmakingError

_PASSES = 2


def choose_uncertain_set(
    draws: NDArray[np.float64], k: int, rng: Generator, *, starts: int = 4
) -> tuple[tuple[int, ...], float]:
    """Return k models whose order is least certain, in random slot order, and the entropy of their order in nats.

    Parameters
    ----------
    draws : float64 (m, n)
        Joint draws of n models' skills. Their number should be well above k!, or all large sets look alike.
    k : int
        Models in the set, 2 to `K_MAX`.
    starts : int
        Searches.

    Raises
    ------
    MatchmakingError
        k is not in 2 ... K_MAX, or larger than n.
    """
    n = draws.shape[1]
    if not 2 <= k <= min(K_MAX, n):
        raise MatchmakingError(f"a set of {k} of {n} models: k must be 2 to {min(K_MAX, n)}")
    above = np.ascontiguousarray(draws.T)
    doubt = _measure_pairs(above)
    jitter = 1e-3 * rng.random((n, n))
    best, best_entropy = np.empty(0, np.int64), -1.0
    for start in range(starts):
        clouded = doubt + jitter + jitter.T
        first = int(rng.integers(n)) if start else int(clouded.max(axis=1).argmax())
        clouded[first, first] = -1.0
        chosen, entropy = _search(above, k, first, int(clouded[first].argmax()))
        if entropy > best_entropy:
            best, best_entropy = chosen, entropy
    return tuple(rng.permutation(best).tolist()), best_entropy


@njit(nogil=True, cache=True)
def _measure_pairs(above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of the order of each pair, (n, n), from draws (n, m)."""
    n, m = above.shape
    doubt = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            wins = 0
            for s in range(m):
                wins += above[i, s] > above[j, s]
            p = wins / m
            if 0.0 < p < 1.0:
                doubt[i, j] = -p * math.log(p) - (1.0 - p) * math.log(1.0 - p)
                doubt[j, i] = doubt[i, j]
    return doubt


@njit(nogil=True, cache=True)
def _search(above: NDArray[np.float64], k: int, first: int, second: int) -> tuple[NDArray[np.int64], float]:
    """Return k models (k,), found from two of them, and their entropy; `above` are draws (n, m)."""
    chosen = np.array([first, second] + [-1] * (k - 2))
    entropy = _fill_place(above, chosen[:2], 1)
    for size in range(3, k + 1):
        entropy = _fill_place(above, chosen[:size], size - 1)
    for _ in range(_PASSES):
        for place in range(k):
            entropy = _fill_place(above, chosen, place)
    return chosen, entropy


@njit(nogil=True, cache=True)
def _fill_place(above: NDArray[np.float64], chosen: NDArray[np.int64], place: int) -> float:  # noqa: PLR0912 (one loop nest for the compiler)
    """Put into ``chosen[place]`` the model that makes the order least certain; return the entropy."""
    n, m = above.shape
    size = len(chosen)
    codes, full = np.zeros(m, np.int64), np.empty(m, np.int64)
    orders = 1
    # an order is coded by how many of the earlier models each model is below
    for a in range(size):
        if a != place:
            orders *= a + 1 if a < place else a
            for s in range(m):
                below = 0
                for c in range(a):
                    if c != place:
                        below += above[chosen[c], s] > above[chosen[a], s]
                codes[s] = codes[s] * (a + 1 if a < place else a) + below
    tally = np.zeros(orders * size, np.int64)
    best, best_entropy = chosen[place], -1.0
    for model in range(n):
        taken = False
        for c in range(size):
            taken = taken or (c != place and chosen[c] == model)
        if taken:
            continue
        for s in range(m):
            below = 0
            for c in range(size):
                if c != place:
                    below += above[chosen[c], s] > above[model, s]
            full[s] = codes[s] * size + below
            tally[full[s]] += 1
        entropy = 0.0
        for s in range(m):
            count = tally[full[s]]
            if count:
                entropy -= count / m * math.log(count / m)
                tally[full[s]] = 0
        if entropy > best_entropy:
            best, best_entropy = model, entropy
    chosen[place] = best
    return best_entropy
