"""Averages of fits under several settings or likelihoods, weighted by their evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.errors import FitError


def normalise_log_weights(log_weights: Sequence[float]) -> list[float]:
    """Return exp(log weights), normalised to the sum 1."""
    if not log_weights:
        return []
    top = max(log_weights)
    raw = [math.exp(value - top) for value in log_weights]
    total = math.fsum(raw)
    return [value / total for value in raw]


def average_gaussians(
    parts: Sequence[tuple[float, NDArray[np.float64], NDArray[np.float64]]], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (n,) and covariance (n, n) of a mixture of (weight, mean, covariance); uses the covariances up."""
    mean, covariance = np.zeros(n), np.zeros((n, n))
    for weight, part_mean, _ in parts:
        mean += weight * part_mean
    for weight, part_mean, part_covariance in parts:
        np.multiply(part_covariance, weight, out=part_covariance)
        covariance += part_covariance
        covariance += weight * np.outer(part_mean - mean, part_mean - mean)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise FitError("posterior: the averaged moments are not finite")
    return mean, covariance
