"""The mutable pair counts of the hot path: what votes are added to, and commits and fits are taken from.

Few models have dense counts (module `dense_counts`), many a hash table (`hashed_counts`); an arena that outgrows
its room moves. Both give the same `PairCounts`.
"""

from __future__ import annotations

from pipeline.contracts.ballot import Ballots
from pipeline.rating.dense_counts import DENSE_MODELS, DenseCounts
from pipeline.rating.hashed_counts import HashedCounts
from pipeline.rating.pair_counts import MAX_MODELS, PairCounts


class CountAccumulator:
    """Counts of one arena that votes are added to and taken from.

    Parameters
    ----------
    n_models : int
        Number of models; a ballot with a model index from `n_models` on is an error until `grow`.
    """

    def __init__(self, n_models: int) -> None:
        self._n_models = 0
        self._counts: DenseCounts | HashedCounts = DenseCounts(0)
        self.grow(n_models)

    @property
    def n_models(self) -> int:
        """Number of models that may occur."""
        return self._n_models

    @property
    def n_bytes(self) -> int:
        """Memory that the counts hold, in bytes."""
        return self._counts.n_bytes

    def grow(self, n: int) -> None:
        """Allow model indices below `n`; smaller values change nothing."""
        if n > MAX_MODELS:
            raise ValueError(f"{n} models: at most {MAX_MODELS} fit into a code")
        self._n_models = max(self._n_models, n)
        if isinstance(self._counts, DenseCounts) and self._n_models > self._counts.capacity:
            self._move()

    def add_ballots(self, ballots: Ballots) -> None:
        """Add the pairs and appearances of `ballots`; all of them or, on a bad model index, none."""
        check_models(ballots, self._n_models)
        self._counts.add_ballots(ballots)

    def merge(self, counts: PairCounts) -> None:
        """Add `counts`; they become part of the next delta."""
        self._check_counts(counts)
        self._counts.add_counts(counts, 1)

    def subtract(self, counts: PairCounts) -> None:
        """Take `counts` away (a retraction); they become part of the next delta."""
        self._check_counts(counts)
        self._counts.add_counts(counts, -1)

    def freeze(self) -> PairCounts:
        """Return all counts as a value, pending ones too. Cost: the size of the table."""
        return self._counts.freeze()

    def take_delta(self) -> PairCounts:
        """Return what was added since the last call, and begin anew. Cost: the entries that changed."""
        return self._counts.take_delta()

    def _check_counts(self, counts: PairCounts) -> None:
        if counts.n_models > self._n_models:
            raise ValueError(
                f"counts name model {counts.n_models - 1}, but there are {self._n_models} models: grow first"
            )

    def _move(self) -> None:
        pending = self._counts.take_delta()
        total = self._counts.freeze().subtract(pending)
        n = self._n_models
        self._counts = DenseCounts(n) if n <= DENSE_MODELS else HashedCounts()
        self._counts.add_counts(total, 1)
        self._counts.take_delta()
        self._counts.add_counts(pending, 1)


def check_models(ballots: Ballots, n: int) -> None:
    """Raise `ValueError` unless all model indices of `ballots` are in 0 ... n - 1: a kernel would write anywhere."""
    if not len(ballots.models):
        return
    low, high = int(ballots.models.min()), int(ballots.models.max())
    if low < 0 or high >= n:
        named = low if low < 0 else high
        raise ValueError(f"ballots name model {named}, but there are {n} models: grow first")
