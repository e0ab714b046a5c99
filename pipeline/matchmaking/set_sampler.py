"""Sets of k models, drawn slot by slot in proportion to exp(utility / temperature), with their exact probability.

Draw
    The first two models together, pair (i, j) with probability proportional to exp(I_ij / T), over the pairs that are
    allowed; then, one by one, model c with probability proportional to exp(gain(c) / T). T = 0 takes the largest (the
    first among equals). gain(c) is by how much c adds to the entropy of the order of the set, H(S + c) - H(S), over
    joint draws of the skills: what an exact answer would tell. Sums over pairs would count twice what one pair tells of
    another, and need about an eighth more votes to the exact order of 50 models.

    For a set with one new model p (the one among the first two that may not come later) it is the entropy of p's place
    among them alone: how the others lie to each other is asked by other sets.

Bounds on the work
    - The order is that of c and the (at most) three of S that c has most to tell about: with 1,024 draws the entropy
      of the order of eight could not be told from that of any other eight.
    - Where the sum of c's pairs is small, that sum is the gain: surprises so rare hardly coincide, and draws hardly
      hold them.
    - Open matchups: the draws do not know of them. The gain is multiplied by the share of c's pairs' information that
      is left when they are answered.

Probability of the unordered set
    The sum over the orders in which it can be drawn. What is drawn next depends on the *set* drawn so far, so the sum
    runs over the 2^k subsets rather than the k! orders: with f(pair) its probability, f(S + c) += f(S) P(c | S). It is
    exact given the draws, which are part of the policy.

Guards
    Exponents are taken relative to the largest, so nothing overflows; where all informations are 0 all are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

_NEAREST: Final = 3
_RARE: Final = 0.1  # nats
_NOTHING: Final = 1e-300


@dataclass(frozen=True, slots=True)
class SetUtility:
    """What sets of n models are worth.

    Attributes
    ----------
    information : float64 (n, n)
        Of each pair; symmetric.
    allowed : bool (n, n)
        Which pairs may come first; symmetric, and at least one is.
    untold : float64 (n, n)
        The same if nothing were open.
    draws : float64 (n, m)
        Joint draws of the skills.
    drawable : bool (n,)
        Which models may come after the first two.
    temperature : float
        In the units of `information`; 0 = greedy.
    """

    information: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    untold: NDArray[np.float64]
    draws: NDArray[np.float64]
    drawable: NDArray[np.bool_]
    temperature: float


_Parts: TypeAlias = tuple[
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
    float,
]


def _take_apart(utility: SetUtility) -> _Parts:
    return (
        utility.information,
        utility.allowed,
        utility.untold,
        utility.draws,
        utility.drawable,
        utility.temperature,
    )


def draw_set(utility: SetUtility, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw a set of k models: int64 (k,), in the order in which it was drawn.

    `uniforms`, float64 (k - 1,) in [0, 1), decide.
    """
    drawn: NDArray[np.int64] = _draw_set(*_take_apart(utility), uniforms)
    return drawn


def measure_set(utility: SetUtility, models: NDArray[np.int64]) -> float:
    """Return the exact probability that `draw_set` draws the unordered set `models`, int64 (k,)."""
    if utility.temperature == 0.0:
        greedy = draw_set(utility, np.zeros(len(models) - 1))
        return float(np.array_equal(np.sort(greedy), np.sort(models)))
    return float(_measure_set(*_take_apart(utility), models))


