"""The page of pairs: which share of their votes models won against each other, and what is expected of the next."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import notices
from dashboard.arena_frame import (
    OpenArena,
    choose_arena,
    draw_notice,
    draw_title,
    open_arena,
    start_anew_if_changed,
    tell_unknown_arena,
)
from dashboard.board_view import Row, view_board
from dashboard.choices import adopt_choice, write_choice
from dashboard.download import draw_downloads, make_file_name
from dashboard.live import draw_live
from dashboard.markup import render_section
from dashboard.methods import describe_method
from dashboard.pace import CHART_EVERY
from dashboard.pairs.html import LABELS, Shown, describe_coverage, render_matrix, render_scale, render_surprises
from dashboard.pairs.table import write_pairs
from dashboard.source import UnavailableError

_TITLE: Final = "Pairs"
WINDOW: Final = 20
"""Models in the matrix at once: more cells cannot be read."""
_SURPRISES: Final = 10


@st.fragment
def show_pairs_page() -> None:
    """Draw the page."""
    opened = open_arena(_TITLE)
    if opened is None:
        return
    draw_title(opened.source, opened.arena, _TITLE, opened.title)
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        choose_arena(opened.titles, opened.arena)
        shown = _choose_shown()
        first = _choose_window(len(opened.publication.registered.models))
    tell_unknown_arena(opened.title)
    _draw_matrix(opened, shown, first)
    draw_downloads(lambda: write_pairs(opened.source.pairs(opened.arena)), make_file_name(opened.arena, "pairs"))
    _draw_surprises(opened)


def _choose_shown() -> Shown:
    adopt_choice("show", list(LABELS))
    shown = st.segmented_control("Show", list(LABELS), format_func=lambda key: LABELS[key], key="show", required=True)
    assert shown is not None  # required
    write_choice("show", shown)
    return shown


def _choose_window(models: int) -> int:
    """Draw the choice of ranks where not all fit; return the first of them, from 0."""
    if models <= WINDOW:
        return 0
    starts = [str(start) for start in range(1, models + 1, WINDOW)]
    adopt_choice("from", starts)
    start = st.selectbox(
        "Ranks",
        starts,
        format_func=lambda start: f"{start}–{min(int(start) + WINDOW - 1, models)}",
        key="from",
        width=140,
    )
    write_choice("from", start)
    return int(start) - 1


@st.fragment(run_every=CHART_EVERY)
def _draw_matrix(opened: OpenArena, shown: Shown, first: int) -> None:
    try:
        start_anew_if_changed(opened)
        table, rows = opened.source.pairs(opened.arena), _list_rows(opened)
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    rows = [row for row in rows if row.rating.model in table.model_ids][first : first + WINDOW]
    if len(rows) < 2:
        draw_notice(notices.no_pairs())
        return
    if not table.votes().any():
        draw_notice(notices.no_pair_votes())
    elif shown != "seen" and table.predicted is None:
        draw_notice(notices.no_predictions(len(table.model_ids)))
    draw_live("matrix", render_scale(shown) + render_matrix(table, rows, shown, opened.arena))


@st.fragment(run_every=CHART_EVERY)
def _draw_surprises(opened: OpenArena) -> None:
    try:
        table = opened.source.pairs(opened.arena)
        models = opened.source.publication(opened.arena).registered.models
    except UnavailableError:
        return  # said above
    found = table.surprises(_SURPRISES)
    titles = [model.name or model.id for model in models]
    if not found or len(titles) < len(table.model_ids):
        return
    draw_live(
        "surprises",
        render_section("Not as expected", describe_coverage(table))
        + render_surprises(found, titles, table, opened.arena),
    )


def _list_rows(opened: OpenArena) -> list[Row]:
    """Return the models in the order of the default board."""
    publication = opened.source.publication(opened.arena)
    method = opened.methods[0]
    return list(view_board(publication, method, describe_method(method).unit).rows)
