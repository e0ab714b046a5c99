from __future__ import annotations

from dashboard.board_filter import filter_rows, list_facets
from dashboard.board_view import view_board
from dashboard.compare import compare_methods, render_comparison, tabulate_comparison
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import METHODS
from tests.dashboard.conftest import OpenPage, html_of
from tests.dashboard.made_store import MODELS, make_publication

ROWS = view_board(make_publication(), "posterior", "points").rows


def found(**chosen: list[str]) -> set[str]:
    return {row.rating.model for row in filter_rows(ROWS, chosen)}


def test_facets_are_fields_that_models_differ_in() -> None:
    assert [facet.id for facet in list_facets(MODELS)] == ["organization", "license", "access", "tag"]
    assert list_facets([Model(id="a", license="MIT"), Model(id="b", license="MIT")]) == []
    assert [facet.values for facet in list_facets([Model(id="a", license="MIT"), Model(id="b")])] == [("MIT",)]


def test_rows_have_one_of_the_values_in_every_field() -> None:
    assert found(license=["MIT", "Apache-2.0"]) == {"lcm", "kolors"}
    assert found(license=["MIT"], access=["api"]) == set()
    assert found(organization=["Stability AI"], tag=["diffusion"]) == {"sdxl", "sd-3.5-large"}
    assert len(found(license=[])) == len(MODELS)


def test_comparison_has_all_methods_and_says_where_ranks_differ() -> None:
    publication = make_publication()
    html = render_comparison(publication, METHODS, ROWS)
    assert html.count("<tr>") == len(MODELS) + 1
    ranks = compare_methods(publication, METHODS)
    moved = sum(ranks[m][r.rating.model].rank != r.rating.rank for m in METHODS for r in ROWS)
    assert html.count("kw-moved") == moved
    table = tabulate_comparison(ranks, ["kolors", "nobody"])
    assert table["elo_rank"].to_pylist() == [ranks["elo"]["kolors"].rank, None]


def test_page_filters_and_says_what_it_did_not_find(open_page: OpenPage) -> None:
    app = open_page("board")
    assert html_of(app).count("data-model=") == len(MODELS)
    app.multiselect("license").set_value(["MIT", "Apache-2.0"]).run()
    assert html_of(app).count("data-model=") == 2
    app.multiselect("license").set_value(["MIT"]).run()
    app.multiselect("access").set_value(["api"]).run()
    assert "matches MIT, API only." in html_of(app)


def test_page_shows_methods_side_by_side(open_page: OpenPage) -> None:
    html = html_of(open_page("board", method="all"))
    for label in ("Posterior", "K-Sort", "Elo", "Win rate"):
        assert label in html
    assert "data-model" not in html
