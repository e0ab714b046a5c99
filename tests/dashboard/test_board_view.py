from __future__ import annotations

import csv
import io

import msgspec
import pytest

from dashboard.board_view import find_rows, join_rows, list_methods, tabulate_rows, view_board
from dashboard.download import make_file_name, write_csv
from dashboard.methods import NOTES, draw_rating
from pipeline.cli.board import MODEL_KEYS
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import METHODS, Board
from tests.dashboard.made_store import MODELS, make_publication

POSTERIOR = view_board(make_publication(), "posterior", "points")


def with_rank_intervals(*intervals: tuple[int | None, int | None]) -> list[bool]:
    """Which rows are joined to the one above, if ranks have these intervals."""
    publication = make_publication(models=MODELS[: len(intervals)])
    board = publication.boards["posterior"]
    models = tuple(
        msgspec.structs.replace(model, rank_low=low, rank_high=high)
        for model, (low, high) in zip(board.models, intervals, strict=True)
    )
    boards = {"posterior": msgspec.structs.replace(board, models=models)}
    view = view_board(msgspec.structs.replace(publication, boards=boards), "posterior", "points")
    return [row.joined for row in join_rows(view.rows)]


def test_every_method_of_the_contract_is_described() -> None:
    assert set(NOTES) == set(METHODS)


def test_list_methods_keeps_the_order_of_the_contract_and_unknown_ones_last() -> None:
    publication = make_publication()
    boards = {"zeta": publication.boards["elo"], "win_rate": publication.boards["win_rate"], **publication.boards}
    assert list_methods(msgspec.structs.replace(publication, boards=boards)) == [*METHODS, "zeta"]


def test_rows_are_joined_where_rank_intervals_overlap() -> None:
    assert with_rank_intervals((1, 1), (2, 3), (2, 3), (4, 4)) == [False, False, True, False]
    assert with_rank_intervals((1, 2), (1, 2)) == [False, True]
    assert with_rank_intervals((1, 1), (None, None), (3, 3)) == [False, False, False]


@pytest.mark.parametrize(
    ("words", "models"),
    [
        ("", len(MODELS)),
        ("  ", len(MODELS)),
        ("flux", 2),
        ("FLUX pro", 1),
        ("black forest", 2),
        ("openrail", 2),
        ("σ", 1),
        ("sdxl", 1),
        ("nobody", 0),
        ("<script>", 0),
    ],
)
def test_find_rows_by_words_in_any_field(words: str, models: int) -> None:
    assert len(find_rows(POSTERIOR, words)) == models


def test_ksort_bar_starts_at_its_score() -> None:
    rating = make_publication().boards["ksort"].models[0]
    drawn = draw_rating(rating, "ksort")
    assert drawn.number == drawn.low == rating.score
    assert drawn.mark == rating.mean
    assert None not in (drawn.high, drawn.low, drawn.mark)
    assert drawn.high - drawn.mark == pytest.approx(drawn.mark - drawn.low)  # type: ignore[operator]


def test_elo_has_no_bar_and_posterior_is_on_the_published_scale() -> None:
    publication = make_publication()
    elo = draw_rating(publication.boards["elo"].models[0], "elo")
    assert (elo.low, elo.high) == (None, None)
    posterior = publication.boards["posterior"].models[0]
    assert draw_rating(posterior, "posterior").number == posterior.rating


def test_prior_is_known_by_its_votes() -> None:
    prior = view_board(make_publication(votes=0), "posterior", "points")
    assert prior.prior
    assert {(row.drawn.low, row.drawn.high) for row in prior.rows} == {(None, None)}
    assert prior.scale.high - prior.scale.low < 100
    assert not POSTERIOR.prior


def test_board_of_no_models_is_a_view() -> None:
    board = Board(arena="a", method="elo", methodology="1", as_of=None, votes=0, commit=1, models=())
    publication = msgspec.structs.replace(make_publication(), boards={"elo": board})
    assert view_board(publication, "elo", "points").rows == ()


def test_csv_has_the_columns_of_the_command_line_and_no_words_for_nothing() -> None:
    view = view_board(make_publication(), "elo", "points")
    rows = list(csv.DictReader(io.StringIO(write_csv(tabulate_rows(find_rows(view, ""))))))
    assert tuple(rows[0]) == MODEL_KEYS
    assert rows[0]["sd"] == ""
    assert float(rows[0]["rating"]) == view.rows[0].rating.rating
    assert not {"None", "nan"} & {cell for row in rows for cell in row.values()}


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_csv_gives_spreadsheets_no_formula(name: str) -> None:
    view = view_board(make_publication(models=[Model(id="a", name=name), Model(id="b")]), "elo", "points")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(write_csv(tabulate_rows(view.rows))))}
    assert rows["a"]["name"] == "'" + name


def test_file_name_is_safe() -> None:
    assert make_file_name("../a:b", "elo") == "-a-b-elo"
