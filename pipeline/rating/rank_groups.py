"""Rank groups: models that cannot be told apart share a group.

Definition
    Walk down the board. The first model leads group 1. Each next model joins the group while the leader is not surely
    stronger: P(theta_leader > theta_model) < 97.5 % under the joint posterior. The first model that the leader surely
    beats leads the next group.

    So every leader is surely stronger than the leader after it, and no model of a group is surely weaker than its
    leader. "Cannot be told apart" is no equivalence (a and b, b and c may be too close to call when a and c are not):
    two models of one group other than its leader may be told apart, and so is the last of a group from the first of
    the next more rarely than from that group's middle. For two given models ask for P(i beats j) (module
    `pair_probabilities`).

A new model is wide, so that it joins the group that it happens to stand in; it can lead a group only if the leader
above it surely beats it, and then leads few. Models of equal mean are in one group.

Numbers are from 1, without gaps, and never decrease down the board.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CERTAINTY_SDS: Final = 1.959963984540054
"""Gap in standard deviations of the difference from which a leader is surely stronger: Phi = 97.5 %."""


def group_models(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], ranks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the group of each model, int64 (n,).

    Parameters
    ----------
    mean : float64 (n,)
        Means of the skills.
    covariance : float64 (n, n) or (n,)
        Joint covariance up to a common shift, or variances of independent models.
    ranks : int64 (n,)
        Ranks from 1 that are shown.
    """
    n = len(mean)
    group = np.empty(n, np.int64)
    order = np.argsort(ranks)
    variance = covariance if covariance.ndim == 1 else np.diagonal(covariance)
    place, number = 0, 0
    while place < n:
        leader = order[place]
        rest = order[place:]
        joint = 0.0 if covariance.ndim == 1 else covariance[leader, rest]
        spread = np.sqrt(np.maximum(variance[leader] + variance[rest] - 2.0 * joint, 0.0))
        surely = mean[leader] - mean[rest] > CERTAINTY_SDS * spread
        surely[0] = False  # of itself the leader differs by rounding at most
        length = int(np.argmax(surely)) if surely.any() else len(rest)
        number += 1
        group[rest[:length]] = number
        place += length
    return group
