"""P(i beats j): of two models of a fitted board, which is stronger, and what the next vote on them will say.

Two questions, both answered from the joint posterior of the two skills, theta_i - theta_j ~ N(m, s^2):

- *stronger*: P(theta_i > theta_j) = Phi(m/s). Goes to 0 or 1 with more votes.
- *the next vote*: E[P(i wins)], E[P(j wins)], E[P(tie)] under Davidson's model, averaged over the posterior by
  Gauss-Hermite quadrature. Goes to the true shares with more votes.

Joint draws of all skills give the same to their Monte Carlo error; two models need only two dimensions of them, and
then the integral is exact to quadrature (1e-6 for s up to 3 logits).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from pipeline.rating.likelihoods import POSTERIOR_LIKELIHOOD, predict_differences
from pipeline.rating.posterior import PosteriorFit

_NODES = 64


@dataclass(frozen=True, slots=True)
class PairProbabilities:
    """Of p pairs (i, j), float64 (p,) each: i is stronger; the next vote says i, j, tie (these sum to 1)."""

    stronger: NDArray[np.float64]
    wins: NDArray[np.float64]
    losses: NDArray[np.float64]
    ties: NDArray[np.float64]


def compare_models(fit: PosteriorFit, first: ArrayLike, second: ArrayLike) -> PairProbabilities:
    """Compare models `first` with `second`, indices (p,) in the order of the fit's model ids."""
    i, j = np.atleast_1d(np.asarray(first, np.int64)), np.atleast_1d(np.asarray(second, np.int64))
    variance = np.diagonal(fit.covariance)
    mean = fit.mean[i] - fit.mean[j]
    sd = np.sqrt(np.maximum(variance[i] + variance[j] - 2.0 * fit.covariance[i, j], 0.0))
    # a model is as strong as itself; so are two that are known to be equal
    certain = np.where(mean == 0.0, 0.5, (mean > 0.0).astype(np.float64))
    stronger = np.where(sd > 0.0, ndtr(mean / np.where(sd > 0.0, sd, 1.0)), certain)
    eta = math.log(fit.tie_parameter) if fit.tie_parameter > 0.0 else None
    next_vote = predict_differences(POSTERIOR_LIKELIHOOD, mean, sd, eta, nodes=_NODES)
    return PairProbabilities(stronger, next_vote[:, 0], next_vote[:, 1], next_vote[:, 2])
