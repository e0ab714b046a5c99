"""The reference set: the models whose mean is the zero of the published scale.

The likelihood does not identify a common shift of all skills, and the prior alone would make its sd arbitrary
(0.4 at prior scale 1, 52 at 128, on the same votes). So moments are those of theta_i - w'theta, w uniform on
a set of models: those with at least `MIN_COMPARISONS` comparisons in the largest connected component of the
graph of comparisons, retired ones too; all models while fewer than two have. An unplayed model outside the
set widens nobody's interval.

Largest: most models; among equals most comparisons, then the one with the smallest id. The set depends on
integers alone, so that it is the same function of the counts on every machine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.rating.pair_counts import WeightedPairs

MIN_COMPARISONS: Final = 10


def find_reference(pairs: WeightedPairs, comparisons: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which models are in the reference set, bool (n,).

    Parameters
    ----------
    pairs : WeightedPairs
        Pairs that were compared, models numbered by ascending id.
    comparisons : int64 (n,)
        Unweighted comparisons of each model, in the same order.
    """
    n = len(comparisons)
    graph = coo_array((np.ones(len(pairs.first), np.int8), (pairs.first, pairs.second)), shape=(n, n))
    n_components, labels = connected_components(graph, directed=False)
    members = np.bincount(labels, minlength=n_components).tolist()
    totals = np.zeros(n_components, np.int64)
    np.add.at(totals, labels, comparisons)
    smallest = np.full(n_components, n)
    np.minimum.at(smallest, labels, np.arange(n))
    keys = list(zip(members, totals.tolist(), (-smallest).tolist(), strict=True))
    largest = keys.index(max(keys))
    reference = (labels == largest) & (comparisons >= MIN_COMPARISONS)
    return reference if int(reference.sum()) >= 2 else np.ones(n, np.bool_)


def centre_moments(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (n,) and covariance (n, n) of theta - 1 w'theta, w uniform on `reference` (bool (n,)).

    The covariance is (I - 1w') S (I - 1w')'.
    """
    weights = reference / np.count_nonzero(reference)
    row = covariance @ weights
    centred = covariance - row[:, None] - row[None, :]
    centred += float(weights @ row)
    return mean - float(weights @ mean), centred
