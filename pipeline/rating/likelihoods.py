"""Likelihoods of a pair: how the skills of two models decide which of them wins, or whether they tie.

Models
    x = theta_i - theta_j in logits, e the tie parameter's log.

    ========  ====================================================================================================
    davidson  P(i) = e^(x/2)/D, P(j) = e^(-x/2)/D, P(tie) = nu/D, D = e^(x/2) + e^(-x/2) + nu, nu = exp(e)
              (Davidson, JASA 65, 1970)
    logistic  P(i) = F(x - d), P(j) = F(-x - d), P(tie) = the rest, F the logistic function, d = exp(e): who sees a
              difference below a threshold d says tie (Rao and Kupper, JASA 62, 1967)
    normal    the same with F(y) = Phi(y/1.702), Thurstone's model; at 1.702 the two F differ by less than 0.01, so
              that skills are in logits here too (Glenn and David, Biometrics 16, 1960)
    ========  ====================================================================================================

    Without ties the parameter is left out; `davidson` and `logistic` are then the same model.

Lapses
    With probability `lapse` the answer is drawn without looking: P' = (1 - lapse) P + lapse u, with u = r for a tie
    and (1 - r)/2 for either order, r the share of tied pairs.

Derivatives
    Value and gradient are exact. The curvature of `davidson` without lapses is the exact second derivative, its log
    likelihood being concave; of the others it is the expected information of (x, e), which is positive where
    the second derivative need not be (with lapses, an upset between far models says "lapse" and bends upwards).

Guards
    Everything is computed from logarithms and log derivatives of P, so that nothing underflows at any distance:
    log Phi below -30 is its asymptotic series, and P(tie) is a product or a difference of logs.

All kernels are in this file because numba's disk cache does not notice a change in a file that a kernel only imports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.rating.pair_counts import WeightedPairs

NORMAL_SCALE: Final = 1.702
_LOG_SQRT_2PI: Final = 0.9189385332046727
_SQRT_HALF: Final = 0.7071067811865476
_DAVIDSON: Final = 0
_LOGISTIC: Final = 1


class Shape(IntEnum):
    """The model of a pair. The values are those of the kernels."""

    DAVIDSON = _DAVIDSON
    LOGISTIC = _LOGISTIC
    NORMAL = 2


@dataclass(frozen=True, slots=True)
class Likelihood:
    """One likelihood: a model of a pair and a rate of lapses.

    Attributes
    ----------
    name : str
        Its name in parameters and stored states.
    shape : Shape
    lapse : float
        Share of answers that are drawn without looking, in [0, 1).
    """

    name: str
    shape: Shape
    lapse: float


POSTERIOR_LIKELIHOOD: Final = Likelihood("davidson", Shape.DAVIDSON, 0.0)
"""What the method `posterior` uses."""


@njit(nogil=True, cache=True)
def _log_normal(y: float) -> float:
    if y > -30.0:
        return math.log(0.5 * math.erfc(-y * _SQRT_HALF))
    t = 1.0 / (y * y)
    return -0.5 * y * y - math.log(-y) - _LOG_SQRT_2PI + math.log1p(-t * (1.0 - t * (3.0 - 15.0 * t)))


@njit(nogil=True, cache=True)
def _fill_davidson(x: float, nu: float, terms: NDArray[np.float64]) -> None:
    half = 0.5 * abs(x)
    e1 = math.exp(-half)
    rest = e1 * (e1 + nu)
    log_z = math.log1p(rest)
    lead = (1.0 - e1 * e1) / (1.0 + rest)
    if x < 0.0:
        lead = -lead
    tie = nu * e1 / (1.0 + rest)
    log_tie = math.log(nu) - half - log_z if nu > 0.0 else -math.inf
    terms[0] = 0.5 * x - half - log_z, 0.5 - 0.5 * lead, -tie
    terms[1] = -0.5 * x - half - log_z, -0.5 - 0.5 * lead, -tie
    terms[2] = log_tie, -0.5 * lead, 1.0 - tie


@njit(nogil=True, cache=True)
def _logistic_tails(y: float) -> tuple[float, float]:
    """Return log F(y) and 1 - F(y)."""
    t = math.exp(-abs(y))
    log_near = -math.log1p(t)
    if y >= 0.0:
        return log_near, t / (1.0 + t)
    return y + log_near, 1.0 / (1.0 + t)


@njit(nogil=True, cache=True)
def _fill_logistic(x: float, d: float, terms: NDArray[np.float64]) -> None:
    log_win, not_win = _logistic_tails(x - d)
    log_loss, not_loss = _logistic_tails(-x - d)
    terms[0] = log_win, not_win, -d * not_win
    terms[1] = log_loss, -not_loss, -d * not_loss
    if d > 0.0:
        # P(tie) = (e^(2d) - 1) P(win) P(loss)
        grown = -math.expm1(-2.0 * d)
        log_tie = 2.0 * d + math.log(grown) + log_win + log_loss
        terms[2] = log_tie, not_win - not_loss, d * (2.0 / grown - not_win - not_loss)
    else:
        terms[2] = -math.inf, 0.0, 0.0


@njit(nogil=True, cache=True)
def _fill_normal(x: float, d: float, terms: NDArray[np.float64]) -> None:
    near, far = (x - d) / NORMAL_SCALE, (-x - d) / NORMAL_SCALE
    log_win, log_loss = _log_normal(near), _log_normal(far)
    density_near = -0.5 * near * near - _LOG_SQRT_2PI - math.log(NORMAL_SCALE)
    density_far = -0.5 * far * far - _LOG_SQRT_2PI - math.log(NORMAL_SCALE)
    win_slope, loss_slope = math.exp(density_near - log_win), math.exp(density_far - log_loss)
    terms[0] = log_win, win_slope, -d * win_slope
    terms[1] = log_loss, -loss_slope, -d * loss_slope
    if d > 0.0:
        # Phi(b) - Phi(a) with a < b <= 0 on the side of the smaller tail
        a, b = (-abs(x) - d) / NORMAL_SCALE, (-abs(x) + d) / NORMAL_SCALE
        log_b = _log_normal(b)
        log_tie = log_b + math.log(-math.expm1(_log_normal(a) - log_b))
        up, down = math.exp(density_far - log_tie), math.exp(density_near - log_tie)
        terms[2] = log_tie, up - down, d * (up + down)
    else:
        terms[2] = -math.inf, 0.0, 0.0


@njit(nogil=True, cache=True)
def fill_terms(shape: int, x: float, e: float, with_ties: bool, terms: NDArray[np.float64]) -> None:
    """Fill terms (3, 3): of i won, j won, tied the log probability and its derivatives in x and e; no lapses."""
    parameter = math.exp(e) if with_ties else 0.0
    if shape == _DAVIDSON:
        _fill_davidson(x, parameter, terms)
    elif shape == _LOGISTIC:
        _fill_logistic(x, parameter, terms)
    else:
        _fill_normal(x, parameter, terms)


@njit(nogil=True, cache=True)
def _evaluate_davidson(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    wins: NDArray[np.float64],
    losses: NDArray[np.float64],
    ties: NDArray[np.float64],
    x: NDArray[np.float64],
    n: int,
    gradient: NDArray[np.float64],
    curvature: NDArray[np.float64],
    cross: NDArray[np.float64],
) -> tuple[float, float]:
    with_ties = len(x) > n
    eta = x[n] if with_ties else 0.0
    nu = math.exp(eta) if with_ties else 0.0
    total, tie_curvature = 0.0, 0.0
    for p in range(len(first)):
        i, j = first[p], second[p]
        count = wins[p] + losses[p] + ties[p]
        difference = x[i] - x[j]
        half = 0.5 * abs(difference)
        e1 = math.exp(-half)
        e2 = e1 * e1
        rest = e2 + nu * e1
        z = 1.0 + rest
        better, worse, tie = 1.0 / z, e2 / z, nu * e1 / z
        total += 0.5 * difference * (wins[p] - losses[p]) + ties[p] * eta - count * (half + math.log1p(rest))
        lead = better - worse if difference >= 0.0 else worse - better
        g = 0.5 * (wins[p] - losses[p] - count * lead)
        gradient[i] += g
        gradient[j] -= g
        curvature[p] = 0.25 * count * (4.0 * better * worse + tie * (1.0 - tie))
        if with_ties:
            gradient[n] += ties[p] - count * tie
            tie_curvature += count * tie * (1.0 - tie)
            cross[p] = -0.5 * count * lead * tie
    return total, tie_curvature


@njit(nogil=True, cache=True)
def evaluate_pairs(
    shape: int,
    lapse: float,
    tie_share: float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    wins: NDArray[np.float64],
    losses: NDArray[np.float64],
    ties: NDArray[np.float64],
    x: NDArray[np.float64],
    n: int,
    gradient: NDArray[np.float64],
    curvature: NDArray[np.float64],
    cross: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the log likelihood at x = (theta (n,), e if there are ties) and its curvature in e.

    Fills its gradient, like x, and for each pair the curvature in theta_i - theta_j and the one between that and e;
    curvatures are negative second derivatives, or what stands in for them.
    """
    gradient[:] = 0.0
    if shape == _DAVIDSON and lapse == 0.0:
        return _evaluate_davidson(first, second, wins, losses, ties, x, n, gradient, curvature, cross)
    with_ties = len(x) > n
    e = x[n] if with_ties else 0.0
    terms, counts, uniform = np.empty((3, 3)), np.empty(3), np.empty(3)
    uniform[0] = uniform[1] = 0.5 * (1.0 - tie_share)
    uniform[2] = tie_share
    total, tie_curvature = 0.0, 0.0
    for p in range(len(first)):
        i, j = first[p], second[p]
        fill_terms(shape, x[i] - x[j], e, with_ties, terms)
        counts[0], counts[1], counts[2] = wins[p], losses[p], ties[p]
        count = wins[p] + losses[p] + ties[p]
        slope, tie_slope, bend, mixed = 0.0, 0.0, 0.0, 0.0
        for outcome in range(3 if with_ties else 2):
            looked = (1.0 - lapse) * math.exp(terms[outcome, 0])
            seen = looked + lapse * uniform[outcome]
            if lapse > 0.0:
                share = looked / seen if seen > 0.0 else 0.0
                log_seen = math.log(seen) if seen > 0.0 else -math.inf
            else:
                share, log_seen = 1.0, terms[outcome, 0]
            in_x, in_e = share * terms[outcome, 1], share * terms[outcome, 2]
            if counts[outcome] > 0.0:
                total += counts[outcome] * log_seen
                slope += counts[outcome] * in_x
                tie_slope += counts[outcome] * in_e
            if seen > 0.0:
                bend += count * seen * in_x * in_x
                mixed += count * seen * in_x * in_e
                tie_curvature += count * seen * in_e * in_e
        gradient[i] += slope
        gradient[j] -= slope
        curvature[p] = bend
        if with_ties:
            gradient[n] += tie_slope
            cross[p] = mixed
    return total, tie_curvature


