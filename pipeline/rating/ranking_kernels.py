"""Compiled parts of the method `ranking` (module `ranking` has the model): one ballot's order, and a sweep over all.

Words
    A *factor* is what a ballot says of the difference d of two performances: d > margin (ordered) or
    abs(d) < margin (tied). A *site* is the Gaussian that stands in for a factor or for a whole ballot, by its
    precision and its shift (precision times mean). A *cavity* is the posterior without the site.

Ballot
    Factors: each model of a group against each of the next group, and all pairs of a tied group; the
    unranked remainder is the last group, without pairs inside. All are symmetric in the models of a group, so
    no result depends on the slots. They are replaced one at a time until no site moves by more than
    `_INNER_TOLERANCE` of its cavity's precision. Each is log-concave, so that site precisions are not
    negative; rounding below 0 is cut.

Numerics
    Ratios pdf/cdf from `scalar_kernels`; a tie far outside its margin has its moments from the exponential
    tail of the nearer bound.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, UNRANKED
from pipeline.rating.scalar_kernels import normal_ratio, variance_ratio

_SQRT_HALF: Final = 0.7071067811865476
_LOG_SQRT_2PI: Final = 0.9189385332046727
_INNER_SWEEPS: Final = 100
_INNER_TOLERANCE: Final = 1e-6
_FAR: Final = 6.0
_MAX_FACTORS: Final = K_MAX * (K_MAX - 1) // 2


@njit(nogil=True, cache=True)
def log_normal_cdf(x: float) -> float:
    """Return log cdf(x) of the standard normal."""
    if x > -1.0:
        return math.log(0.5 * math.erfc(-x * _SQRT_HALF))
    return -0.5 * x * x - _LOG_SQRT_2PI - math.log(normal_ratio(x))


@njit(nogil=True, cache=True)
def truncate_above(mean: float, variance: float, bound: float) -> tuple[float, float, float]:
    """Return log probability, mean and variance of a Gaussian given that it is above `bound`."""
    sd = math.sqrt(variance)
    x = (mean - bound) / sd
    v = normal_ratio(x)
    return log_normal_cdf(x), mean + sd * v, variance * (1.0 - variance_ratio(x, v))


@njit(nogil=True, cache=True)
def truncate_within(mean: float, variance: float, bound: float) -> tuple[float, float, float]:
    """Return log probability, mean and variance of a Gaussian given that it is within -bound ... bound."""
    sd = math.sqrt(variance)
    flip = 1.0 if mean >= 0.0 else -1.0
    # mirrored, so that the mass is below: low is the further bound
    low, high = (-bound - abs(mean)) / sd, (bound - abs(mean)) / sd
    if high < -_FAR:
        # an exponential tail of rate -high/sd, cut at the width of the band
        rate = -high
        width = high - low
        cut = math.exp(-rate * width)
        share = -math.expm1(-rate * width)
        off = 1.0 / rate - width * cut / share
        spread = 1.0 / (rate * rate) - width * width * cut / (share * share)
        log_mass = log_normal_cdf(high) + math.log(share)
        return log_mass, flip * (abs(mean) + sd * (high - off)), variance * spread
    mass = 0.5 * (math.erfc(-high * _SQRT_HALF) - math.erfc(-low * _SQRT_HALF))
    at_low = math.exp(-0.5 * low * low - _LOG_SQRT_2PI)
    at_high = math.exp(-0.5 * high * high - _LOG_SQRT_2PI)
    v = (at_low - at_high) / mass
    spread = 1.0 + (low * at_low - high * at_high) / mass - v * v
    return math.log(mass), flip * (abs(mean) + sd * v), variance * spread


@njit(nogil=True, cache=True)
def list_factors(groups: NDArray[np.int8], firsts: NDArray[np.int64], seconds: NDArray[np.int64]) -> tuple[int, int]:
    """Write a ballot's factors as slots (first beats or ties with second); return how many are ordered, and all.

    Ordered factors come first. A ballot that ranks nothing has none.
    """
    k = len(groups)
    n = 0
    for a in range(k):
        # the next group that occurs: UNRANKED is the largest value
        following = UNRANKED + 1
        for c in range(k):
            if groups[a] < groups[c] < following:
                following = groups[c]
        for c in range(k):
            if groups[c] == following:
                firsts[n], seconds[n] = a, c
                n += 1
    ordered = n
    for a in range(k):
        for c in range(a + 1, k):
            if groups[a] == groups[c] and groups[a] != UNRANKED:
                firsts[n], seconds[n] = a, c
                n += 1
    return ordered, n


@njit(nogil=True, cache=True)
def order_performances(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], groups: NDArray[np.int8], margin: float
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Condition Gaussian performances on a ballot's order.

    Parameters
    ----------
    mean, covariance : float64 (k,), (k, k)
        Performances before the ballot.
    groups : int8 (k,)
        The ballot.
    margin : float
        Differences below it are ties.

    Returns
    -------
    log_mass : float
        Log probability of the order.
    precision, shift : float64 (k, k), (k,)
        The ballot's site on performances.
    """
    k = len(mean)
    firsts, seconds = np.empty(_MAX_FACTORS, np.int64), np.empty(_MAX_FACTORS, np.int64)
    n_ordered, n = list_factors(groups, firsts, seconds)
    precisions, shifts, evidence = np.zeros(n), np.zeros(n), np.zeros(n)
    m, C, column = mean.copy(), covariance.copy(), np.empty(k)
    for _ in range(_INNER_SWEEPS):
        change = 0.0
        for f in range(n):
            a, c = firsts[f], seconds[f]
            for i in range(k):
                column[i] = C[i, a] - C[i, c]
            variance, difference = column[a] - column[c], m[a] - m[c]
            rest = 1.0 / variance - precisions[f]
            if rest <= 0.0:
                continue
            cavity_mean = (difference / variance - shifts[f]) / rest
            if f < n_ordered:
                log_mass, new_mean, new_variance = truncate_above(cavity_mean, 1.0 / rest, margin)
            else:
                log_mass, new_mean, new_variance = truncate_within(cavity_mean, 1.0 / rest, margin)
            new_variance = max(new_variance, 1e-12 / rest)
            precision = max(1.0 / new_variance - rest, 0.0)
            shift = new_mean * (precision + rest) - cavity_mean * rest
            grown, moved = precision - precisions[f], shift - shifts[f]
            precisions[f], shifts[f] = precision, shift
            # what this factor adds to the evidence, less what its site adds to the moments
            after = precision + rest
            evidence[f] = (
                log_mass
                - 0.5 * (new_mean * new_mean * after - cavity_mean * cavity_mean * rest)
                + 0.5 * math.log(after / rest)
            )
            scale = 1.0 / (1.0 + grown * variance)
            for i in range(k):
                m[i] += column[i] * (moved - grown * difference) * scale
                for j in range(k):
                    C[i, j] -= grown * scale * column[i] * column[j]
            change = max(change, abs(grown) / rest)
        if change < _INNER_TOLERANCE:
            break
    Q, h = np.zeros((k, k)), np.zeros(k)
    for f in range(n):
        a, c = firsts[f], seconds[f]
        Q[a, a] += precisions[f]
        Q[c, c] += precisions[f]
        Q[a, c] -= precisions[f]
        Q[c, a] -= precisions[f]
        h[a] += shifts[f]
        h[c] -= shifts[f]
    return evidence.sum() + _log_site_mass(mean, covariance, Q, h), Q, h


