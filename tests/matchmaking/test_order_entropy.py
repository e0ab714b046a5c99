"""The set of least certain order, against all sets of a small arena."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from pipeline.matchmaking.errors import MatchmakingError
from pipeline.matchmaking.order_entropy import choose_uncertain_set


def measure_entropy(draws: np.ndarray, models: tuple[int, ...]) -> float:
    orders = Counter(tuple(row) for row in np.argsort(draws[:, list(models)], axis=1).tolist())
    return -sum(count / len(draws) * math.log(count / len(draws)) for count in orders.values())


@pytest.mark.parametrize("k", [2, 3, 4])
def test_set_is_the_best_of_all_or_close(k: int) -> None:
    rng = np.random.default_rng(k)
    draws = rng.normal(size=(500, 9)) * rng.uniform(0.3, 1, 9) + rng.normal(size=9)
    chosen, entropy = choose_uncertain_set(draws, k, rng)
    assert entropy == pytest.approx(measure_entropy(draws, chosen), abs=1e-9)
    best = max(measure_entropy(draws, models) for models in itertools.combinations(range(9), k))
    assert entropy >= 0.97 * best


def test_slots_are_shuffled_and_models_differ() -> None:
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(200, 5)) + np.array([0, 0, 0, 50, 100])
    slots = {choose_uncertain_set(draws, 3, rng)[0] for _ in range(40)}
    assert len(slots) == 6
    assert {frozenset(models) for models in slots} == {frozenset({0, 1, 2})}


def test_certain_orders_still_give_a_set() -> None:
    draws = np.tile(np.arange(6.0), (50, 1))
    chosen, entropy = choose_uncertain_set(draws, 4, np.random.default_rng(2))
    assert len(set(chosen)) == 4
    assert entropy == 0


@pytest.mark.parametrize("k", [1, 9, 5])
def test_sizes_that_cannot_be_are_refused(k: int) -> None:
    with pytest.raises(MatchmakingError, match=f"set of {k} of 4"):
        choose_uncertain_set(np.zeros((10, 4)), k, np.random.default_rng(0))
