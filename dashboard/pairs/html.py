"""The HTML of the page of pairs: a matrix of shares, and the pairs that differ most from what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dashboard.board_view import Row
from dashboard.formatting import ABSENT, format_chance, format_count, format_plural, format_share, format_signed
from dashboard.links import link_model
from dashboard.markup import Markup, TableColumn, escape_text, render_table
from dashboard.pairs.table import SURPRISE, Pair, PairTable

Shown = Literal["seen", "predicted", "difference"]

LABELS: Final[dict[Shown, str]] = {"seen": "Seen", "predicted": "Predicted", "difference": "Difference"}
EXPLANATIONS: Final[dict[Shown, str]] = {
    "seen": "Per cent of the votes on a pair that the row's model won against the column's, ties as half. "
    "The paler, the fewer votes; a dot: no vote so far.",
    "predicted": "What the posterior expects of the next vote: per cent for the row's model against the column's, "
    "ties as half.",
    "difference": "Seen minus predicted, in points of per cent. Coloured where the two differ by more than "
    f"{SURPRISE:g} standard errors; a dot: no vote so far.",
}
_FULL_VOTES: Final = 20
"""Votes on a pair from which its colour has its full strength."""
_STRONGEST: Final = 62
"""Per cent of the colour in the strongest cell; the rest is background, so that text can be read on it."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """What a cell shows: its text, which side it favours (1: row, -1: column), how strongly (0 to 1), what is said."""

    text: str
    side: int
    strength: float
    said: str


def render_matrix(table: PairTable, rows: Sequence[Row], shown: Shown, arena: str) -> str:
    """Render the matrix of the models of `rows`, in their order; `table` has all of them."""
    places = [table.index(row.rating.model) for row in rows]
    head = "".join(
        f'<th scope="col" title="{escape_text(row.title)}"><span class="kw-said">{escape_text(row.title)}</span>'
        f'<span aria-hidden="true">{row.rating.rank}</span></th>'
        for row in rows
    )
    body = "".join(
        f'<tr><th scope="row"><i>{row.rating.rank}</i> {link_model(row.title, arena, row.rating.model).html}</th>'
        + "".join(
            _render_cell(None if first == second else table.pair(first, second), shown, row.title, other.title)
            for second, other in zip(places, rows, strict=True)
        )
        + "</tr>"
        for first, row in zip(places, rows, strict=True)
    )
    return (
        f'<div class="kw-scroll" tabindex="0" role="region" aria-label="Matrix of pairs, {LABELS[shown].lower()}">'
        f'<table class="kw-matrix"><thead><tr><th scope="col">Model</th>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def render_scale(shown: Shown) -> str:
    """Render what the colours mean."""
    left, right = ("less than predicted", "more") if shown == "difference" else ("column wins", "row wins")
    return (
        f'<p class="kw-legend kw-scale-key">{EXPLANATIONS[shown]} <span>{left} '
        f'<i class="kw-ramp" aria-hidden="true"></i> {right}</span></p>'
    )


def _render_cell(pair: Pair | None, shown: Shown, title: str, other: str) -> str:
    if pair is None:
        return '<td class="kw-self"><span class="kw-said">the same</span></td>'
    cell = _make_cell(pair, shown)
    said = f"{title} against {other}: {cell.said}"
    if not cell.side:
        return f'<td title="{escape_text(said)}">{cell.text}</td>'
    name = "kw-won" if cell.side > 0 else "kw-lost"
    style = f"--kw-mix:{_STRONGEST * cell.strength:.0f}%"
    return f'<td class="{name}" style="{style}" title="{escape_text(said)}">{cell.text}</td>'


def _make_cell(pair: Pair, shown: Shown) -> _Cell:
    counted = (
        f"won {format_count(pair.wins)}, tied {format_count(pair.ties)}, lost {format_count(pair.losses)}"
        if pair.votes
        else "no vote so far"
    )
    if shown == "predicted":
        if pair.predicted is None:
            return _Cell(ABSENT, 0, 0.0, "no prediction")
        said = f"{format_chance(pair.predicted)} expected; stronger with {format_chance(pair.stronger)}"
        return _Cell(_percent(pair.predicted), *_lean(pair.predicted - 0.5), said)
    if pair.seen is None:
        return _Cell('<span aria-hidden="true">·</span><span class="kw-said">no vote</span>', 0, 0.0, counted)
    if shown == "seen":
        side, strength = _lean(pair.seen - 0.5)
        return _Cell(_percent(pair.seen), side, strength * min(1.0, pair.votes / _FULL_VOTES), counted)
    if pair.predicted is None or pair.surprise is None:
        return _Cell(ABSENT, 0, 0.0, "no prediction")
    difference = pair.seen - pair.predicted
    is_surprise = abs(pair.surprise) >= SURPRISE
    said = f"{counted}; {format_signed(pair.surprise, 1)} standard errors"
    side, strength = _lean(difference) if is_surprise else (0, 0.0)
    return _Cell(format_signed(100 * difference), side, strength, said)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _lean(difference: float) -> tuple[int, float]:
    """Return the side that a difference of -0.5 to 0.5 favours, and how strongly."""
    if abs(difference) < 0.005:
        return 0, 0.0
    return (1 if difference > 0 else -1), min(1.0, 0.12 + abs(difference) * 1.76)


def render_surprises(pairs: Sequence[Pair], titles: Sequence[str], table: PairTable, arena: str) -> str:
    """Render pairs that differ from what is predicted; `titles` by place in the registry."""
    columns = (
        TableColumn("Does better than expected"),
        TableColumn("Against"),
        TableColumn("Seen", is_number=True),
        TableColumn("Predicted", is_number=True),
        TableColumn("Votes", is_number=True),
        TableColumn("Standard errors", is_number=True, wide_only=True),
    )
    rows: list[list[str | Markup]] = [
        [
            link_model(titles[pair.first], arena, table.model_ids[pair.first]),
            link_model(titles[pair.second], arena, table.model_ids[pair.second]),
            format_share(pair.seen),
            format_chance(pair.predicted),
            format_count(pair.votes),
            format_signed(pair.surprise, 1),
        ]
        for pair in pairs
    ]
    return render_table(columns, rows, "Pairs that differ from what is predicted")


def describe_coverage(table: PairTable) -> str:
    """Return how many pairs have been voted on, in words."""
    n = len(table.model_ids)
    possible = n * (n - 1) // 2
    voted = int((table.votes() > 0).sum()) // 2
    share = f", {100 * voted / possible:.0f} %" if possible else ""
    return f"{format_count(voted)} of {format_plural(possible, 'pair')} voted on{share}"
