"""The board's HTML. All text from data passes through `escape_text`: names of models are written by strangers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboard.board_view import BoardView, Row
from dashboard.formatting import (
    ABSENT,
    format_ago,
    format_chance,
    format_clock,
    format_count,
    format_day,
    format_interval,
    format_plural,
    format_rank_interval,
    format_tick,
    format_value,
)
from dashboard.freshness import Freshness
from dashboard.links import MODEL_PAGE, render_link
from dashboard.markup import Figure, escape_text, render_figures, render_title
from dashboard.methods import MethodNote
from dashboard.scale import Scale
from dashboard.theme import DARK, LIGHT
from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.snapshot import Board

_CUT: Final = 1e-6


def render_heading(registered: RegisteredArena, board: Board, freshness: Freshness) -> str:
    """Render the arena's title and the figures under it."""
    models = registered.models
    retired = sum(model.retired for model in models)
    as_of = board.as_of
    figures = [
        Figure("Votes", format_count(board.votes), f"{registered.arena.k} models in each"),
        Figure("Models", format_count(len(board.models)), f"{retired} retired" if retired else "all competing"),
        Figure(
            "As of",
            format_clock(as_of),
            "no votes yet" if freshness.vote_age is None else f"{format_day(as_of)}, {format_ago(freshness.vote_age)}",
            unit="" if as_of is None else "UTC",
        ),
        Figure("State", freshness.label, freshness.reason, kind=freshness.state),
    ]
    return render_title(registered.arena.title or registered.arena.id) + render_figures(figures)


def render_more(hidden: int) -> str:
    """Render how many rows are left out, and where they are."""
    return (
        f'<p class="kw-legend">{format_plural(hidden, "more model")} below: '
        "find them by name, or download the whole board.</p>"
    )


def render_keys(names: Sequence[str]) -> str:
    """Render which line of the trend is whose."""
    items = "".join(
        f'<li><i style="background:light-dark({light},{dark})"></i>{escape_text(name)}</li>'
        for name, light, dark in zip(names, LIGHT.series, DARK.series, strict=False)
    )
    return f'<ul class="kw-keys">{items}</ul>'


def render_legend(note: MethodNote, view: BoardView) -> str:
    """Render the line that says what is drawn."""
    joined = ""
    if view.has_rank_intervals and not view.prior:
        joined = (
            ' <span class="kw-key"><i class="kw-chain"></i></span>'
            "joins neighbours that cannot be told apart: their rank intervals, in brackets, overlap."
        )
        if view.has_groups:
            joined += (
                " A strong line begins a group whose first model is surely weaker than the first of the group above."
            )
    return f'<p class="kw-legend">{escape_text(note.explanation)}{joined}</p>'


def render_board(view: BoardView, rows: Sequence[Row], note: MethodNote) -> str:
    """Render the table. Roles are spelled out because on a phone the rows are grids, which would hide them."""
    body = "".join(
        _render_row(row, following, view, note) for row, following in zip(rows, [*rows[1:], None], strict=True)
    )
    # Organizations and licenses are columns only where somebody has filled them in.
    kinds = "".join(
        f" kw-no-{field}s"
        for field in ("organization", "license")
        if not any(getattr(r.rating, field) for r in view.rows)
    ) + ("" if view.has_p_best and not view.prior else " kw-no-best")
    return (
        f'<table class="kw-board{kinds}" role="table" style="{grid_style(view.scale)}">'
        + '<thead role="rowgroup"><tr role="row">'
        + _head("rank", "Rank")
        + _head("name", "Model")
        + _head("organization", "Organization")
        + _head("license", "License")
        + _head("number", note.heading)
        + f'<th role="columnheader" class="kw-bar" aria-label="Interval">{_render_axis(view.scale, note)}</th>'
        + '<th role="columnheader" class="kw-best" title="Probability to be the best of all">P(best)</th>'
        + _head("votes", "Votes")
        + _head("comparisons", "Comparisons")
        + f'</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
    )


def _head(name: str, text: str) -> str:
    return f'<th role="columnheader" class="kw-{name}">{text}</th>'


