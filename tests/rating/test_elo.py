"""Elo: a hand-made loop, the naive reference, and its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.rating.elo import K_FACTOR, EloState, rate_ballots, rate_ballots_naive
from pipeline.rating.errors import StateError
from tests.rating.arenas import Row, ballot_batches, cut_ballots, pair_row, renumber_ballots


def test_rate_ballots_worked_example() -> None:
    state = EloState(np.array([1200.0, 1000.0, 800.0]))
    # 2 wins; 0 and 1 tie
    after = rate_ballots(state, make_ballots([([0, 1, 2], [2, 2, 1], Mode.RANK)]))
    e01, e02, e12 = (1 / (1 + 10 ** (-d / 400)) for d in (200, 400, 200))
    expected = [
        1200 + K_FACTOR * (0.5 - e01 + 0 - e02),
        1000 + K_FACTOR * (e01 - 0.5 + 0 - e12),
        800 + K_FACTOR * (e02 + e12),
    ]
    assert after.ratings.tolist() == pytest.approx(expected, rel=1e-14)


def test_rate_ballots_agrees_with_a_textbook_loop_on_pairs() -> None:
    rng = np.random.default_rng(4)
    ratings = [1000.0] * 7
    rows: list[Row] = []
    for _ in range(500):
        i, j = rng.permutation(7)[:2].tolist()
        score = rng.choice([0.0, 0.5, 1.0])
        expected = 1 / (1 + 10 ** ((ratings[j] - ratings[i]) / 400))
        ratings[i] += 4 * (score - expected)
        ratings[j] -= 4 * (score - expected)
        winner, loser = (j, i) if score == 0.0 else (i, j)
        rows.append(pair_row(winner, loser, tied=score == 0.5))
    after = rate_ballots(EloState.initial(7), make_ballots(rows))
    assert after.ratings.tolist() == pytest.approx(ratings, rel=1e-12)


@given(ballot_batches(max_size=40))
def test_rate_ballots_agrees_with_naive(ballots: Ballots) -> None:
    fast = rate_ballots(EloState.initial(9), ballots)
    np.testing.assert_allclose(fast.ratings, rate_ballots_naive(EloState.initial(9), ballots).ratings, rtol=1e-13)
    assert fast.ratings.sum() == pytest.approx(9000.0)


@given(ballot_batches(max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_rate_ballots_is_the_same_bits_however_batches_are_cut(ballots: Ballots, ends: list[int]) -> None:
    state = EloState.initial(9)
    for part in cut_ballots(ballots, ends):
        state = EloState.from_bytes(rate_ballots(state, part).to_bytes())
    assert state == rate_ballots(EloState.initial(9), ballots)


@given(ballot_batches())
def test_rate_ballots_follows_renumbered_models(ballots: Ballots) -> None:
    position = np.random.default_rng(3).permutation(9)
    renumbered = rate_ballots(EloState.initial(9), renumber_ballots(ballots, position))
    assert renumbered.ratings[position].tolist() == rate_ballots(EloState.initial(9), ballots).ratings.tolist()


def test_rate_ballots_ignores_the_unranked_remainder_all_bad_and_skip() -> None:
    best = make_ballots(
        [
            ([0, 1, 2], [1, None, None], Mode.BEST),
            ([0, 1, 2], None, Mode.ALL_BAD),
            ([0, 1], None, Mode.SKIP),
        ]
    )
    after = rate_ballots(EloState.initial(3), best)
    assert after.ratings.tolist() == [1000.0 + K_FACTOR, 1000.0 - K_FACTOR / 2, 1000.0 - K_FACTOR / 2]


def test_rate_ballots_refuses_an_unknown_model() -> None:
    with pytest.raises(ValueError, match="grow first"):
        rate_ballots(EloState.initial(2), make_ballots([([0, 2], [1, 2], Mode.RANK)]))


def test_state_grows_and_checks_its_bytes() -> None:
    state = EloState(np.array([1100.0]))
    assert state.grow(3).ratings.tolist() == [1100.0, 1000.0, 1000.0]
    assert state.grow(1) is state
    assert EloState.from_bytes(state.to_bytes()) == state
    with pytest.raises(StateError, match="elo1"):
        EloState.from_bytes(b"ksrt" + state.to_bytes()[4:])
