"""Mode of the posterior at one prior scale, by damped Newton, and its Laplace evidence.

Posterior
    Likelihood of the pairs (module `likelihoods`), prior theta_i ~ N(0, tau^2), independent. The tie parameter's log e
    is flat but for a pseudo-observation between equals, which keeps it finite and fades like one pair among many: an
    ordered pair, and with `pseudo_ties` that much of a tie beside it. Without ties and without pseudo ties e is left
    out.

Steps
    Newton with the curvature that the likelihood gives, halving a step until the objective grows (Armijo). It ends
    after a step whose decrement, its length in posterior standard deviations, was below the tolerance: for
    `davidson` without lapses convergence is quadratic, so that the error left is about its square. That log
    posterior is concave and has one mode; with lapses there may be others, and the start decides.

Large boards
    Up to `DENSE_MODELS` models each step is a Cholesky solve. Beyond, only pairs that were compared are touched:
    conjugate gradients, preconditioned by the diagonal. Random comparisons mix so well that ten or twenty products
    suffice (a chain of certain comparisons does not: then that step is a Cholesky solve after all). The dense matrix is
    made once, at the mode, and only for who asks for evidence or covariance.

Guards
    - The likelihood does not feel a common shift, so that the Hessian's eigenvector (1, ..., 1) has the eigenvalue
      1/tau^2, up to 1e11 times smaller than the others. We add c/n 11', c the mean of the diagonal, and take it out of
      the determinant again: nothing that is published depends on the shift (moments are centred), and the condition
      number is that of the comparisons.
    - No convergence, or a number that is not finite, raises `FitError`.

Evidence
    log Z = log L - theta'theta/(2 tau^2) - n log tau - log det(H)/2, H the negative Hessian of the log posterior at the
    mode; constants that are the same at all tau are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.rating.errors import FitError
from pipeline.rating.lapack import NotPositiveDefiniteError, factorise, invert_factor, solve_factor
from pipeline.rating.likelihoods import (
    POSTERIOR_LIKELIHOOD,
    Likelihood,
    evaluate_pairs,
    fill_terms,
    fit_equals,
    tie_share,
)
from pipeline.rating.pair_counts import WeightedPairs

DENSE_MODELS: Final = 256

_ARMIJO: Final = 1e-4
_MAX_HALVINGS: Final = 40
# In e, a step: far beyond, P(tie) is 0 or 1 to the last bit, and no derivative leads back.
_MAX_TIE_STEP: Final = 2.0
# Rounding of the objective, relative to its size: below it an Armijo test means nothing.
_OBJECTIVE_NOISE: Final = 1e-11
_GRADIENT_STEPS: Final = 200
# Of the residual against the gradient: the error of the step, far below the Newton step's own.
_RESIDUAL: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Fitting:
    """How a mode is found.

    Attributes
    ----------
    likelihood : Likelihood
    tolerance : float
        Newton decrement below which the next step is the last.
    max_iterations : int
        Newton steps at most.
    pseudo_ties : float
        Ties between equals in the prior of the tie parameter, beside one ordered pair.
    """

    likelihood: Likelihood = POSTERIOR_LIKELIHOOD
    tolerance: float = 1e-8
    max_iterations: int = 100
    pseudo_ties: float = 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where Newton's method begins: skills (n,) in logits and the log of the tie parameter, None without ties."""

    theta: NDArray[np.float64]
    eta: float | None


@dataclass(frozen=True, slots=True)
class Mode:
    """Mode of the posterior at one prior scale.

    Attributes
    ----------
    theta : float64 (n,)
        Skills in logits; their mean is 0.
    eta : float or None
        Log of the tie parameter; None without ties.
    factor : float64 (p, p) or None
        Factor (module `lapack`) of the negative Hessian in (theta, eta), the shift stiffened; p = n + 1 with eta, else
        n. None if it was not asked for.
    log_evidence : float
        Laplace evidence up to a constant that is the same at all scales; 0 if it was not asked for.
    iterations : int
        Newton steps taken.
    """

    theta: NDArray[np.float64]
    eta: float | None
    factor: NDArray[np.float64] | None
    log_evidence: float
    iterations: int

    @property
    def start(self) -> Start:
        """Where the next scale begins."""
        return Start(self.theta, self.eta)

    def take_covariance(self) -> NDArray[np.float64]:
        """Return the covariance of theta, (n, n), up to a common shift. Uses the factor up: call it once."""
        if self.factor is None:
            raise ValueError("this mode was found without its factor")
        n = len(self.theta)
        return np.ascontiguousarray(invert_factor(self.factor)[:n, :n])


def start_fit(pairs: WeightedPairs, n: int, fitting: Fitting) -> Start:
    """Return where a first fit begins: equal skills, and the tie parameter that fits them."""
    tied = float(np.add.reduce(pairs.ties)) + fitting.pseudo_ties
    if tied == 0.0:
        return Start(np.zeros(n), None)
    ordered = float(np.add.reduce(pairs.wins + pairs.losses)) + 1.0
    return Start(np.zeros(n), fit_equals(fitting.likelihood, tied, ordered))


