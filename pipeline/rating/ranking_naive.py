"""What `ranking` computes, the plain way: its reference in tests.

All performances of all ballots are variables of one Gaussian beside the skills, and every factor of every ballot has
its own site on it; moments come from one inverse after each update. The fixed point is that of `ranking` without
lapses, where the sites of a ballot are hidden inside the ballot's.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from pipeline.contracts.ballot import UNRANKED, Ballots
from pipeline.rating.ranking import PERFORMANCE_VARIANCE


def fit_scale_naive(
    ballots: Ballots, n: int, scale: float, margin: float, *, sweeps: int = 25
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean (n,), covariance (n, n) and log evidence of the skills at one prior scale, without lapses."""
    size = n + len(ballots.models)
    precision = np.zeros((size, size))
    precision[:n, :n] = np.eye(n) / scale**2
    for element, model in enumerate(ballots.models.tolist()):
        tie = np.zeros(size)
        tie[n + element], tie[model] = 1.0, -1.0
        precision += np.outer(tie, tie) / PERFORMANCE_VARIANCE
    factors = [
        (n + i, n + j, ordered)
        for begin, end in zip(ballots.offsets[:-1].tolist(), ballots.offsets[1:].tolist(), strict=True)
        for i, j, ordered in _list_factors(ballots.groups.tolist(), begin, end)
    ]
    prior = precision.copy()
    shift = np.zeros(size)
    sites = np.zeros((len(factors), 2))
    terms = np.zeros(len(factors))
    for _ in range(sweeps):
        for f, (i, j, ordered) in enumerate(factors):
            a = np.zeros(size)
            a[i], a[j] = 1.0, -1.0
            spread = np.linalg.inv(precision) @ a
            variance, mean = a @ spread, shift @ spread
            rest = 1 / variance - sites[f, 0]
            cavity = (mean / variance - sites[f, 1]) / rest
            sd = math.sqrt(1 / rest)
            low, high = (margin, math.inf) if ordered else (-margin, margin)
            part = truncnorm((low - cavity) / sd, (high - cavity) / sd, loc=cavity, scale=sd)
            log_mass = math.log(_mass_between((low - cavity) / sd, (high - cavity) / sd))
            new_mean, new_variance = (float(moment) for moment in part.stats(moments="mv"))
            new = np.array([1 / new_variance - rest, new_mean / new_variance - cavity * rest])
            terms[f] = log_mass - 0.5 * (new_mean**2 / new_variance - cavity**2 * rest + math.log(new_variance * rest))
            precision += (new[0] - sites[f, 0]) * np.outer(a, a)
            shift += (new[1] - sites[f, 1]) * a
            sites[f] = new
    covariance = np.asarray(np.linalg.inv(precision), np.float64)
    moments: NDArray[np.float64] = covariance @ shift
    log_det = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(prior)[1]
    evidence = float(0.5 * shift @ moments - 0.5 * log_det + terms.sum())
    return moments[:n], covariance[:n, :n], evidence


def _mass_between(low: float, high: float) -> float:
    """Return the probability that a standard normal variable lies in low ... high."""
    return 0.5 * (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2)))


def _list_factors(groups: list[int], begin: int, end: int) -> list[tuple[int, int, bool]]:
    """Return (first, second, ordered) of a ballot: neighbouring groups, then tied pairs."""
    levels = sorted(set(groups[begin:end]))
    elements = {level: [e for e in range(begin, end) if groups[e] == level] for level in levels}
    ordered = [(i, j, True) for above, below in pairwise(levels) for i in elements[above] for j in elements[below]]
    tied = [
        (i, j, False)
        for level in levels
        if level != UNRANKED
        for i in elements[level]
        for j in elements[level]
        if i < j
    ]
    return ordered + tied
