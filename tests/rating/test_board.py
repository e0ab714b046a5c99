"""Boards: order, absent values, units, and the same rows for any numbering of models."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.rating import elo, ksort_filter
from pipeline.rating.board import DEFAULT_METHOD, METHODS, MethodBoard, ModelRating, rank_order, rate_models
from pipeline.rating.elo import EloState
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.methodology import METHODOLOGY
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.posterior import fit_posterior
from tests.rating.arenas import count_ballots, model_names, pair_row, renumber_ballots, simulate_ballots

UNITS = ("mean", "sd", "low", "high", "score", "rating", "rating_low", "rating_high", "rank_low", "rank_high")
ABSENT = {
    "posterior": {"score"},
    "average": {"score"},
    "ksort": {"rating", "rating_low", "rating_high"},
    "elo": {"sd", "low", "high", "score", "rating_low", "rating_high", "rank_low", "rank_high"},
    "win_rate": {"sd", "score", "rating", "rating_low", "rating_high"},
}


@pytest.fixture(scope="module")
def votes() -> Ballots:
    rng = np.random.default_rng(1)
    return simulate_ballots(rng.normal(size=8), 300, 4, rng, tie_width=0.7)


def board(method: str, ballots: Ballots, names: list[str]) -> MethodBoard:
    n = len(names)
    return rate_models(
        method,
        names,
        count_ballots(ballots, n),
        ksort_filter.rate_ballots(KsortState.initial(n), ballots),
        elo.rate_ballots(EloState.initial(n), ballots),
    )


def value(row: ModelRating, name: str) -> float | None:
    found: float | None = getattr(row, name)
    return found


def test_methods_are_known_and_the_default_is_the_posterior() -> None:
    assert METHODS == ("posterior", "average", "ksort", "elo", "win_rate")
    assert METHODS[0] == DEFAULT_METHOD
    with pytest.raises(ValueError, match="unknown method 'glicko'"):
        rate_models("glicko", [], PairCounts.empty(), KsortState.initial(0), EloState.initial(0))


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_ranked_by_their_measure(method: str, votes: Ballots) -> None:
    found = board(method, votes, model_names(8))
    measure = "score" if method == "ksort" else "mean"
    values = [value(row, measure) for row in found.rows]
    assert values == sorted(values, key=lambda x: -(x or 0.0))
    assert [row.rank for row in found.rows] == list(range(1, 9))
    assert found.method == method
    assert found.methodology == METHODOLOGY
    json.dumps(found.parameters, allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
def test_absent_values_are_none_and_the_rest_finite(method: str, votes: Ballots) -> None:
    for row in board(method, votes, model_names(8)).rows:
        for name in UNITS:
            found = value(row, name)
            assert (found is None) == (name in ABSENT[method]), name
            assert found is None or math.isfinite(found)
        if row.rank_low is not None and row.rank_high is not None:
            assert 1 <= row.rank_low <= row.rank <= row.rank_high <= 8


@pytest.mark.parametrize("method", METHODS)
def test_rows_hold_plain_numbers(method: str, votes: Ballots) -> None:
    for row in board(method, votes, model_names(8)).rows:
        for field in dataclasses.fields(row):
            assert type(getattr(row, field.name)) in (str, int, float, type(None)), field.name


@pytest.mark.parametrize("method", METHODS)
def test_rows_do_not_depend_on_numbering(method: str, votes: Ballots) -> None:
    position = np.random.default_rng(2).permutation(8)
    names = model_names(8)
    renamed = [names[m] for m in np.argsort(position)]
    assert board(method, renumber_ballots(votes, position), renamed).rows == board(method, votes, names).rows


@pytest.mark.parametrize("method", METHODS)
def test_an_arena_without_votes_has_a_board_in_order_of_ids(method: str) -> None:
    found = rate_models(method, ["b", "c", "a"], PairCounts.empty(), KsortState.initial(0), EloState.initial(0))
    assert [row.model for row in found.rows] == ["a", "b", "c"]
    assert [row.votes for row in found.rows] == [0, 0, 0]
    if method == "win_rate":
        assert found.rows[0].mean is None
    if method != "elo":
        assert [(row.rank_low, row.rank_high) for row in found.rows] == [(1, 3)] * 3


@pytest.mark.parametrize("method", METHODS)
def test_an_arena_without_models_has_an_empty_board(method: str) -> None:
    found = rate_models(method, [], PairCounts.empty(), KsortState.initial(0), EloState.initial(0))
    assert found.rows == ()


def test_votes_and_comparisons_count_what_ranked_something() -> None:
    ballots = make_ballots(
        [
            ([0, 1, 2], [1, 2, 2], Mode.RANK),
            ([0, 1, 2], [1, None, None], Mode.BEST),
            ([0, 1, 2], None, Mode.ALL_BAD),
            ([0, 1], None, Mode.SKIP),
        ]
    )
    rows = {row.model: row for row in board("elo", ballots, ["a", "b", "c"]).rows}
    assert {m: (row.votes, row.comparisons) for m, row in rows.items()} == {"a": (2, 4), "b": (2, 3), "c": (2, 3)}


def test_ksort_score_is_three_sds_below_and_may_rank_a_certain_model_first() -> None:
    state = KsortState(np.array([30.0, 28.0, 20.0]), np.array([6.0, 1.0, 1.0]) ** 2)
    found = rate_models("ksort", ["x", "y", "z"], PairCounts.empty(), state, EloState.initial(3))
    assert [(row.model, row.score) for row in found.rows] == [("y", 25.0), ("z", 17.0), ("x", 12.0)]
    # x is shown third by its score although its skill may be first
    assert (found.rows[2].rank_low, found.rows[2].rank_high) == (1, 3)


def test_posterior_board_publishes_the_scale_and_takes_a_fit(votes: Ballots) -> None:
    names, counts = model_names(8), count_ballots(votes, 8)
    fit = fit_posterior(counts, names)
    ready = rate_models("posterior", names, counts, KsortState.initial(8), EloState.initial(8), posterior=fit)
    assert ready == board("posterior", votes, names)
    for row in ready.rows:
        m = names.index(row.model)
        assert row.rank == fit.rank[m]
        assert row.rating == pytest.approx(1000 + 400 / math.log(10) * fit.mean[m])
        assert row.rating_low == pytest.approx(1000 + 400 / math.log(10) * fit.low[m])
    assert ready.parameters["reference"] == names
    assert ready.parameters["tie_parameter"] == fit.tie_parameter > 0


def test_win_rate_ranks_from_intervals_that_do_not_overlap() -> None:
    rows = [pair_row(0, 1)] * 30 + [pair_row(2, 3)] * 30 + [pair_row(4, 5, tied=True)]
    found = {row.model: row for row in board("win_rate", make_ballots(rows), list("abcdef")).rows}
    assert (found["a"].rank_low, found["a"].rank_high) == (1, 4)
    assert (found["b"].rank_low, found["b"].rank_high) == (3, 6)
    assert (found["e"].rank_low, found["e"].rank_high) == (1, 6)


def test_rank_order_puts_models_without_a_value_last() -> None:
    assert rank_order(["d", "c", "b", "a"], [None, 1.0, 2.0, 1.0]) == [2, 3, 1, 0]
