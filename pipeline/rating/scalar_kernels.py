"""Scalar kernels of the two order-dependent methods, `ksort` and `elo`: the same bits on every machine.

Their results are promised bit for bit everywhere (architecture, section 11), and a C library's exp and erfc
differ in the last place between versions, processors and operating systems. So the two transcendental
functions are made here of +, -, *, / and square root alone, which IEEE 754 defines exactly; numba contracts
and reorders nothing without fastmath. Never give these functions `fastmath` or `parallel`.

- exp(-t): Cody-Waite reduction t = k ln 2 - r, a Taylor polynomial of degree 13 for e^r on abs(r) <= ln(2)/2,
  and an exact scaling by 2^-k. Relative error below 4e-16.
- V(x) = pdf(x)/cdf(x) of the standard normal = sqrt(2/pi) / erfcx(-x/sqrt 2), with erfcx from the rational
  approximations of W. J. Cody (Math. Comp. 23, 1969; CALERF of Netlib), so that nothing underflows for very
  negative x. Relative error below 1e-14 for x < 5; beyond, where V < 2e-6, that of e^(-x^2/2): x^2 1e-16.
- W(x) = V(x) (V(x) + x), by its asymptotic series 1 - 1/x^2 + 6/x^4 - 50/x^6 below x = -100, where V + x
  cancels.

Everything is in one file because numba's disk cache does not notice a change in a file that a kernel only
imports.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, UNRANKED

_LN2_INVERSE: Final = 1.4426950408889634
_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_EXP_LIMIT: Final = 700.0  # e^-700 = 1e-304, still a normal number
_POWERS_OF_HALF: Final = np.ldexp(1.0, -np.arange(1024))
_SQRT_HALF: Final = 0.7071067811865476
_SQRT_2_OVER_PI: Final = 0.7978845608028654
_INVERSE_SQRT_PI: Final = 0.5641895835477563
_ELO_EXPONENT: Final = 0.005756462732485115  # ln(10) / 400


@njit(nogil=True, cache=True)
def exp_negative(t: float) -> float:
    """Return exp(-t) for t >= 0; 0 from t = 700 on."""
    if t >= _EXP_LIMIT:
        return 0.0
    k = int(t * _LN2_INVERSE + 0.5)
    r = (k * _LN2_HIGH - t) + k * _LN2_LOW
    r2 = r * r
    odd = 1.0 / 6227020800.0
    even = 1.0 / 479001600.0
    odd = odd * r2 + 1.0 / 39916800.0
    even = even * r2 + 1.0 / 3628800.0
    odd = odd * r2 + 1.0 / 362880.0
    even = even * r2 + 1.0 / 40320.0
    odd = odd * r2 + 1.0 / 5040.0
    even = even * r2 + 1.0 / 720.0
    odd = odd * r2 + 1.0 / 120.0
    even = even * r2 + 1.0 / 24.0
    odd = odd * r2 + 1.0 / 6.0
    even = even * r2 + 0.5
    scale: float = _POWERS_OF_HALF[k]
    return (1.0 + (r + r2 * (even + odd * r))) * scale


@njit(nogil=True, cache=True)
def normal_ratio(x: float) -> float:
    """Return V(x) = pdf(x) / cdf(x) of the standard normal; for very negative x close to -x."""
    # erf or erfcx is above/below; the quotient is not formed on its own, because a division is slow
    z = abs(x) * _SQRT_HALF
    if z <= 0.46875:
        y = z * z
        above = (1.85777706184603153e-1 * y + 3.16112374387056560) * y + 1.13864154151050156e2
        above = ((above * y + 3.77485237685302021e2) * y + 3.20937758913846947e3) * z
        below = ((y + 2.36012909523441209e1) * y + 2.44024637934444173e2) * y + 1.28261652607737228e3
        below = below * y + 2.84423683343917062e3
        return _SQRT_2_OVER_PI * exp_negative(y) * below / (below + (above if x > 0.0 else -above))
    if z <= 4.0:
        above = 2.15311535474403846e-8 * z + 5.64188496988670089e-1
        above = (above * z + 8.88314979438837594) * z + 6.61191906371416295e1
        above = (above * z + 2.98635138197400131e2) * z + 8.81952221241769090e2
        above = (above * z + 1.71204761263407058e3) * z + 2.05107837782607147e3
        above = above * z + 1.23033935479799725e3
        below = z + 1.57449261107098347e1
        below = (below * z + 1.17693950891312499e2) * z + 5.37181101862009858e2
        below = (below * z + 1.62138957456669019e3) * z + 3.29079923573345963e3
        below = (below * z + 4.36261909014324716e3) * z + 3.43936767414372164e3
        below = below * z + 1.23033935480374942e3
    else:
        y = 1.0 / (z * z)
        above = (1.63153871373020978e-2 * y + 3.05326634961232344e-1) * y + 3.60344899949804439e-1
        above = (above * y + 1.25781726111229246e-1) * y + 1.60837851487422766e-2
        above = above * y + 6.58749161529837803e-4
        below = (y + 2.56852019228982242) * y + 1.87295284992346725
        below = (below * y + 5.27905102951428412e-1) * y + 6.05183413124413191e-2
        below = below * y + 2.33520497626869185e-3
        above = _INVERSE_SQRT_PI * below - y * above
        below = below * z
    if x < 0.0:
        return _SQRT_2_OVER_PI * below / above
    e = exp_negative(z * z)
    return _SQRT_2_OVER_PI * e * below / (2.0 * below - e * above)


@njit(nogil=True, cache=True)
def variance_ratio(x: float, v: float) -> float:
    """Return W(x) = V(x) (V(x) + x), in [0, 1], given v = V(x)."""
    if x < -100.0:
        t = 1.0 / (x * x)
        return 1.0 - t * (1.0 - t * (6.0 - 50.0 * t))
    return min(max(v * (v + x), 0.0), 1.0)


@njit(nogil=True, cache=True)
def filter_ballots(
    mu: NDArray[np.float64],
    s2: NDArray[np.float64],
    performance_variance: float,
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
) -> None:
    """Apply eqs 9-10 (module `ksort_filter`) to ballots in order, in place; mu and s2 are (n,)."""
    shift, shrink = np.empty(K_MAX), np.empty(K_MAX)
    for ballot in range(len(offsets) - 1):
        begin = offsets[ballot]
        size = offsets[ballot + 1] - begin
        for a in range(size):
            shift[a] = 0.0
            shrink[a] = 0.0
        for a in range(size):
            for b in range(a + 1, size):
                if groups[begin + a] == groups[begin + b]:
                    continue
                winner = a if groups[begin + a] < groups[begin + b] else b
                loser = a + b - winner
                i, q = models[begin + winner], models[begin + loser]
                inverse = 1.0 / math.sqrt(2.0 * performance_variance + s2[i] + s2[q])
                x = (mu[i] - mu[q]) * inverse
                v = normal_ratio(x)
                w = variance_ratio(x, v) * inverse * inverse
                v *= inverse
                shift[winner] += v
                shift[loser] -= v
                shrink[winner] += w
                shrink[loser] += w
        for a in range(size):
            i = models[begin + a]
            mu[i] += s2[i] * shift[a]
            floor = performance_variance / (performance_variance + s2[i])
            s2[i] *= max(1.0 - s2[i] * shrink[a], floor)


@njit(nogil=True, cache=True)
def expected_score(difference: float) -> float:
    """Return 1 / (1 + 10^(-difference/400)), the expected score of the model that is ahead by `difference`."""
    t = exp_negative(abs(difference) * _ELO_EXPONENT)
    return (1.0 if difference >= 0.0 else t) / (1.0 + t)


@njit(nogil=True, cache=True)
def update_elo(
    ratings: NDArray[np.float64],
    k_factor: float,
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
) -> None:
    """Apply Elo's update (module `elo`) to ballots in order, in place; ratings is (n,)."""
    shift = np.empty(K_MAX)
    for ballot in range(len(offsets) - 1):
        begin = offsets[ballot]
        size = offsets[ballot + 1] - begin
        for a in range(size):
            shift[a] = 0.0
        for a in range(size):
            for b in range(a + 1, size):
                group, other = groups[begin + a], groups[begin + b]
                if group == UNRANKED and other == UNRANKED:
                    continue
                if group == other:
                    score = 0.5
                elif group < other:
                    score = 1.0
                else:
                    score = 0.0
                moved = score - expected_score(ratings[models[begin + a]] - ratings[models[begin + b]])
                shift[a] += moved
                shift[b] -= moved
        for a in range(size):
            ratings[models[begin + a]] += k_factor * shift[a]
