"""A board as the page shows it: rows with what is drawn of them, found by words, and written as CSV."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from dashboard.formatting import Unit
from dashboard.methods import Drawn, draw_rating
from dashboard.scale import LEAST, Scale, fit_scale
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import METHODS, Board, ModelRating, Publication

CSV_COLUMNS: Final = tuple(ModelRating.__struct_fields__)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a board. `joined`: its rank interval overlaps that of the line above."""

    rating: ModelRating
    drawn: Drawn
    model: Model
    joined: bool = False

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


def list_methods(publication: Publication) -> list[str]:
    """Return the methods that are published: those of the contract in its order, then others by name."""
    known = [method for method in METHODS if method in publication.boards]
    return known + sorted(set(publication.boards) - set(METHODS))


def view_board(publication: Publication, method: str, unit: Unit) -> BoardView:
    """Make the view of one method's board. Raises KeyError for a method that is not published."""
    board = publication.boards[method]
    models = {model.id: model for model in publication.registered.models}
    rows = tuple(
        Row(rating, draw_rating(rating, method), models.get(rating.model) or Model(id=rating.model))
        for rating in sorted(board.models, key=lambda rating: rating.rank)
    )
    scale = fit_scale((row.drawn for row in rows), at_least=LEAST[unit])
    return BoardView(board, rows, scale, prior=board.votes == 0)


def find_rows(view: BoardView, words: str) -> tuple[Row, ...]:
    """Return the rows in which every word occurs, joined to the line above where the two cannot be told apart."""
    wanted = words.casefold().split()
    found = [row for row in view.rows if all(word in _searched(row) for word in wanted)]
    joined = [False, *(_overlap(above.rating, row.rating) for above, row in itertools.pairwise(found))]
    return tuple(replace(row, joined=is_joined) for row, is_joined in zip(found, joined[: len(found)], strict=True))


def write_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV with a header (RFC 4180), with the columns of ``kwise board show --format csv``."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(_csv_cell(getattr(row.rating, column)) for column in CSV_COLUMNS)
    return out.getvalue()


def make_csv_name(arena: str, method: str) -> str:
    """Return a file name for a board's CSV that no file system objects to."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{arena}-{method}") + ".csv"


def _csv_cell(value: object) -> object:
    # Names come from strangers, and a spreadsheet takes what begins like this for a formula.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value


def _searched(row: Row) -> str:
    rating = row.rating
    return " ".join(
        text for text in (rating.model, rating.name, rating.organization, rating.license) if text
    ).casefold()


def _overlap(above: ModelRating, below: ModelRating) -> bool:
    if above.rank_low is None or above.rank_high is None or below.rank_low is None or below.rank_high is None:
        return False
    return above.rank_low <= below.rank_high and below.rank_low <= above.rank_high
