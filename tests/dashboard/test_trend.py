from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from dashboard.methods import describe_method
from dashboard.theme import LIGHT
from dashboard.trend import POINTS, make_trend, tell_apart
from pipeline.contracts.snapshot import METHODS
from pipeline.store.history import HISTORY_SCHEMA, make_rows
from tests.dashboard.made_store import MODELS, make_publication

START = 1_764_072_000_000


def make_history(method: str, boards: int, votes: int = 30) -> pa.Table:
    """What a store keeps of `boards` boards, one a second."""
    tables = [
        make_rows(make_publication(votes=votes * commit, commit=commit, as_of=START + 1_000 * commit), {})
        for commit in range(1, boards + 1)
    ]
    rows = pa.concat_tables(tables) if tables else HISTORY_SCHEMA.empty_table()
    return rows.filter(pa.compute.equal(rows["method"], method)).sort_by(
        [("model", "ascending"), ("commit", "ascending")]
    )


def trend(history: pa.Table, method: str = "posterior") -> dict[str, Any] | None:
    models = {model.id: model.name or model.id for model in MODELS[:5]}
    return make_trend(history, models, method, describe_method(method), LIGHT.series)


@pytest.mark.parametrize("boards", [0, 1])
def test_there_is_no_trend_of_less_than_two_boards(boards: int) -> None:
    assert trend(make_history("posterior", boards)) is None


@pytest.mark.parametrize("method", METHODS)
def test_trend_is_plain_json_without_nan(method: str) -> None:
    option = trend(make_history(method, 5), method)
    assert json.loads(json.dumps(option, allow_nan=False)) == option


@pytest.mark.parametrize(("method", "series"), [("posterior", 15), ("ksort", 15), ("win_rate", 15), ("elo", 5)])
def test_trend_has_a_line_a_model_and_a_band_where_there_are_intervals(method: str, series: int) -> None:
    option = trend(make_history(method, 5), method)
    assert option is not None
    assert len(option["series"]) == series


def test_band_lies_around_its_line() -> None:
    option = trend(make_history("posterior", 5))
    assert option is not None
    low, width, line = (series["data"] for series in option["series"][:3])
    for (_, start), (_, wide), (_, middle) in zip(low, width, line, strict=True):
        assert start < middle < start + wide


def test_long_history_is_thinned_and_keeps_its_ends() -> None:
    history = make_history("posterior", 400, votes=1)
    option = trend(history)
    assert option is not None
    line = option["series"][2]["data"]
    assert len(line) <= POINTS
    assert line[-1][0] == START + 400_000


def test_model_that_came_later_begins_later() -> None:
    late = MODELS[2].id
    history = make_history("posterior", 4)
    keep = pa.compute.or_(pa.compute.not_equal(history["model"], late), pa.compute.greater(history["commit"], 2))
    option = trend(history.filter(keep))
    assert option is not None
    line = next(
        s for s in option["series"] if s["name"] == MODELS[2].name and "areaStyle" not in s and "stack" not in s
    )
    assert [value is None for _, value in line["data"]] == [True, True, False, False]


def test_models_of_one_name_are_told_apart() -> None:
    assert tell_apart({"a": "X", "b": "X", "c": "Y"}) == {"a": "X (a)", "b": "X (b)", "c": "Y"}


def test_early_intervals_do_not_stretch_the_chart() -> None:
    history = make_history("posterior", 40, votes=3_000)
    is_early = pa.compute.less_equal(history["commit"], 4)
    wide = [
        pa.compute.if_else(is_early, pa.compute.add(history[name], by), history[name])
        for name, by in (("rating_low", -5_000.0), ("rating_high", 5_000.0))
    ]
    for name, column in zip(("rating_low", "rating_high"), wide, strict=True):
        history = history.set_column(history.schema.get_field_index(name), name, column)
    stretched, plain = trend(history), trend(make_history("posterior", 40, votes=3_000))
    assert stretched is not None
    assert plain is not None
    assert stretched["yAxis"] == plain["yAxis"]