@njit(nogil=True, cache=True)
def _mean_probabilities(
    shape: int,
    lapse: float,
    tie_share: float,
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    e: float,
    with_ties: bool,
    nodes: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    terms, out = np.empty((3, 3)), np.zeros((len(mean), 3))
    for p in range(len(mean)):
        for node in range(len(nodes)):
            fill_terms(shape, mean[p] + sd[p] * nodes[node], e, with_ties, terms)
            for outcome in range(3):
                out[p, outcome] += weights[node] * math.exp(terms[outcome, 0])
        for outcome in range(3):
            u = tie_share if outcome == 2 else 0.5 * (1.0 - tie_share)
            out[p, outcome] = (1.0 - lapse) * out[p, outcome] + lapse * u
    return out


def tie_share(pairs: WeightedPairs, *, pseudo_ties: float = 0.0) -> float:
    """Return r, the share of tied pairs; `pseudo_ties` are added to them, and one pair to all."""
    tied = float(np.add.reduce(pairs.ties)) + pseudo_ties
    total = float(np.add.reduce(pairs.wins + pairs.losses + pairs.ties)) + pseudo_ties + (1.0 if pseudo_ties else 0.0)
    return tied / total if tied else 0.0


def fit_equals(likelihood: Likelihood, tied: float, ordered: float) -> float:
    """Return the e under which equals tie in the share tied / (tied + ordered) of their pairs; both positive."""
    if likelihood.shape is Shape.DAVIDSON:
        return math.log(2.0 * tied / ordered)
    share = tied / (tied + ordered)
    if likelihood.shape is Shape.LOGISTIC:
        return math.log(2.0 * math.atanh(share))
    return math.log(NORMAL_SCALE * float(ndtri(0.5 + 0.5 * share)))


def predict_differences(
    likelihood: Likelihood,
    mean: NDArray[np.float64],
    sd: NDArray[np.float64],
    e: float | None,
    *,
    tie_share: float = 0.0,
    nodes: int = 9,
) -> NDArray[np.float64]:
    """Return P(i wins), P(j wins), P(tie), float64 (p, 3), where theta_i - theta_j ~ N(mean, sd^2), both (p,).

    By Gauss-Hermite quadrature with `nodes` points; e is the log of the tie parameter, None without ties.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights /= weights.sum()
    value, with_ties = (0.0, False) if e is None else (e, True)
    return _mean_probabilities(
        int(likelihood.shape), likelihood.lapse, tie_share, mean, sd, value, with_ties, points, weights
    )
