"""The pairs of an arena as a fit takes them: weighted, models numbered by ascending id, with the reference set.

Floating-point sums depend on the order of their terms. With models sorted by id before any of them, what is published
does not depend on the order in which models happened to register.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.errors import FitError
from pipeline.rating.pair_counts import PairCounts, WeightedPairs
from pipeline.rating.reference_set import find_reference


@dataclass(frozen=True, slots=True)
class SortedPairs:
    """The weighted pairs of n models numbered by ascending id.

    Attributes
    ----------
    model_ids : tuple of str, (n,)
        Ids in the order of the counts.
    position : int64 (n,)
        Place of each of them among the sorted ids.
    pairs : WeightedPairs
        Over the sorted places.
    reference : bool (n,)
        Reference set (module `reference_set`), sorted.
    """

    model_ids: tuple[str, ...]
    position: NDArray[np.int64]
    pairs: WeightedPairs
    reference: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """Number of models."""
        return len(self.model_ids)


def sort_pairs(counts: PairCounts, model_ids: Sequence[str], weigh: Callable[[int, bool], float]) -> SortedPairs:
    """Weigh the pairs of an arena by ``weigh(k, best)`` and sort them.

    Raises
    ------
    FitError
        If the counts cannot be those of votes.
    """
    n = len(model_ids)
    if counts.n_models > n:
        raise FitError(f"counts name model {counts.n_models - 1}, but there are {n} model ids")
    if len(counts) and int(counts.counts.min()) < 0:
        raise FitError("counts are negative: a difference of counts is no board")
    by_id = sorted(range(n), key=model_ids.__getitem__)
    position = np.empty(n, np.int64)
    position[by_id] = np.arange(n)
    pairs = _renumber_pairs(counts.pairs(weigh), position)
    comparisons = counts.comparisons(n)[by_id]
    reference = find_reference(pairs, comparisons) if n else np.zeros(0, np.bool_)
    return SortedPairs(tuple(model_ids), position, pairs, reference)


def _renumber_pairs(pairs: WeightedPairs, position: NDArray[np.int64]) -> WeightedPairs:
    if (position == np.arange(len(position))).all():
        return pairs
    first, second = position[pairs.first], position[pairs.second]
    swap = first > second
    order = np.lexsort((np.maximum(first, second), np.minimum(first, second)))
    return WeightedPairs(
        np.minimum(first, second)[order],
        np.maximum(first, second)[order],
        np.where(swap, pairs.losses, pairs.wins)[order],
        np.where(swap, pairs.wins, pairs.losses)[order],
        pairs.ties[order],
    )
