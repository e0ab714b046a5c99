"""Averages of fits under several settings, weighted by their evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def normalise_evidence(log_evidences: Sequence[float]) -> list[float]:
    """Return weights proportional to the evidences, given by their logarithms; they sum to 1."""
    if not log_evidences:
        return []
    top = max(log_evidences)
    raw = [math.exp(value - top) for value in log_evidences]
    total = math.fsum(raw)
    return [value / total for value in raw]


def average_gaussians(
    weights: Sequence[float], means: Sequence[NDArray[np.float64]], covariances: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean (n,) and covariance (n, n) of a mixture of Gaussians, the spread between their means included."""
    mean = np.zeros_like(means[0])
    covariance = np.zeros_like(covariances[0])
    for weight, part, spread in zip(weights, means, covariances, strict=True):
        mean += weight * part
        covariance += weight * spread
    for weight, part in zip(weights, means, strict=True):
        covariance += weight * np.outer(part - mean, part - mean)
    return mean, covariance
