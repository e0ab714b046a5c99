"""All methods of an arena side by side: what rank each gives a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from dashboard.board_view import Row
from dashboard.formatting import ABSENT, format_rank_interval, format_value
from dashboard.links import link_model
from dashboard.markup import Markup, TableColumn, escape_text, render_table
from dashboard.methods import describe_method, draw_rating
from pipeline.contracts.snapshot import ModelRating, Publication

Comparison = Mapping[str, Mapping[str, ModelRating]]
"""Ratings by method and model."""


def compare_methods(publication: Publication, methods: Sequence[str]) -> Comparison:
    """Return all ratings by method and model."""
    return {method: {rating.model: rating for rating in publication.boards[method].models} for method in methods}


def render_comparison(publication: Publication, methods: Sequence[str], rows: Sequence[Row]) -> str:
    """Render the table: a row a model, in the order of `rows`, and a column a method; the first is the reference."""
    ratings = compare_methods(publication, methods)
    columns = [TableColumn("Model")]
    columns += [TableColumn(describe_method(method).label, is_number=True) for method in methods]
    body: list[list[str | Markup]] = []
    for row in rows:
        model = row.rating.model
        reference = ratings[methods[0]].get(model)
        cells: list[str | Markup] = [link_model(row.title, publication.arena, model)]
        cells += [_render_rank(method, ratings[method].get(model), reference) for method in methods]
        body.append(cells)
    table = render_table(columns, body, "Ranks by all methods")
    return f'<div class="kw-scroll" tabindex="0" role="region" aria-label="Ranks by all methods">{table}</div>'


def tabulate_comparison(ratings: Comparison, models: Sequence[str]) -> pa.Table:
    """Return a table with rank and number of each method: columns ``METHOD_rank``, ``METHOD_value``."""
    columns: dict[str, pa.Array] = {"model": pa.array(models, pa.string())}
    for method, by_model in ratings.items():
        found = [by_model.get(model) for model in models]
        columns[f"{method}_rank"] = pa.array([None if each is None else each.rank for each in found], pa.int32())
        columns[f"{method}_value"] = pa.array(
            [None if each is None else draw_rating(each, method).number for each in found], pa.float64()
        )
    return pa.table(columns)


def _render_rank(method: str, rating: ModelRating | None, reference: ModelRating | None) -> str | Markup:
    if rating is None:
        return ABSENT
    number = format_value(draw_rating(rating, method).number, describe_method(method).unit)
    under = escape_text(f"{number} {format_rank_interval(rating.rank_low, rating.rank_high)}".strip())
    moved = 0 if reference is None else reference.rank - rating.rank
    arrow = ""
    if moved:
        said = f"{abs(moved)} {'above' if moved > 0 else 'below'}"
        arrow = f'<span class="kw-moved" role="img" aria-label="{said}">{"▲" if moved > 0 else "▼"}{abs(moved)}</span> '
    return Markup(f'{arrow}<b>{rating.rank}</b><small class="kw-under">{under}</small>')
