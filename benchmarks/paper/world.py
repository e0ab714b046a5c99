"""The paper's simulated arena: models in a known exact order, and voters who see it but for a share of random votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots, Mode
from pipeline.matchmaking.random_policy import sample_sets


@dataclass(frozen=True, slots=True)
class World:
    """n models in an exact order.

    Attributes
    ----------
    truth : int64 (n,)
        Place of each model in the exact order, 0 = best.
    random_share : float
        Probability that a whole ballot is replaced by a random permutation.
    """

    truth: NDArray[np.int64]
    random_share: float

    @classmethod
    def draw(cls, n_models: int, random_share: float, rng: Generator) -> World:
        """Draw a world whose models are in a random order."""
        return cls(rng.permutation(n_models), random_share)

    def answer(self, sets: NDArray[np.int64], rng: Generator) -> NDArray[np.int64]:
        """Return the voters' rankings of `sets` (m, k): the same models, best first, int64 (m, k)."""
        order = np.argsort(self.truth[sets], axis=1)
        lapsed = rng.random(len(sets)) < self.random_share
        order[lapsed] = rng.permuted(order[lapsed], axis=1)
        return np.take_along_axis(sets, order, axis=1)

    def draw_votes(self, k: int, count: int, rng: Generator) -> NDArray[np.int64]:
        """Return the votes on `count` random matchups of k models, each best first, int64 (count, k)."""
        return self.answer(sample_sets(len(self.truth), k, count, rng), rng)


def make_rankings(rankings: NDArray[np.int64]) -> Ballots:
    """Make ballots of strict rankings (m, k), best first."""
    count, k = rankings.shape
    return Ballots(
        np.arange(count + 1, dtype=np.int64) * k,
        rankings.ravel().astype(np.int32),
        np.tile(np.arange(k, dtype=np.int8), count),
        np.full(count, Mode.RANK, np.int8),
    )


@njit(nogil=True, cache=True)
def measure_rank_error(values: NDArray[np.float64], truth: NDArray[np.int64], order: NDArray[np.int64]) -> float:
    """Return the mean squared difference between a model's place by `values` (larger is better) and its true place.

    `order` is a permutation of the models that this call sorts in place, so that calls after small changes are quick;
    equal values keep the order that they had.
    """
    total = 0
    for place in range(len(order)):
        model = order[place]
        at = place
        while at > 0 and values[order[at - 1]] < values[model]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = model
    for place in range(len(order)):
        off = truth[order[place]] - place
        total += off * off
    return total / len(order)
