"""Sets of k models, drawn slot by slot in proportion to exp(utility / temperature), with their exact probability.

Draw
    The first two models together, pair (i, j) with probability proportional to exp(I_ij / T), over the pairs that are
    allowed; then, one by one, model c with probability proportional to exp(gain(c) / T). T = 0 takes the largest (the
    first among equals). gain(c) is

    - *pairs*: the sum over the chosen a of I_ac, so that the exponents of a set add up to that of all its pairs;
    - *place*, for a set with one new model p: by how much c adds to the entropy of p's place among the chosen, whose
      order is taken as known: with q_a = P(p above a) in descending order that is the entropy of 1 - q_1, q_1 - q_2,
      ..., q_m. Sums of pairs would put three neighbours beside p, which tell little more than one of them.

Probability of the unordered set
    The sum over the orders in which it can be drawn. What is drawn next depends on the *set* drawn so far (and on p,
    which is in all of them), so the sum runs over the 2^k subsets rather than the k! orders: with f(pair) its
    probability, f(S + c) += f(S) P(c | S). Cost: 2^k n exponentials, 0.01 ms for k = 4 of 50 models.

Guards
    Exponents are taken relative to the largest, so nothing overflows; where all informations are 0 all are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SetUtility:
    """What sets of n models are worth.

    Attributes
    ----------
    information : float64 (n, n)
        Of each pair; symmetric.
    allowed : bool (n, n)
        Which pairs may come first; symmetric, and at least one is.
    above : float64 (m, n)
        P(i above c). m = n: gains are those of *place*, each allowed pair has one new model, and no other new one is
        drawn. m = 0: gains are those of *pairs*.
    is_new : bool (n,)
    temperature : float
        In the units of `information`; 0 = greedy.
    """

    information: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    above: NDArray[np.float64]
    is_new: NDArray[np.bool_]
    temperature: float


def draw_set(utility: SetUtility, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw a set of k models: int64 (k,), in the order in which it was drawn.

    `uniforms`, float64 (k - 1,) in [0, 1), decide.
    """
    drawn: NDArray[np.int64] = _draw_set(
        utility.information, utility.allowed, utility.above, utility.is_new, utility.temperature, uniforms
    )
    return drawn


def measure_set(utility: SetUtility, models: NDArray[np.int64]) -> float:
    """Return the exact probability that `draw_set` draws the unordered set `models`, int64 (k,)."""
    if utility.temperature == 0.0:
        greedy = draw_set(utility, np.zeros(len(models) - 1))
        return float(np.array_equal(np.sort(greedy), np.sort(models)))
    return float(
        _measure_set(utility.information, utility.allowed, utility.above, utility.is_new, utility.temperature, models)
    )


@njit(nogil=True, cache=True)
def _draw_set(
    information: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    above: NDArray[np.float64],
    is_new: NDArray[np.bool_],
    temperature: float,
    uniforms: NDArray[np.float64],
) -> NDArray[np.int64]:
    n, k = len(information), len(uniforms) + 1
    chosen = np.empty(k, np.int64)
    chosen[0], chosen[1] = _draw_pair(information, allowed, temperature, uniforms[0])
    gains = np.empty(n)
    for slot in range(2, k):
        _fill_gains(information, above, is_new, chosen[:slot], gains)
        best = gains.max()
        total = 0.0
        for c in range(n):
            total += _weigh(gains[c] - best, temperature)
        remaining = uniforms[slot - 1] * total
        for c in range(n):
            weight = _weigh(gains[c] - best, temperature)
            if weight > 0.0:
                chosen[slot] = c  # the last one with a weight, if rounding leaves something over
                remaining -= weight
                if remaining < 0.0 or temperature == 0.0:
                    break
    return chosen


@njit(nogil=True, cache=True)
def _measure_set(
    information: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    above: NDArray[np.float64],
    is_new: NDArray[np.bool_],
    temperature: float,
    models: NDArray[np.int64],
) -> float:
    n, k = len(information), len(models)
    reached = _reach_pairs(information, allowed, temperature, models)
    gains = np.empty(n)
    chosen = np.empty(k, np.int64)
    for subset in range(3, (1 << k) - 1):
        if reached[subset] == 0.0:
            continue
        size = 0
        for a in range(k):
            if subset >> a & 1:
                chosen[size] = models[a]
                size += 1
        _fill_gains(information, above, is_new, chosen[:size], gains)
        best = gains.max()
        total = 0.0
        for c in range(n):
            total += _weigh(gains[c] - best, temperature)
        for a in range(k):
            if not subset >> a & 1:
                step = _weigh(gains[models[a]] - best, temperature) / total
                reached[subset | 1 << a] += reached[subset] * step
    return float(reached[(1 << k) - 1])