@njit(nogil=True, cache=True)
def _log_site_mass(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], Q: NDArray[np.float64], h: NDArray[np.float64]
) -> float:
    """Return log of the integral of N(x; mean, covariance) exp(-x'Qx/2 + h'x)."""
    mixed = np.eye(len(mean)) + covariance @ Q
    # with y = h - Q mean: exp(h'mean - mean'Q mean/2) times the integral of the same around 0
    y = h - Q @ mean
    spread = np.linalg.solve(mixed, covariance @ y)
    return float(h @ mean - 0.5 * mean @ (Q @ mean) + 0.5 * y @ spread - 0.5 * math.log(np.linalg.det(mixed)))


@njit(nogil=True, cache=True)
def log_random_ballots(
    offsets: NDArray[np.int64], groups: NDArray[np.int8], noise: float, margin: float
) -> NDArray[np.float64]:
    """Return log probability of each ballot if all models were equal, float64 (n,); `noise` is a variance."""
    logs = np.empty(len(offsets) - 1)
    for b in range(len(logs)):
        ballot = groups[offsets[b] : offsets[b + 1]]
        k = len(ballot)
        logs[b] = order_performances(np.zeros(k), noise * np.eye(k), ballot, margin)[0]
    return logs


@njit(nogil=True, cache=True)
def sweep_ballots(
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    noise: float,
    margin: float,
    lapse: float,
    step: float,
    log_random: NDArray[np.float64],
    precisions: NDArray[np.float64],
    shifts: NDArray[np.float64],
    log_odds: NDArray[np.float64],
    attention: NDArray[np.float64],
    evidence: NDArray[np.float64],
) -> None:
    """Replace the site of each ballot once, in place.

    Parameters
    ----------
    mean, covariance : float64 (n,), (n, n)
        Posterior of the skills.
    offsets, models, groups
        Ballots that order something, as in `Ballots`.
    noise, margin, lapse : float
        Variance of a performance, tie margin, share of random ballots.
    step : float
        How far each site goes towards its new value, 1 = all the way.
    log_random : float64 (m,)
        As `log_random_ballots` gives it.
    precisions, shifts : float64 (m, K_MAX, K_MAX), (m, K_MAX)
        Sites of the ballots on skills.
    log_odds : float64 (m,)
        Log probability of the ballot from a voter who looks, less that from one who does not.
    attention : float64 (m,)
        Probability that the ballot was not random.
    evidence : float64 (m,)
        What the ballot adds to the log evidence, less what its site adds to the moments.
    """
    n = len(mean)
    for b in range(len(offsets) - 1):
        members = models[offsets[b] : offsets[b + 1]]
        ballot = groups[offsets[b] : offsets[b + 1]]
        k = len(members)
        columns, C, m = np.empty((n, k)), np.empty((k, k)), np.empty(k)
        for a in range(k):
            m[a] = mean[members[a]]
            for i in range(n):
                columns[i, a] = covariance[i, members[a]]
            for c in range(k):
                C[a, c] = covariance[members[a], members[c]]
        old_Q, old_h = precisions[b, :k, :k].copy(), shifts[b, :k].copy()
        # the cavity: C^-1 - Q inverted, and its mean
        cavity = np.linalg.solve(np.eye(k) - C @ old_Q, C)
        cavity = 0.5 * (cavity + cavity.T)
        positive = True
        for a in range(k):
            positive = positive and cavity[a, a] > 0.0
        if not positive:
            continue
        cavity_mean = m + cavity @ (old_Q @ m - old_h)
        log_mass, P, g = order_performances(cavity_mean, cavity + noise * np.eye(k), ballot, margin)
        # a site on performances is a wider one on skills
        blurred = np.linalg.inv(np.eye(k) + noise * P)
        Q, h = blurred @ P, blurred @ g
        sane, odd = math.log1p(-lapse) + log_mass, math.log(lapse) + log_random[b] if lapse > 0.0 else -np.inf
        top = max(sane, odd)
        total = top + math.log(math.exp(sane - top) + math.exp(odd - top))
        log_odds[b] = log_mass - log_random[b]
        attention[b] = math.exp(sane - total)
        Q, h = attention[b] * 0.5 * (Q + Q.T), attention[b] * h
        evidence[b] = total - _log_site_mass(cavity_mean, cavity, Q, h)
        Q, h = old_Q + step * (Q - old_Q), old_h + step * (h - old_h)
        precisions[b, :k, :k], shifts[b, :k] = Q, h
        grown, moved = Q - old_Q, h - old_h
        gain = np.linalg.inv(np.eye(k) + grown @ C)
        push = gain @ (moved - grown @ m)
        shrink = columns @ (gain @ grown)
        for i in range(n):
            for a in range(k):
                mean[i] += columns[i, a] * push[a]
        covariance -= shrink @ columns.T
