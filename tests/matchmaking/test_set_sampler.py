"""The set sampler: its probabilities are those of a naive sum over orders, and of its own frequencies."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from pipeline.matchmaking.set_sampler import SetUtility, draw_set, measure_set


def make_utility(n: int, seed: int, *, temperature: float = 0.1, n_new: int = 0, one_new: bool = False) -> SetUtility:
    """Return random utilities; the first `n_new` models are new."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.random((n, n)), 1)
    is_new = np.arange(n) < n_new
    allowed = is_new[:, None] ^ is_new if one_new else np.ones((n, n), np.bool_)
    np.fill_diagonal(allowed, val=False)
    draws = np.linspace(0, 1, n)[:, None] + 0.4 * rng.standard_normal((n, 64))
    untold = half + half.T
    drawable = ~is_new if one_new else np.ones(n, np.bool_)
    return SetUtility(untold * rng.uniform(0.2, 1.0), allowed, untold, draws, drawable, temperature)


def entropy_naively(draws: NDArray[np.float64]) -> float:
    """Entropy of the order of models (m, draws) over the draws."""
    orders = Counter(map(tuple, np.argsort(draws, axis=0).T.tolist()))
    shares = np.array(list(orders.values())) / draws.shape[1]
    return float(-(shares * np.log(shares)).sum())


def gain_naively(utility: SetUtility, chosen: tuple[int, ...], model: int) -> float:
    """What `model` adds to `chosen`; -inf if it cannot be drawn."""
    if model in chosen or not utility.drawable[model]:
        return -math.inf
    new = [a for a in chosen if not utility.drawable[a]]
    if new:
        left = utility.information[new[0], model] / utility.untold[new[0], model]
        others = [a for a in (*chosen, model) if a != new[0]]
        places = Counter(map(tuple, (utility.draws[new[0]] > utility.draws[others]).T.tolist()))
        shares = np.array(list(places.values())) / utility.draws.shape[1]
        return float(-(shares * np.log(shares)).sum() * left)
    told = sum(float(utility.information[a, model]) for a in chosen)
    if told < 0.1:
        return told
    near = sorted(sorted(chosen), key=lambda a: -utility.untold[a, model])[:3]
    left = sum(utility.information[a, model] for a in near) / sum(utility.untold[a, model] for a in near)
    gain = entropy_naively(utility.draws[[*near, model]]) - entropy_naively(utility.draws[near])
    return float(gain * left)


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
    one_new=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_measure_set_agrees_with_the_sum_over_orders(
    n: int, k: int, seed: int, temperature: float, one_new: bool
) -> None:
    utility = make_utility(n, seed, temperature=temperature, n_new=1, one_new=one_new)
    for models in combinations(range(n), k):
        expected = measure_naively(utility, models)
        assert measure_set(utility, np.array(models)) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("k", "one_new"), [(2, False), (3, False), (4, False), (4, True), (8, False)])
def test_measure_set_adds_up_to_one(k: int, one_new: bool) -> None:
    utility = make_utility(9, 3, n_new=2, one_new=one_new)
    total = math.fsum(measure_set(utility, np.array(models)) for models in combinations(range(9), k))
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("one_new", [False, True])
def test_draw_set_has_the_frequencies_that_measure_set_says(one_new: bool) -> None:
    utility = make_utility(6, 4, temperature=0.5, n_new=2, one_new=one_new)
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
    utility = make_utility(6, 1)
    nothing = np.zeros((6, 6))
    equal = replace(utility, information=nothing, untold=nothing, temperature=1e-300)
    found = [measure_set(equal, np.array(models)) for models in combinations(range(6), 3)]
    assert found == pytest.approx([1 / 20] * 20)


def test_a_new_model_meets_models_that_cut_its_place_into_equal_parts() -> None:
    n = 41
    utility = make_utility(n, 2, temperature=0.0, n_new=1, one_new=True)
    utility.draws[:] = np.arange(n)[:, None]
    utility.draws[0] = np.linspace(0.5, n - 0.5, utility.draws.shape[1])
    utility.information[:] = utility.untold[:] = 0.0
    utility.information[0] = utility.information[:, 0] = utility.untold[0] = utility.untold[:, 0] = 0.5
    utility.information[0, 20] = utility.information[20, 0] = 1.0
    chosen = draw_set(utility, np.zeros(3))
    assert set(chosen[:2].tolist()) == {0, 20}
    assert sorted(chosen[2:].tolist()) == pytest.approx([10, 30], abs=1)