@njit(nogil=True, cache=True)
def _weigh(below: float, temperature: float) -> float:
    """Return exp(below / temperature) for a value that lies so far below the largest."""
    if below >= 0.0:
        return 1.0
    return float(np.exp(below / temperature)) if temperature > 0.0 else 0.0


@njit(nogil=True, cache=True)
def _fill_gains(
    information: NDArray[np.float64],
    above: NDArray[np.float64],
    is_new: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    gains: NDArray[np.float64],
) -> None:
    """Fill gains (n,) with what each model adds to the models `chosen`; -inf where it cannot be drawn."""
    if len(above):
        _fill_place_gains(above, is_new, chosen, gains)
    else:
        gains[:] = 0.0
        for a in chosen:
            gains += information[a]
    for a in chosen:
        gains[a] = -np.inf


@njit(nogil=True, cache=True)
def _fill_place_gains(
    above: NDArray[np.float64], is_new: NDArray[np.bool_], chosen: NDArray[np.int64], gains: NDArray[np.float64]
) -> None:
    new = chosen[0]
    for a in chosen:
        if is_new[a]:
            new = a
    bounds = np.empty(len(chosen))
    for c in range(len(gains)):
        if is_new[c]:
            gains[c] = -np.inf
            continue
        size = 0
        for a in chosen:
            if a != new:
                bounds[size] = above[new, a]
                size += 1
        bounds[size] = above[new, c]
        gains[c] = _measure_place(np.sort(bounds))


@njit(nogil=True, cache=True)
def _measure_place(bounds: NDArray[np.float64]) -> float:
    """Return the entropy of the parts into which ascending `bounds` cut [0, 1]."""
    entropy = 0.0
    lower = 0.0
    for index in range(len(bounds) + 1):
        upper = bounds[index] if index < len(bounds) else 1.0
        if upper > lower:
            entropy -= (upper - lower) * np.log(upper - lower)
        lower = upper
    return entropy


@njit(nogil=True, cache=True)
def _find_best(information: NDArray[np.float64], allowed: NDArray[np.bool_]) -> tuple[int, int]:
    best, first, second = -np.inf, -1, -1
    for i in range(len(information)):
        for j in range(i):
            if allowed[i, j] and information[i, j] > best:
                best, first, second = information[i, j], i, j
    return first, second


@njit(nogil=True, cache=True)
def _draw_pair(
    information: NDArray[np.float64], allowed: NDArray[np.bool_], temperature: float, uniform: float
) -> tuple[int, int]:
    first, second = _find_best(information, allowed)
    if temperature == 0.0:
        return first, second
    best = information[first, second]
    remaining = uniform * _add_pairs(information, allowed, temperature, best)
    for i in range(len(information)):
        for j in range(i):
            if allowed[i, j]:
                weight = _weigh(information[i, j] - best, temperature)
                if weight > 0.0:
                    first, second = i, j
                    remaining -= weight
                    if remaining < 0.0:
                        return first, second
    return first, second


@njit(nogil=True, cache=True)
def _add_pairs(information: NDArray[np.float64], allowed: NDArray[np.bool_], temperature: float, best: float) -> float:
    total = 0.0
    for i in range(len(information)):
        for j in range(i):
            if allowed[i, j]:
                total += _weigh(information[i, j] - best, temperature)
    return total


@njit(nogil=True, cache=True)
def _reach_pairs(
    information: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    temperature: float,
    models: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return by subset of `models` (as bits) the probability of having drawn exactly it: so far for pairs only."""
    reached = np.zeros(1 << len(models))
    first, second = _find_best(information, allowed)
    best = information[first, second]
    total = _add_pairs(information, allowed, temperature, best)
    for a in range(len(models)):
        for b in range(a):
            if allowed[models[a], models[b]]:
                weight = _weigh(information[models[a], models[b]] - best, temperature)
                reached[(1 << a) | (1 << b)] = weight / total
    return reached
