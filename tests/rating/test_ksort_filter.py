"""Eqs 9-10: worked examples by hand, the naive reference, TrueSkill, and what must hold for any ballots."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trueskill
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.rating.errors import StateError
from pipeline.rating.ksort_filter import KsortState, rate_ballots, rate_ballots_naive
from tests.rating.arenas import Row, ballot_batches, cut_ballots, pair_row, renumber_ballots

B2 = (25 / 6) ** 2
S2 = (25 / 3) ** 2


def v(x: float) -> float:
    """V by the textbook: density over distribution function, from math.erf."""
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / ((1 + math.erf(x / math.sqrt(2))) / 2)


def w(x: float) -> float:
    return v(x) * (v(x) + x)


def make_state(mu: list[float], sd: list[float]) -> KsortState:
    return KsortState(np.array(mu), np.array(sd) ** 2)


def test_rate_ballots_two_models_worked_example() -> None:
    state = make_state([28.0, 23.0], [6.0, 4.0])
    after = rate_ballots(state, make_ballots([([1, 0], [1, 2], Mode.RANK)]))
    c = math.sqrt(2 * B2 + 36 + 16)
    x = (23 - 28) / c
    assert after.mu.tolist() == pytest.approx([28 - 36 * v(x) / c, 23 + 16 * v(x) / c], rel=1e-13)
    expected = [36 * (1 - 36 / c**2 * w(x)), 16 * (1 - 16 / c**2 * w(x))]
    assert after.s2.tolist() == pytest.approx(expected, rel=1e-13)


def test_rate_ballots_four_models_worked_example() -> None:
    mu, sd = [25.0, 27.0, 24.0, 30.0], [5.0, 3.0, 8.0, 2.0]
    # 2 beats 0 and 3, which tie, and those beat 1
    after = rate_ballots(make_state(mu, sd), make_ballots([([0, 1, 2, 3], [2, 4, 1, 2], Mode.RANK)]))
    beaten_by = {2: [0, 1, 3], 0: [1], 3: [1], 1: []}
    for i in range(4):
        shift, shrink = 0.0, 0.0
        for q in range(4):
            c = math.sqrt(2 * B2 + sd[i] ** 2 + sd[q] ** 2)
            if q in beaten_by[i]:
                shift += v((mu[i] - mu[q]) / c) / c
                shrink += sd[i] ** 2 / c**2 * w((mu[i] - mu[q]) / c)
            elif i in beaten_by[q]:
                shift -= v((mu[q] - mu[i]) / c) / c
                shrink += sd[i] ** 2 / c**2 * w((mu[q] - mu[i]) / c)
        floor = B2 / (B2 + sd[i] ** 2)
        assert after.mu[i] == pytest.approx(mu[i] + sd[i] ** 2 * shift, rel=1e-13)
        assert after.s2[i] == pytest.approx(sd[i] ** 2 * max(1 - shrink, floor), rel=1e-13)


def test_rate_ballots_four_new_models_move_symmetrically() -> None:
    after = rate_ballots(KsortState.initial(4), make_ballots([([3, 1, 0, 2], [1, 2, 3, 4], Mode.RANK)]))
    c = math.sqrt(2 * B2 + 2 * S2)
    step = S2 * v(0) / c
    assert after.mu.tolist() == pytest.approx([25 - step, 25 + step, 25 - 3 * step, 25 + 3 * step])
    assert after.s2.tolist() == pytest.approx([S2 * (1 - 3 * S2 / c**2 * w(0))] * 4)


@pytest.mark.parametrize(("k", "factor"), [(2, 0.745), (4, 0.236), (5, 0.2), (8, 0.2)])
def test_rate_ballots_holds_variance_at_what_one_performance_can_tell(k: int, factor: float) -> None:
    # eq. 10 as printed gives 1 - (k - 1) 0.2546 on a first ballot: -0.02 at K = 5
    ballots = make_ballots([(list(range(k)), list(range(k)), Mode.RANK)])
    after = rate_ballots(KsortState.initial(k), ballots)
    assert (after.s2 / S2).tolist() == pytest.approx([factor] * k, abs=1e-3)


@given(ballot_batches(n_models=9, max_size=40))
def test_rate_ballots_agrees_with_naive(ballots: Ballots) -> None:
    fast = rate_ballots(KsortState.initial(9), ballots)
    naive = rate_ballots_naive(KsortState.initial(9), ballots)
    np.testing.assert_allclose(fast.mu, naive.mu, rtol=1e-11)
    np.testing.assert_allclose(fast.s2, naive.s2, rtol=1e-10)


@given(ballot_batches(max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_rate_ballots_is_the_same_bits_however_batches_are_cut(ballots: Ballots, ends: list[int]) -> None:
    whole = rate_ballots(KsortState.initial(9), ballots)
    state = KsortState.initial(9)
    for part in cut_ballots(ballots, ends):
        state = KsortState.from_bytes(rate_ballots(state, part).to_bytes())
    assert state == whole


@given(ballot_batches())
def test_rate_ballots_follows_renumbered_models(ballots: Ballots) -> None:
    position = np.random.default_rng(3).permutation(9)
    straight = rate_ballots(KsortState.initial(9), ballots)
    renumbered = rate_ballots(KsortState.initial(9), renumber_ballots(ballots, position))
    assert renumbered.mu[position].tolist() == straight.mu.tolist()
    assert renumbered.s2[position].tolist() == straight.s2.tolist()


def test_rate_ballots_survives_extreme_upsets_at_k_8() -> None:
    mu = np.array([1e6, 1e4, 1e3, 300.0, 25.0, -300.0, -1e4, -1e6])
    for s2 in (np.full(8, S2), np.full(8, 1e6), np.full(8, 1e-12), np.logspace(-9, 9, 8)):
        state = KsortState(mu.copy(), s2)
        upset = make_ballots([(list(range(8)), list(range(8, 0, -1)), Mode.RANK)] * 50)
        after = rate_ballots(state, upset)
        assert np.isfinite(after.mu).all()
        assert (after.s2 > 0).all()
        assert (after.s2 <= s2).all()


def test_rate_ballots_ignores_ties_all_bad_and_skip() -> None:
    ballots = make_ballots(
        [
            ([0, 1, 2], [1, 1, 1], Mode.RANK),
            ([0, 1, 2], None, Mode.ALL_BAD),
            ([0, 1, 2], None, Mode.SKIP),
        ]
    )
    state = make_state([20.0, 30.0, 25.0], [3.0, 4.0, 5.0])
    assert rate_ballots(state, ballots) == state


def test_rate_ballots_orders_three_pairs_of_a_best_ballot() -> None:
    best = make_ballots([([0, 1, 2, 3], [None, None, 1, None], Mode.BEST)])
    tied = make_ballots([([0, 1, 2, 3], [2, 2, 1, 2], Mode.RANK)])
    assert rate_ballots(KsortState.initial(4), best) == rate_ballots(KsortState.initial(4), tied)


def test_rate_ballots_agrees_with_trueskill_on_pairs() -> None:
    # At K = 2 without draws eqs 9-10 are TrueSkill's update.
    peer = trueskill.TrueSkill(mu=25, sigma=25 / 3, beta=25 / 6, tau=0, draw_probability=0, backend=(_cdf, _pdf, _ppf))
    rng = np.random.default_rng(11)
    ratings = [peer.create_rating() for _ in range(6)]
    rows: list[Row] = []
    for _ in range(200):
        i, j = rng.permutation(6)[:2].tolist()
        ratings[i], ratings[j] = trueskill.rate_1vs1(ratings[i], ratings[j], env=peer)
        rows.append(pair_row(i, j))
    after = rate_ballots(KsortState.initial(6), make_ballots(rows))
    assert after.mu.tolist() == pytest.approx([r.mu for r in ratings], rel=1e-9)
    assert after.sd.tolist() == pytest.approx([r.sigma for r in ratings], rel=1e-9)


def _cdf(x: float, mu: float = 0, sigma: float = 1) -> float:
    return math.erfc(-(x - mu) / (sigma * math.sqrt(2))) / 2


def _pdf(x: float, mu: float = 0, sigma: float = 1) -> float:
    return math.exp(-(((x - mu) / sigma) ** 2) / 2) / (math.sqrt(2 * math.pi) * sigma)


def _ppf(_: float, mu: float = 0, sigma: float = 1) -> float:
    # asked for the draw margin only, at a draw probability of 0
    return mu + 0 * sigma


def test_rate_ballots_gives_known_bits() -> None:
    rng = np.random.default_rng(1)
    rows = [(rng.permutation(6)[:4].tolist(), rng.permutation(4).tolist(), Mode.RANK) for _ in range(50)]
    after = rate_ballots(KsortState.initial(6), make_ballots(rows))
    assert [value.hex() for value in (*after.mu.tolist()[:2], *after.s2.tolist()[:2])] == [
        "0x1.afe62bad97d72p+4",
        "0x1.b3a026e53666ep+4",
        "0x1.280eaf387b23bp-1",
        "0x1.15f5f5b3abc44p-1",
    ]


def test_rate_ballots_refuses_an_unknown_model() -> None:
    with pytest.raises(ValueError, match="grow first"):
        rate_ballots(KsortState.initial(2), make_ballots([([0, 2], [1, 2], Mode.RANK)]))


def test_state_grows_at_the_prior_and_keeps_what_it_knows() -> None:
    state = make_state([20.0, 30.0], [3.0, 4.0])
    grown = state.grow(4)
    assert grown.mu.tolist() == [20.0, 30.0, 25.0, 25.0]
    assert grown.s2.tolist() == [9.0, 16.0, S2, S2]
    assert grown.grow(3) is grown
    assert grown.score.tolist() == pytest.approx([11.0, 18.0, 0.0, 0.0], abs=1e-12)


def test_state_bytes_are_checked() -> None:
    data = KsortState.initial(3).to_bytes()
    assert KsortState.from_bytes(data) == KsortState.initial(3)
    for bad in (b"", data[:-1], data + b"\0", b"elo1" + data[4:], data[:-8] + b"\xff" * 8):
        with pytest.raises(StateError):
            KsortState.from_bytes(bad)