@njit(nogil=True, cache=True)
def _assemble(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    curvature: NDArray[np.float64],
    cross: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    stiffness: float,
    n: int,
    hessian: NDArray[np.float64],
) -> None:
    """Fill the upper triangle of the negative Hessian (p, p), stiffened; `diagonal` is (p,) without the stiffness."""
    share = stiffness / n
    for i in range(n):
        for j in range(i, n):
            hessian[i, j] = share
    for i in range(n, len(hessian)):
        for j in range(n):
            hessian[j, i] = 0.0
    for p in range(len(first)):
        hessian[first[p], second[p]] -= curvature[p]
    for i in range(n):
        hessian[i, i] += diagonal[i]
    if len(hessian) > n:
        hessian[n, n] = diagonal[n]
        for p in range(len(first)):
            hessian[first[p], n] += cross[p]
            hessian[second[p], n] -= cross[p]


@njit(nogil=True, cache=True)
def _sum_diagonal(
    first: NDArray[np.int64], second: NDArray[np.int64], curvature: NDArray[np.float64], diagonal: NDArray[np.float64]
) -> None:
    for p in range(len(first)):
        diagonal[first[p]] += curvature[p]
        diagonal[second[p]] += curvature[p]


@njit(nogil=True, cache=True)
def _multiply(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    curvature: NDArray[np.float64],
    cross: NDArray[np.float64],
    prior: NDArray[np.float64],
    stiffness: float,
    n: int,
    v: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill out (p,) with the stiffened negative Hessian times v (p,); `prior` (p,) is its diagonal without pairs."""
    shift = stiffness / n * v[:n].sum()
    for i in range(len(v)):
        out[i] = prior[i] * v[i] + (shift if i < n else 0.0)
    tied = v[n] if len(v) > n else 0.0
    back = 0.0
    for p in range(len(first)):
        i, j = first[p], second[p]
        difference = v[i] - v[j]
        pull = curvature[p] * difference + cross[p] * tied
        out[i] += pull
        out[j] -= pull
        back += cross[p] * difference
    if len(v) > n:
        out[n] += back


@njit(nogil=True, cache=True)
def _solve_sparse(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    curvature: NDArray[np.float64],
    cross: NDArray[np.float64],
    prior: NDArray[np.float64],
    diagonal: NDArray[np.float64],
    stiffness: float,
    n: int,
    right: NDArray[np.float64],
    x: NDArray[np.float64],
    steps: int,
) -> bool:
    """Solve for x (p,) by preconditioned conjugate gradients; return whether the residual became small."""
    x[:] = 0.0
    residual, product = right.copy(), np.empty_like(right)
    guess = residual / diagonal
    direction = guess.copy()
    rho = np.sum(residual * guess)
    target = rho * _RESIDUAL * _RESIDUAL
    for _ in range(steps):
        if rho <= target:
            return True
        _multiply(first, second, curvature, cross, prior, stiffness, n, direction, product)
        bend = np.sum(direction * product)
        if not bend > 0.0:
            return False
        alpha = rho / bend
        x += alpha * direction
        residual -= alpha * product
        guess = residual / diagonal
        before, rho = rho, np.sum(residual * guess)
        direction = guess + rho / before * direction
    return False


class _Objective:
    """Log posterior at one prior scale, with its derivatives; buffers are used again."""

    def __init__(self, pairs: WeightedPairs, n: int, size: int, tau: float, fitting: Fitting) -> None:
        self.pairs = pairs
        self.n = n
        self.tau = tau
        self.fitting = fitting
        self.share = tie_share(pairs, pseudo_ties=fitting.pseudo_ties)
        self.gradient = np.empty(size)
        self.curvature = np.empty(len(pairs.first))
        self.cross = np.zeros(len(pairs.first))
        self.prior = np.empty(size)
        self.diagonal = np.empty(size)
        self.stiffness = 0.0

    def evaluate(self, x: NDArray[np.float64]) -> float:
        """Return the log posterior at x (p,); leave gradient and curvatures in the buffers."""
        n, pairs, precision, likelihood = self.n, self.pairs, self.tau**-2, self.fitting.likelihood
        value, tie_curvature = evaluate_pairs(
            int(likelihood.shape), likelihood.lapse, self.share,
            pairs.first, pairs.second, pairs.wins, pairs.losses, pairs.ties,
            x, n, self.gradient, self.curvature, self.cross,
        )  # fmt: skip
        theta = x[:n]
        self.gradient[:n] -= precision * theta
        self.prior[:n] = precision
        if len(x) > n:
            log_prior, slope, bend = self._tie_prior(float(x[n]))
            value += log_prior
            self.gradient[n] += slope
            self.prior[n] = tie_curvature + bend
        self.diagonal[:] = self.prior
        _sum_diagonal(pairs.first, pairs.second, self.curvature, self.diagonal)
        self.stiffness = float(self.diagonal[:n].mean())
        return float(value) - 0.5 * precision * float(theta @ theta)

    def _tie_prior(self, eta: float) -> tuple[float, float, float]:
        """Return the log prior of e, its derivative, and its curvature: pseudo-observations between equals."""
        terms, ties = np.empty((3, 3)), self.fitting.pseudo_ties
        fill_terms(int(self.fitting.likelihood.shape), 0.0, eta, True, terms)
        log_ordered, _, ordered_slope = terms[0].tolist()
        log_tie, _, tie_slope = terms[2].tolist()
        bend = (1.0 + ties) * (2.0 * math.exp(log_ordered) * ordered_slope**2 + math.exp(log_tie) * tie_slope**2)
        value = log_ordered + (ties * log_tie if ties else 0.0)
        return value, ordered_slope + ties * tie_slope, bend

    def find_step(self, iteration: int) -> NDArray[np.float64]:
        """Return the Newton step at the point evaluated last."""
        pairs = self.pairs
        if self.n > DENSE_MODELS:
            step = np.empty_like(self.gradient)
            if _solve_sparse(
                pairs.first, pairs.second, self.curvature, self.cross, self.prior, self.diagonal, self.stiffness,
                self.n, self.gradient, step, _GRADIENT_STEPS,
            ):  # fmt: skip
                return step
        return solve_factor(self.make_factor(iteration), self.gradient)

    def make_factor(self, iteration: int) -> NDArray[np.float64]:
        """Return the factor of the stiffened negative Hessian at the point evaluated last."""
        size = len(self.gradient)
        hessian = np.empty((size, size))
        _assemble(
            self.pairs.first, self.pairs.second, self.curvature, self.cross, self.diagonal, self.stiffness, self.n,
            hessian,
        )  # fmt: skip
        try:
            factorise(hessian)
        except NotPositiveDefiniteError as error:
            raise FitError(
                f"posterior at prior scale {self.tau}: the Hessian of step {iteration} is singular"
            ) from error
        return hessian


def find_mode(
    pairs: WeightedPairs, n: int, tau: float, start: Start, fitting: Fitting, *, with_factor: bool = True
) -> Mode:
    """Return the posterior mode of n models at prior scale `tau`, beginning at `start`.

    Raises
    ------
    FitError
        If it does not converge within `fitting.max_iterations` Newton steps.
    """
    x = start.theta.copy() if start.eta is None else np.append(start.theta, start.eta)
    objective = _Objective(pairs, n, len(x), tau, fitting)
    value = objective.evaluate(x)
    decrement = math.inf
    for iteration in range(fitting.max_iterations + 1):
        if decrement < fitting.tolerance:
            return _make_mode(objective, x, value, iteration, with_factor=with_factor)
        step = objective.find_step(iteration)
        squared = float(objective.gradient @ step)
        if not math.isfinite(squared):
            raise FitError(f"posterior at prior scale {tau}: the Newton step {iteration} is not finite")
        decrement = math.sqrt(max(squared, 0.0))
        x, value = _line_search(objective, x, value, step, squared)
    raise FitError(
        f"posterior at prior scale {tau}: no convergence in {fitting.max_iterations} Newton steps over {n} models and "
        f"{len(pairs.first)} pairs; the last decrement was {decrement:.3g}, tolerance {fitting.tolerance:.3g}"
    )


def _line_search(
    objective: _Objective, x: NDArray[np.float64], value: float, step: NDArray[np.float64], squared: float
) -> tuple[NDArray[np.float64], float]:
    slack = _OBJECTIVE_NOISE * (1.0 + abs(value))
    beyond = abs(float(step[-1])) / _MAX_TIE_STEP if len(step) > objective.n else 0.0
    scale = 1.0 / max(beyond, 1.0)
    for _ in range(_MAX_HALVINGS):
        trial = x + scale * step
        found = objective.evaluate(trial)
        if found >= value + _ARMIJO * scale * squared - slack:
            return trial, found
        scale *= 0.5
    raise FitError(f"posterior at prior scale {objective.tau}: no ascent along the Newton step")


def _make_mode(
    objective: _Objective, x: NDArray[np.float64], value: float, iterations: int, *, with_factor: bool
) -> Mode:
    n, tau = objective.n, objective.tau
    factor, log_evidence = None, 0.0
    if with_factor:
        factor = objective.make_factor(iterations)
        precision = tau**-2
        log_det = 2.0 * float(np.add.reduce(np.log(np.diagonal(factor))))
        # the eigenvalue of the common shift: stiffened 1/tau^2 + c, truly 1/tau^2
        log_det += math.log(precision) - math.log(precision + objective.stiffness)
        log_evidence = value - n * math.log(tau) - 0.5 * log_det
    if not (math.isfinite(log_evidence) and np.isfinite(x).all()):
        raise FitError(f"posterior at prior scale {tau}: the mode is not finite")
    return Mode(x[:n], float(x[n]) if len(x) > n else None, factor, log_evidence, iterations)
