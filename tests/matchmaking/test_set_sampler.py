"""The set sampler: its probabilities are those of a naive sum over orders, and of its own frequencies."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.matchmaking.set_sampler import SetUtility, draw_set, measure_set


def make_utility(n: int, seed: int, *, temperature: float = 0.1, n_new: int = 0, place: bool = False) -> SetUtility:
    """Return random utilities; the first `n_new` models are new."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.random((n, n)), 1)
    is_new = np.arange(n) < n_new
    allowed = is_new[:, None] ^ is_new if place else np.ones((n, n), np.bool_)
    np.fill_diagonal(allowed, val=False)
    above = rng.random((n, n)) if place else np.empty((0, n))
    return SetUtility(half + half.T, allowed, above, is_new, temperature)


def measure_place_naively(bounds: list[float]) -> float:
    """Entropy of the place among models that it is above of with probabilities `bounds`."""
    cuts = [0.0, *sorted(bounds), 1.0]
    return -sum(p * math.log(p) for p in np.diff(cuts).tolist() if p > 0)


def gain_naively(utility: SetUtility, chosen: tuple[int, ...], model: int) -> float:
    """What `model` adds to `chosen`, up to a constant; -inf if it cannot be drawn."""
    if model in chosen:
        return -math.inf
    if not len(utility.above):
        return sum(float(utility.information[a, model]) for a in chosen)
    if utility.is_new[model]:
        return -math.inf
    (new,) = (a for a in chosen if utility.is_new[a])
    return measure_place_naively([float(utility.above[new, a]) for a in (*chosen, model) if a != new])


def measure_order_naively(utility: SetUtility, order: tuple[int, ...]) -> float:
    """Probability of drawing the pair of the first two, then the others in this order."""
    n, temperature = len(utility.information), utility.temperature
    pairs = {
        (i, j): math.exp(float(utility.information[i, j]) / temperature)
        for i, j in combinations(range(n), 2)
        if utility.allowed[i, j]
    }
    first = (min(order[:2]), max(order[:2]))
    probability = pairs.get(first, 0.0) / sum(pairs.values())
    for slot in range(2, len(order)):
        if probability:
            weights = [math.exp(gain_naively(utility, order[:slot], c) / temperature) for c in range(n)]
            probability *= weights[order[slot]] / sum(weights)
    return probability


def measure_naively(utility: SetUtility, models: tuple[int, ...]) -> float:
    """Sum over the orders; the two of the pair have none between them."""
    return sum(measure_order_naively(utility, order) for order in permutations(models) if order[0] < order[1])


def draw_many(utility: SetUtility, k: int, count: int, seed: int) -> NDArray[np.int64]:
    """Draw sets, sorted: (count, k)."""
    rng = np.random.default_rng(seed)
    return np.array([np.sort(draw_set(utility, rng.random(k - 1))) for _ in range(count)])


@given(
    n=st.integers(5, 7),
    k=st.integers(2, 5),
    seed=st.integers(0, 99),
    temperature=st.floats(0.02, 3),
    place=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_measure_set_agrees_with_the_sum_over_orders(
    n: int, k: int, seed: int, temperature: float, place: bool
) -> None:
    utility = make_utility(n, seed, temperature=temperature, n_new=1, place=place)
    for models in combinations(range(n), k):
        expected = measure_naively(utility, models)
        assert measure_set(utility, np.array(models)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("k", "place"), [(2, False), (3, False), (4, False), (4, True), (8, False)])
def test_measure_set_adds_up_to_one(k: int, place: bool) -> None:
    utility = make_utility(9, 3, n_new=2, place=place)
    total = math.fsum(measure_set(utility, np.array(models)) for models in combinations(range(9), k))
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("place", [False, True])
def test_draw_set_has_the_frequencies_that_measure_set_says(place: bool) -> None:
    utility = make_utility(6, 4, temperature=0.5, n_new=2, place=place)
    drawn = Counter(map(tuple, draw_many(utility, 3, 30_000, 5).tolist()))
    expected = {models: 30_000 * measure_set(utility, np.array(models)) for models in combinations(range(6), 3)}
    likely = [models for models, number in expected.items() if number > 5]
    assert sum(drawn[models] for models in likely) > 29_900
    rest = 30_000 - sum(drawn[models] for models in likely), 30_000 - sum(expected[models] for models in likely)
    seen, said = [drawn[m] for m in likely] + [rest[0]], [expected[m] for m in likely] + [rest[1]]
    used = [index for index, number in enumerate(said) if number > 1e-6]
    assert chisquare([seen[i] for i in used], [said[i] for i in used], sum_check=False).pvalue > 0.001


def test_draw_set_starts_with_an_allowed_pair() -> None:
    utility = make_utility(8, 6, temperature=0.2)
    utility.allowed[:] = False
    utility.allowed[2, 5] = utility.allowed[5, 2] = True
    assert all({2, 5} <= set(models) for models in draw_many(utility, 4, 100, 7).tolist())


def test_at_temperature_zero_the_best_set_is_drawn_and_has_all_the_probability() -> None:
    utility = make_utility(7, 8, temperature=0.0)
    drawn = draw_many(utility, 4, 20, 9)
    assert (drawn == drawn[0]).all()
    pair = np.unravel_index(int(utility.information.argmax()), (7, 7))
    assert {int(pair[0]), int(pair[1])} <= set(drawn[0].tolist())
    assert measure_set(utility, drawn[0]) == 1.0
    assert sum(measure_set(utility, np.array(models)) for models in combinations(range(7), 4)) == 1.0


def test_without_any_information_all_sets_are_equal() -> None:
    utility = make_utility(6, 1, temperature=0.0)
    equal = SetUtility(np.zeros((6, 6)), utility.allowed, utility.above, utility.is_new, 1e-300)
    found = [measure_set(equal, np.array(models)) for models in combinations(range(6), 3)]
    assert found == pytest.approx([1 / 20] * 20)


def test_a_new_model_meets_models_that_cut_its_place_into_equal_parts() -> None:
    n = 41
    utility = make_utility(n, 2, temperature=0.0, n_new=1, place=True)
    utility.above[0] = np.linspace(0, 1, n)
    utility.information[:] = 0.0
    utility.information[0, 20] = utility.information[20, 0] = 1.0
    chosen = draw_set(utility, np.zeros(3))
    assert set(chosen[:2].tolist()) == {0, 20}
    assert sorted(chosen[2:].tolist()) == [10, 30]
