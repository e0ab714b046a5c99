"""The policy `random`: every set of k active models is equally likely. The baseline.

A set of k of n models has probability 1 / C(n, k), whatever is known and whatever is open: that is its
propensity. Votes on such matchups need no reweighting.
"""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.matchmaking.view import ArenaView, ProposedSet, describe_shortage

if TYPE_CHECKING:
    from numpy.random import Generator

NAME: Final = "random"


def propose_random(view: ArenaView, count: int, rng: Generator) -> list[ProposedSet]:
    """Propose `count` sets of active models; none if they are fewer than k."""
    if describe_shortage(view) is not None:
        return []
    models = np.flatnonzero(view.active)
    propensity = 1.0 / comb(len(models), view.k)
    chosen = models[sample_sets(len(models), view.k, count, rng)]
    return [ProposedSet(tuple(row), NAME, propensity) for row in chosen.tolist()]


def sample_sets(n: int, k: int, count: int, rng: Generator) -> NDArray[np.int64]:
    """Draw `count` ordered samples of k of n without replacement, all equally likely: int64 (count, k).

    The j-th draw is a place among the n - j that are left; it moves up past each earlier draw that is not
    above it, which is exact and needs neither rejection nor O(n) work a sample.
    """
    drawn = np.empty((count, k), np.int64)
    for j in range(k):
        place = rng.integers(0, n - j, count)
        earlier = np.sort(drawn[:, :j], axis=1)
        for column in range(j):
            place += place >= earlier[:, column]
        drawn[:, j] = place
    return drawn
