"""Pairwise likelihood with ties (Davidson, JASA 65, 1970), its mode under a Gaussian prior, and the Laplace evidence.

Model
    With x = theta_i - theta_j and a tie parameter nu = e^eta,

        P(i wins) = e^(x/2) / D,   P(j wins) = e^(-x/2) / D,   P(tie) = nu / D,   D = e^(x/2) + e^(-x/2) + nu.

    nu = 0 is the logistic (Bradley-Terry) model: without ties eta is left out and the fit is plain logistic.
    Prior: theta_i ~ N(0, tau^2), independent; eta is flat but for one pseudo-observation, an ordered pair
    between equals (factor 2/(2 + nu)), which keeps nu finite when every pair was tied and fades like one pair
    among many.

Mode
    The log posterior is linear minus log-sum-exp of linear in (theta, eta), so it is concave and has one
    mode. Damped Newton, halving the step until the objective grows (Armijo). It ends after a step whose
    Newton decrement, its length in posterior standard deviations, was below the tolerance: convergence is
    quadratic, so the error left is about its square.

Guards
    - The second derivative in x is 4 p_i p_j + p_tie (1 - p_tie), with no difference of numbers near 1.
    - The likelihood does not feel a common shift, so that the Hessian's eigenvector (1, ..., 1) has the
      eigenvalue 1/tau^2, up to 1e11 times smaller than the others. We add c/n 11', c the mean of the
      diagonal, and take it out of the determinant again: nothing that is published depends on the shift
      (moments are centred), and the condition number is that of the comparisons.
    - No convergence, or a number that is not finite, raises `FitError`.

Evidence
    log Z = log L - theta'theta/(2 tau^2) - n log tau - log det(H)/2, H the negative Hessian of the log
    posterior at the mode; constants that are the same at all tau are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrs

from pipeline.rating.errors import FitError
from pipeline.rating.pair_counts import WeightedPairs

_ARMIJO = 1e-4
_MAX_HALVINGS = 40
# Rounding of the objective, relative to its size: below it an Armijo test means nothing.
_OBJECTIVE_NOISE = 1e-11


@dataclass(frozen=True, slots=True)
class Mode:
    """Mode of the posterior at one prior scale.

    Attributes
    ----------
    theta : float64 (n,)
        Skills in logits; their mean is 0.
    eta : float or None
        Log of the tie parameter; None without ties.
    hessian : float64 (p, p)
        Negative Hessian at the mode in (theta, eta) with the shift stiffened; p = n + 1 with eta, else n.
    log_evidence : float
        Laplace evidence up to a constant that is the same at all scales.
    iterations : int
        Newton steps taken.
    """

    theta: NDArray[np.float64]
    eta: float | None
    hessian: NDArray[np.float64]
    log_evidence: float
    iterations: int


@njit(nogil=True, cache=True)
def _evaluate(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    wins: NDArray[np.float64],
    losses: NDArray[np.float64],
    ties: NDArray[np.float64],
    x: NDArray[np.float64],
    n: int,
    gradient: NDArray[np.float64],
    hessian: NDArray[np.float64],
) -> float:
    """Fill gradient (p,) and negative Hessian (p, p) of the log likelihood at x (p,), and return it."""
    with_ties = len(x) > n
    eta = x[n] if with_ties else 0.0
    nu = math.exp(eta) if with_ties else 0.0
    gradient[:] = 0.0
    hessian[:] = 0.0
    total = 0.0
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
        h = 0.25 * count * (4.0 * better * worse + tie * (1.0 - tie))
        hessian[i, i] += h
        hessian[j, j] += h
        hessian[i, j] -= h
        hessian[j, i] -= h
        if with_ties:
            gradient[n] += ties[p] - count * tie
            hessian[n, n] += count * tie * (1.0 - tie)
            cross = -0.5 * count * lead * tie
            hessian[i, n] += cross
            hessian[j, n] -= cross
    if with_ties:
        # the pseudo-observation
        total -= math.log(2.0 + nu)
        gradient[n] -= nu / (2.0 + nu)
        hessian[n, n] += 2.0 * nu / ((2.0 + nu) * (2.0 + nu))
        for i in range(n):
            hessian[n, i] = hessian[i, n]
    return total


class _Objective:
    """Log posterior at one prior scale, with its derivatives; buffers are used again."""

    def __init__(self, pairs: WeightedPairs, n: int, size: int, tau: float) -> None:
        self.pairs = pairs
        self.n = n
        self.tau = tau
        self.gradient = np.empty(size)
        self.hessian = np.empty((size, size))
        self.stiffness = 0.0

    def evaluate(self, x: NDArray[np.float64]) -> float:
        """Return the log posterior at x (p,); leave gradient and stiffened negative Hessian in the buffers."""
        n, pairs, precision = self.n, self.pairs, self.tau**-2
        value = _evaluate(
            pairs.first, pairs.second, pairs.wins, pairs.losses, pairs.ties, x, n, self.gradient, self.hessian
        )
        theta = x[:n]
        self.gradient[:n] -= precision * theta
        diagonal = np.einsum("ii->i", self.hessian)[:n]
        diagonal += precision
        self.stiffness = float(diagonal.mean())
        self.hessian[:n, :n] += self.stiffness / n
        return float(value) - 0.5 * precision * float(theta @ theta)


def find_mode(
    pairs: WeightedPairs,
    n: int,
    tau: float,
    start: tuple[NDArray[np.float64], float | None],
    *,
    tolerance: float,
    max_iterations: int,
) -> Mode:
    """Return the posterior mode of n models at prior scale `tau`, starting from (theta (n,), eta).

    Raises
    ------
    FitError
        If it does not converge within `max_iterations` Newton steps.
    """
    theta, eta = start
    x = theta.copy() if eta is None else np.append(theta, eta)
    objective = _Objective(pairs, n, len(x), tau)
    value = objective.evaluate(x)
    decrement = math.inf
    for iteration in range(max_iterations + 1):
        upper = _factorise(objective.hessian, tau, iteration)
        if decrement < tolerance:
            return _make_mode(objective, x, value, upper, iteration)
        step, info = dpotrs(upper, objective.gradient)
        squared = float(objective.gradient @ step)
        if info != 0 or not math.isfinite(squared):
            raise FitError(f"posterior at prior scale {tau}: the Newton step {iteration} is not finite")
        decrement = math.sqrt(max(squared, 0.0))
        x, value = _line_search(objective, x, value, step, squared)
    raise FitError(
        f"posterior at prior scale {tau}: no convergence in {max_iterations} Newton steps over {n} models and "
        f"{len(pairs.first)} pairs; the last decrement was {decrement:.3g}, tolerance {tolerance:.3g}"
    )


def start_mode(pairs: WeightedPairs, n: int) -> tuple[NDArray[np.float64], float | None]:
    """Return where the first scale starts: equal skills, and the tie parameter that fits them."""
    tied = float(np.add.reduce(pairs.ties))
    if tied == 0.0:
        return np.zeros(n), None
    ordered = float(np.add.reduce(pairs.wins + pairs.losses))
    return np.zeros(n), math.log(2.0 * tied / (ordered + 1.0))


def _factorise(hessian: NDArray[np.float64], tau: float, iteration: int) -> NDArray[np.float64]:
    """Return the upper Cholesky factor, in Fortran order for LAPACK."""
    try:
        return np.asarray(np.linalg.cholesky(hessian).T, np.float64)
    except np.linalg.LinAlgError as error:
        raise FitError(f"posterior at prior scale {tau}: the Hessian of step {iteration} is singular") from error


def _line_search(
    objective: _Objective, x: NDArray[np.float64], value: float, step: NDArray[np.float64], squared: float
) -> tuple[NDArray[np.float64], float]:
    slack = _OBJECTIVE_NOISE * (1.0 + abs(value))
    scale = 1.0
    for _ in range(_MAX_HALVINGS):
        trial = x + scale * step
        found = objective.evaluate(trial)
        if found >= value + _ARMIJO * scale * squared - slack:
            return trial, found
        scale *= 0.5
    raise FitError(f"posterior at prior scale {objective.tau}: no ascent along the Newton step")


def _make_mode(
    objective: _Objective, x: NDArray[np.float64], value: float, upper: NDArray[np.float64], iterations: int
) -> Mode:
    n, tau = objective.n, objective.tau
    precision = tau**-2
    log_det = 2.0 * float(np.add.reduce(np.log(np.diagonal(upper))))
    # the eigenvalue of the common shift: stiffened 1/tau^2 + c, truly 1/tau^2
    log_det += math.log(precision) - math.log(precision + objective.stiffness)
    log_evidence = value - n * math.log(tau) - 0.5 * log_det
    if not (math.isfinite(log_evidence) and np.isfinite(x).all()):
        raise FitError(f"posterior at prior scale {tau}: the mode is not finite")
    eta = float(x[n]) if len(x) > n else None
    return Mode(x[:n], eta, objective.hessian, log_evidence, iterations)
