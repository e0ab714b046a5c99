"""A board as the page shows it: rows with what is drawn of them, found by words, and written as a table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from dashboard.formatting import Unit
from dashboard.methods import Drawn, draw_rating
from dashboard.scale import LEAST, Scale, fit_scale
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import METHODS, Board, ModelRating, Publication
from pipeline.store.history import HISTORY_SCHEMA

BOARD_SCHEMA: Final = pa.schema(
    [
        HISTORY_SCHEMA.field(name) if name in HISTORY_SCHEMA.names else pa.field(name, pa.string())
        for name in ModelRating.__struct_fields__
    ]
)
"""One row a model."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a board.

    `joined`: its rank interval overlaps that of the line above. `parted`: it begins another rank group.
    """

    rating: ModelRating
    drawn: Drawn
    model: Model
    joined: bool = False
    parted: bool = False

    @property
    def title(self) -> str:
        """The model's name, or its id where it has none."""
        return self.rating.name or self.rating.model


@dataclass(frozen=True, slots=True)
class BoardView:
    """All rows in order of rank, and the scale that they share. `prior`: nobody has voted, ranks mean nothing."""

    board: Board
    rows: tuple[Row, ...]
    scale: Scale
    prior: bool

    @property
    def has_rank_intervals(self) -> bool:
        """Whether the method tells which ranks are credible."""
        return any(row.rating.rank_low is not None for row in self.rows)

    @property
    def has_groups(self) -> bool:
        """Whether the method says which models share a rank group."""
        return any(row.rating.group is not None for row in self.rows)

    @property
    def has_p_best(self) -> bool:
        """Whether the method says how likely each model is the best."""
        return any(row.rating.p_best is not None for row in self.rows)


def list_methods(publication: Publication) -> list[str]:
    """Return the methods that are published: those of the contract in its order, then others by name."""
    known = [method for method in METHODS if method in publication.boards]
    return known + sorted(set(publication.boards) - set(METHODS))


def view_board(publication: Publication, method: str, unit: Unit) -> BoardView:
    """Make the view of one method's board. Raises KeyError for a method that is not published."""
    board = publication.boards[method]
    models = {model.id: model for model in publication.registered.models}
    rows = tuple(
        Row(rating, _draw(rating, board), models.get(rating.model) or Model(id=rating.model))
        for rating in sorted(board.models, key=lambda rating: rating.rank)
    )
    scale = fit_scale((row.drawn for row in rows), at_least=LEAST[unit])
    return BoardView(board, rows, scale, prior=board.votes == 0)


def _draw(rating: ModelRating, board: Board) -> Drawn:
    """Return what is drawn: of a prior no interval, which would say that ratings could be anything at all."""
    drawn = draw_rating(rating, board.method)
    return drawn if board.votes else replace(drawn, low=None, high=None)


def find_rows(view: BoardView, words: str) -> tuple[Row, ...]:
    """Return the rows in which every word occurs."""
    wanted = words.casefold().split()
    return tuple(row for row in view.rows if all(word in _searched(row) for word in wanted))


def join_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows joined to the line above where the two cannot be told apart, and parted where a group begins."""
    joined = [False, *(_overlap(above.rating, row.rating) for above, row in itertools.pairwise(rows))]
    parted = [False, *(above.rating.group != row.rating.group for above, row in itertools.pairwise(rows))]
    return tuple(
        replace(row, joined=is_joined, parted=is_parted)
        for row, is_joined, is_parted in zip(rows, joined[: len(rows)], parted[: len(rows)], strict=True)
    )


def tabulate_rows(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table (`BOARD_SCHEMA`), with the columns of ``kwise board show --format csv``."""
    columns = {name: [getattr(row.rating, name) for row in rows] for name in BOARD_SCHEMA.names}
    return pa.table(columns, schema=BOARD_SCHEMA)


def _searched(row: Row) -> str:
    rating = row.rating
    return " ".join(
        text for text in (rating.model, rating.name, rating.organization, rating.license) if text
    ).casefold()


def _overlap(above: ModelRating, below: ModelRating) -> bool:
    if above.rank_low is None or above.rank_high is None or below.rank_low is None or below.rank_high is None:
        return False
    return above.rank_low <= below.rank_high and below.rank_low <= above.rank_high