@njit(nogil=True, cache=True)
def _draw_set(
    information: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    untold: NDArray[np.float64],
    draws: NDArray[np.float64],
    drawable: NDArray[np.bool_],
    temperature: float,
    uniforms: NDArray[np.float64],
) -> NDArray[np.int64]:
    n, k = len(information), len(uniforms) + 1
    chosen = np.empty(k, np.int64)
    chosen[0], chosen[1] = _draw_pair(information, allowed, temperature, uniforms[0])
    gains = np.empty(n)
    for slot in range(2, k):
        _fill_gains(information, untold, draws, drawable, np.sort(chosen[:slot]), gains)
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
    untold: NDArray[np.float64],
    draws: NDArray[np.float64],
    drawable: NDArray[np.bool_],
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
        _fill_gains(information, untold, draws, drawable, np.sort(chosen[:size]), gains)
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
    untold: NDArray[np.float64],
    draws: NDArray[np.float64],
    drawable: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    gains: NDArray[np.float64],
) -> None:
    """Fill gains (n,) with what each model adds to the ascending `chosen`; -inf where it cannot be drawn."""
    subject = -1
    for a in chosen:
        if not drawable[a]:
            subject = a
    size = min(len(chosen), _NEAREST)
    near = np.empty(size, np.int64)
    orders = np.empty(1 << (len(chosen) if subject >= 0 else size * (size + 1) // 2))
    for c in range(len(gains)):
        told = 0.0
        for a in chosen:
            told += information[a, c]
        if not drawable[c]:
            gains[c] = -np.inf
        elif subject >= 0:
            left = information[subject, c] / max(untold[subject, c], _NOTHING)
            gains[c] = _measure_place(draws, subject, chosen, c, orders) * left
        elif told < _RARE:
            gains[c] = told
        else:
            _find_nearest(untold[c], chosen, near)
            left, whole = 0.0, 0.0
            for a in near:
                left += information[a, c]
                whole += untold[a, c]
            gains[c] = _measure_gain(draws, near, c, orders) * left / whole
    for a in chosen:
        gains[a] = -np.inf


@njit(nogil=True, cache=True)
def _find_nearest(untold: NDArray[np.float64], chosen: NDArray[np.int64], near: NDArray[np.int64]) -> None:
    """Fill `near` with the models of `chosen` that have most to tell, the first among equals."""
    taken = np.zeros(len(chosen), np.bool_)
    for place in range(len(near)):
        best = -1
        for at in range(len(chosen)):
            if not taken[at] and (best < 0 or untold[chosen[at]] > untold[chosen[best]]):
                best = at
        taken[best] = True
        near[place] = chosen[best]


@njit(nogil=True, cache=True)
def _measure_gain(draws: NDArray[np.float64], near: NDArray[np.int64], c: int, orders: NDArray[np.float64]) -> float:
    """Return H(order of `near` and c) - H(order of `near`) in nats; `orders` is room for counts.

    An order is the bits that say who is above whom; the lowest are those among `near`.
    """
    size = len(near)
    among = size * (size - 1) // 2
    orders[:] = 0.0
    for draw in range(draws.shape[1]):
        code, bit = 0, 0
        for a in range(size):
            for b in range(a):
                code |= (draws[near[a], draw] > draws[near[b], draw]) << bit
                bit += 1
        for a in range(size):
            code |= (draws[near[a], draw] > draws[c, draw]) << bit
            bit += 1
        orders[code] += 1.0
    gain = 0.0
    for low in range(1 << among):
        known = 0.0
        for code in range(low, len(orders), 1 << among):
            known += orders[code]
            gain -= _weigh_log(orders[code])
        gain += _weigh_log(known)
    return float(gain / draws.shape[1])


@njit(nogil=True, cache=True)
def _measure_place(
    draws: NDArray[np.float64], subject: int, chosen: NDArray[np.int64], c: int, orders: NDArray[np.float64]
) -> float:
    """Return the entropy of the place of `subject` among the others of `chosen` and c; `orders` is room for counts."""
    orders[:] = 0.0
    for draw in range(draws.shape[1]):
        code = int(draws[subject, draw] > draws[c, draw])
        for a in chosen:
            if a != subject:
                code = code << 1 | int(draws[subject, draw] > draws[a, draw])
        orders[code] += 1.0
    entropy = _weigh_log(float(draws.shape[1]))
    for count in orders:
        entropy -= _weigh_log(count)
    return float(entropy / draws.shape[1])


@njit(nogil=True, cache=True)
def _weigh_log(count: float) -> float:
    return count * float(np.log(count)) if count > 0.0 else 0.0


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
