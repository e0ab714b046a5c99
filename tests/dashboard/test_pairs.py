from __future__ import annotations

import numpy as np
import pytest

from dashboard.board_view import view_board
from dashboard.pairs import table as pairs_table
from dashboard.pairs.html import describe_coverage, render_matrix, render_surprises
from dashboard.pairs.table import PAIR_SCHEMA, PairTable, tabulate_pairs, write_pairs
from pipeline.contracts.arena import Model
from pipeline.rating.pair_counts import Kind, PairCounts, pack_code
from tests.dashboard.conftest import OpenPage, html_of
from tests.dashboard.made_store import MODELS, SCRIPT, make_counts, make_publication


def table_of(*entries: tuple[Kind, int, int, int], models: str = "abc") -> PairTable:
    """A table of (kind, i, j, count)."""
    codes = np.array([pack_code(kind, 3, False, i, j) for kind, i, j, _ in entries], np.int64)
    counts = PairCounts.from_entries(codes, np.array([count for *_, count in entries], np.int64))
    return tabulate_pairs(1, list(models), counts.to_columns())


def test_pair_is_seen_from_both_sides() -> None:
    table = table_of((Kind.WIN, 0, 1, 6), (Kind.WIN, 1, 0, 2), (Kind.TIE, 0, 1, 2))
    pair, other = table.pair(0, 1), table.pair(1, 0)
    assert (pair.wins, pair.ties, pair.losses, pair.votes, pair.seen) == (6, 2, 2, 10, 0.7)
    assert (other.wins, other.ties, other.losses, other.seen) == (2, 2, 6, 0.3)
    assert pair.predicted is not None
    assert pair.predicted + other.predicted == pytest.approx(1)  # type: ignore[operator]
    assert pair.stronger is not None
    assert 0.5 < pair.predicted < pair.stronger


def test_pair_without_votes_has_a_prediction_and_no_share() -> None:
    pair = table_of((Kind.WIN, 0, 1, 300), (Kind.WIN, 1, 2, 300)).pair(0, 2)
    assert (pair.votes, pair.seen, pair.surprise) == (0, None, 0.0)
    assert pair.predicted is not None
    assert pair.predicted > 0.7


def test_surprise_is_what_the_posterior_does_not_expect() -> None:
    upset = (Kind.WIN, 2, 0, 10)
    table = table_of((Kind.WIN, 0, 1, 40), (Kind.WIN, 1, 0, 10), (Kind.WIN, 1, 2, 40), (Kind.WIN, 2, 1, 10), upset)
    first = table.surprises(5)[0]
    assert (table.model_ids[first.first], table.model_ids[first.second]) == ("c", "a")
    assert first.surprise is not None
    assert first.surprise > 3
    assert "+" in render_surprises([first], ["A", "B", "C"], table, "arena")


def test_many_models_are_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_table, "MAX_FITTED", 2)
    table = table_of((Kind.WIN, 0, 1, 6))
    assert table.predicted is None
    assert table.surprises(5) == []
    assert table.pair(0, 1).predicted is None
    assert write_pairs(table).num_rows == 1  # only what was voted on


def test_pairs_are_written_once_each_or_as_one_model_sees_them() -> None:
    table = table_of((Kind.WIN, 0, 1, 6), (Kind.WIN, 1, 0, 2))
    everything = write_pairs(table)
    assert everything.schema == PAIR_SCHEMA
    assert everything.num_rows == 3
    rows = {row["other"]: row for row in write_pairs(table, of=1).to_pylist()}
    assert set(rows) == {"a", "c"}
    assert (rows["a"]["wins"], rows["a"]["losses"], rows["a"]["seen"]) == (2, 6, 0.25)
    assert rows["c"]["seen"] is None


@pytest.mark.parametrize("shown", ["seen", "predicted", "difference"])
@pytest.mark.parametrize("votes", [0, 900])
def test_matrix_has_a_cell_a_pair_and_escapes_names(shown: str, votes: int) -> None:
    models = [*MODELS[:4], Model(id="nasty", name=SCRIPT)]
    publication = make_publication(models=models, votes=votes)
    table = tabulate_pairs(1, [model.id for model in models], make_counts(5, votes).to_columns())
    rows = view_board(publication, "posterior", "points").rows
    html = render_matrix(table, rows, shown, "arena")  # type: ignore[arg-type]
    assert html.count("<td") == 25
    assert html.count('class="kw-self"') == 5
    assert "<script" not in html
    assert ("no vote" in html) == (votes == 0 and shown != "predicted")
    assert "nan" not in html


def test_coverage_is_said() -> None:
    assert describe_coverage(table_of((Kind.WIN, 0, 1, 6))) == "1 of 3 pairs voted on, 33 %"


def test_page_shows_matrix_and_surprises_and_keeps_the_choice_in_the_address(open_page: OpenPage) -> None:
    app = open_page("pairs", show="difference")
    html = html_of(app)
    assert "Seen minus predicted" in html
    assert html.count("<td") >= len(MODELS) ** 2
    assert "Not as expected" in html
    assert app.query_params["show"] == "difference"


def test_page_of_an_arena_without_votes_says_so(open_page: OpenPage) -> None:
    html = html_of(open_page("pairs", arena="text-to-video"))
    assert "No votes yet" in html
    assert html.count("<td") == 9
