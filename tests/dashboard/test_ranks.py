from __future__ import annotations

import pyarrow as pa

from dashboard.ranks.bump import POINTS, make_bump
from dashboard.theme import LIGHT
from pipeline.store.history import HISTORY_SCHEMA
from tests.dashboard.conftest import OpenPage, html_of

NAMES = {"a": "Alpha", "b": "{b}eta", "c": "A name that is far too long for its place"}


def history_of(*boards: str) -> pa.Table:
    """A history in which each board lists its models from the first rank on."""
    rows = [
        {"commit": commit, "log_time": 1000 * commit, "arena_votes": commit, "model": model, "rank": rank}
        for commit, board in enumerate(boards, start=1)
        for rank, model in enumerate(board, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=HISTORY_SCHEMA)


def test_lines_follow_ranks_and_end_below_the_last_one() -> None:
    option = make_bump(history_of("abc", "bac", "bca"), NAMES, ["a", "b"], 2, LIGHT)
    assert option is not None
    lines = {line["name"]: [rank for _, rank in line["data"]] for line in option["series"]}
    assert lines == {"Alpha": [1, 2, None], "{b}eta": [2, 1, 1], NAMES["c"]: [None, None, 2]}


def test_only_chosen_models_are_in_colour_and_names_are_no_templates() -> None:
    option = make_bump(history_of("abc", "abc"), NAMES, ["b"], 3, LIGHT)
    assert option is not None
    colours = [line["lineStyle"]["color"] for line in option["series"]]
    assert colours == [LIGHT.muted, LIGHT.series[0], LIGHT.muted]
    labels = [line["endLabel"]["formatter"] for line in option["series"]]
    assert labels == ["1  Alpha", "2  (b)eta", "3  A name that is far …"]


def test_one_board_is_no_line_and_many_are_thinned() -> None:
    assert make_bump(history_of("abc"), NAMES, [], 3, LIGHT) is None
    option = make_bump(history_of("bac", *["abc"] * 500), NAMES, [], 3, LIGHT)
    assert option is not None
    line = option["series"][0]["data"]
    assert len(line) <= POINTS
    assert [rank for _, rank in line[:3]] == [2, 1, 1]  # how it was in the beginning is not thinned out


def test_page_draws_the_chosen_number_of_models(open_page: OpenPage) -> None:
    app = open_page("ranks", count="20", method="elo")
    assert "Ranks by Elo" in html_of(app)
    assert app.query_params["count"] == "20"


def test_page_without_history_says_so(open_page: OpenPage) -> None:
    assert "No history yet" in html_of(open_page("ranks", arena="text-to-video"))


def test_link_with_too_many_models_shows_the_first(open_page: OpenPage) -> None:
    asked = ["lcm", "nobody", "lcm", "kolors", "sdxl", "imagen-3", "flux-dev", "recraft-3"]
    app = open_page("ranks", models=asked)
    assert app.multiselect("models").value == ["lcm", "kolors", "sdxl", "imagen-3", "flux-dev"]
    assert app.query_params["models"] == ["lcm", "kolors", "sdxl", "imagen-3", "flux-dev"]