def _render_row(row: Row, following: Row | None, view: BoardView, note: MethodNote) -> str:
    rating = row.rating
    is_chained = view.has_rank_intervals and not view.prior
    chain = "".join(
        (
            " kw-chained" if is_chained else "",
            " kw-up" if is_chained and row.joined else "",
            " kw-down" if is_chained and following is not None and following.joined else "",
        )
    )
    parted = ' class="kw-parted"' if view.has_groups and not view.prior and row.parted else ""
    rank = ABSENT if view.prior else str(rating.rank)
    interval = format_rank_interval(rating.rank_low, rating.rank_high)
    said = (
        '<span class="kw-said">, cannot be told apart from the line above</span>' if is_chained and row.joined else ""
    )
    details = [rating.organization, rating.license, format_plural(rating.votes, "vote")]
    under = " · ".join(detail for detail in details if detail)
    link = render_link(row.title, MODEL_PAGE, arena=view.board.arena, model=rating.model)
    return (
        f'<tr role="row" data-model="{escape_text(rating.model)}"{parted}>'
        f'<td role="cell" class="kw-rank{chain}"><b>{rank}</b> <span>{interval}</span>{said}</td>'
        f'<th role="rowheader" scope="row" class="kw-name"><span class="kw-clip" title="{escape_text(rating.model)}">'
        f'{link}</span>{_render_retired(row)}<small class="kw-sub">{escape_text(under)}</small></th>'
        f'<td role="cell" class="kw-organization">{escape_text(rating.organization or ABSENT)}</td>'
        f'<td role="cell" class="kw-license">{escape_text(rating.license or ABSENT)}</td>'
        f'<td role="cell" class="kw-number">{format_value(row.drawn.number, note.unit)}</td>'
        f'<td role="cell" class="kw-bar">{_render_bar(row, view.scale, note)}</td>'
        f'<td role="cell" class="kw-best">{format_chance(rating.p_best)}</td>'
        f'<td role="cell" class="kw-votes">{format_count(rating.votes)}</td>'
        f'<td role="cell" class="kw-comparisons">{format_count(rating.comparisons)}</td></tr>'
    )


def _render_retired(row: Row) -> str:
    return '<span class="kw-tag">retired</span>' if row.model.retired else ""


def grid_style(scale: Scale) -> str:
    """Return where the grid of all rows begins, and its step as a part of what is right of that."""
    if len(scale.ticks) < 2:
        return "--kw-first:0%;--kw-step:100%"
    first, second = (scale.place(tick) for tick in scale.ticks[:2])
    return f"--kw-first:{first:.4f}%;--kw-step:{100 * (second - first) / (100 - first):.4f}%"


def _render_axis(scale: Scale, note: MethodNote) -> str:
    marks = "".join(
        f'<span style="left:{scale.place(tick):.2f}%">{format_tick(tick, scale.ticks, note.unit)}</span>'
        for tick in scale.ticks
    )
    return f'<div class="kw-axis" aria-hidden="true">{marks}</div>'


def _render_bar(row: Row, scale: Scale, note: MethodNote) -> str:
    drawn = row.drawn
    interval = format_interval(drawn.low, drawn.high, note.unit)
    parts, mark = "", "dot"
    if drawn.low is not None and drawn.high is not None:
        mark = "tick"
        left, right = scale.place(drawn.low), scale.place(drawn.high)
        margin = _CUT * (scale.high - scale.low)
        cut = (" kw-cut-left" if drawn.low < scale.low - margin else "") + (
            " kw-cut-right" if drawn.high > scale.high + margin else ""
        )
        parts += f'<i class="kw-span{cut}" style="left:{left:.2f}%;width:{max(0.0, right - left):.2f}%"></i>'
    if drawn.mark is not None:
        parts += f'<i class="kw-{mark}" style="left:{scale.place(drawn.mark):.2f}%"></i>'
    said = "no interval" if interval == ABSENT else interval
    return f'<div class="kw-track" role="img" aria-label="{said}" title="{said}">{parts}</div>'
