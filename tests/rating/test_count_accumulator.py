"""The mutable counts: agreement with the naive reference, deltas, retraction, growth, memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode, make_ballots
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.dense_counts import DENSE_MODELS
from pipeline.rating.pair_counts import PairCounts, count_ballots_naive
from tests.rating.arenas import ballot_batches, cut_ballots, simulate_ballots

# few models are counted densely, many in a hash table
BOTH = pytest.mark.parametrize("n_models", [9, DENSE_MODELS + 1], ids=["dense", "hashed"])


@BOTH
@given(ballots=ballot_batches())
def test_add_ballots_agrees_with_naive(n_models: int, ballots: Ballots) -> None:
    accumulator = CountAccumulator(n_models)
    accumulator.add_ballots(ballots)
    assert accumulator.freeze() == count_ballots_naive(ballots)


@BOTH
@given(ballots=ballot_batches(), ends=st.lists(st.integers(0, 25), max_size=4))
def test_freeze_is_the_sum_of_deltas(n_models: int, ballots: Ballots, ends: list[int]) -> None:
    accumulator = CountAccumulator(n_models)
    total = PairCounts.empty()
    for part in cut_ballots(ballots, ends):
        accumulator.add_ballots(part)
        delta = accumulator.take_delta()
        assert delta == count_ballots_naive(part)
        total = total.merge(delta)
    assert accumulator.freeze() == total == count_ballots_naive(ballots)
    assert len(accumulator.take_delta()) == 0


@BOTH
@given(kept=ballot_batches(), bot=ballot_batches(), taken_between=st.booleans())
def test_subtract_forgets_ballots(n_models: int, kept: Ballots, bot: Ballots, taken_between: bool) -> None:
    accumulator = CountAccumulator(n_models)
    accumulator.add_ballots(kept)
    accumulator.add_ballots(bot)
    total = accumulator.take_delta() if taken_between else PairCounts.empty()
    accumulator.subtract(count_ballots_naive(bot))
    accumulator.add_ballots(bot)
    accumulator.subtract(count_ballots_naive(bot))
    assert accumulator.freeze() == count_ballots_naive(kept)
    assert total.merge(accumulator.take_delta()) == count_ballots_naive(kept)


@BOTH
@given(ballots=ballot_batches())
def test_merge_adds_what_ballots_add(n_models: int, ballots: Ballots) -> None:
    accumulator = CountAccumulator(n_models)
    accumulator.merge(count_ballots_naive(ballots))
    accumulator.merge(count_ballots_naive(ballots))
    twice = count_ballots_naive(ballots).merge(count_ballots_naive(ballots))
    assert accumulator.take_delta() == accumulator.freeze() == twice


@pytest.mark.parametrize("n_models", [20, DENSE_MODELS + 5])
@given(old=ballot_batches(), new=ballot_batches())
def test_grow_past_the_room_moves_totals_and_pending(n_models: int, old: Ballots, new: Ballots) -> None:
    accumulator = CountAccumulator(9)
    accumulator.add_ballots(old)
    accumulator.take_delta()
    accumulator.add_ballots(new)
    accumulator.grow(n_models)
    assert accumulator.take_delta() == count_ballots_naive(new)
    accumulator.add_ballots(new)
    assert accumulator.freeze() == count_ballots_naive(old).merge(count_ballots_naive(new)).merge(
        count_ballots_naive(new)
    )


def test_add_ballots_agrees_with_naive_at_the_largest_index() -> None:
    ballots = make_ballots([([DENSE_MODELS - 1, 0, DENSE_MODELS - 2], [2, 1, 2], Mode.RANK)])
    accumulator = CountAccumulator(DENSE_MODELS)
    accumulator.add_ballots(ballots)
    assert accumulator.freeze() == count_ballots_naive(ballots)
    accumulator.grow(1 << 24)
    far = make_ballots([([(1 << 24) - 1, 5], [1, 2], Mode.RANK), ([(1 << 24) - 1, 5], None, Mode.SKIP)])
    accumulator.add_ballots(far)
    assert accumulator.freeze() == count_ballots_naive(ballots).merge(count_ballots_naive(far))


@pytest.mark.parametrize("model", [3, -1])
def test_add_ballots_refuses_an_unknown_model(model: int) -> None:
    accumulator = CountAccumulator(3)
    with pytest.raises(ValueError, match="3 models"):
        accumulator.add_ballots(make_ballots([([0, 1], [1, 2], Mode.RANK), ([0, model], [1, 2], Mode.RANK)]))
    assert len(accumulator.freeze()) == 0


def test_subtract_refuses_an_unknown_model() -> None:
    accumulator = CountAccumulator(2)
    with pytest.raises(ValueError, match="2 models"):
        accumulator.subtract(count_ballots_naive(make_ballots([([0, 2], [1, 2], Mode.RANK)])))


@BOTH
def test_add_ballots_ignores_a_ballot_that_ranks_nothing(n_models: int) -> None:
    ballots = Ballots(np.array([0, 2]), np.array([0, 1], np.int32), np.full(2, UNRANKED, np.int8), np.zeros(1, np.int8))
    accumulator = CountAccumulator(n_models)
    accumulator.add_ballots(ballots)
    assert accumulator.freeze() == count_ballots_naive(ballots) == PairCounts.empty()


def test_accumulator_stays_sparse_with_2000_models() -> None:
    ballots = simulate_ballots(np.zeros(2000), 2000, 4, np.random.default_rng(5))
    accumulator = CountAccumulator(2000)
    accumulator.add_ballots(ballots)
    assert accumulator.n_bytes < 8e6
    assert accumulator.freeze() == count_ballots_naive(ballots)


def test_hash_table_grows_with_pending_entries() -> None:
    rng = np.random.default_rng(6)
    first, second = (simulate_ballots(np.zeros(600), 9000, 4, rng) for _ in range(2))
    accumulator = CountAccumulator(600)
    before = accumulator.n_bytes
    accumulator.add_ballots(first)
    accumulator.take_delta()
    accumulator.add_ballots(second)
    assert accumulator.n_bytes > before
    assert accumulator.take_delta() == count_ballots_naive(second)
