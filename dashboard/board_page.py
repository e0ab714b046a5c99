"""The board page. Words, numbers and HTML come from modules that know nothing of Streamlit.

The controls are drawn when the reader does something, or when other arenas or methods have been published; heading,
board and trend are fragments that draw themselves again in place.
"""

from __future__ import annotations

import time
from typing import Final

import streamlit as st

from dashboard import notices
from dashboard.board_html import (
    render_board,
    render_heading,
    render_keys,
    render_legend,
    render_more,
)
from dashboard.board_view import BoardView, find_rows, list_methods, make_csv_name, view_board, write_csv
from dashboard.choices import adopt_choice, forget_unknown, unknown_choice, write_choice
from dashboard.download import draw_download
from dashboard.freshness import judge_freshness
from dashboard.markup import render_notice, render_section
from dashboard.methods import describe_method
from dashboard.notices import Notice
from dashboard.shell import open_source
from dashboard.source import Source, UnavailableError
from dashboard.theme import DARK, LIGHT
from dashboard.trend import MODELS, make_trend, tell_apart
from pipeline.contracts.snapshot import Publication

BOARD_EVERY: Final = 1.0
TREND_EVERY: Final = 5.0
"""Seconds between two drawings. A chart is dearer than a table, and nobody sees a trend change within a second."""

SHOWN: Final = 200
"""Rows drawn at most: each publication sends them all to every reader."""


def show_board_page() -> None:
    """Draw the page."""
    source = open_source()
    try:
        titles = source.overview().titles
        adopt_choice("arena", list(titles))
        publication = source.publication(st.session_state["arena"])
        methods = list_methods(publication)
    except UnavailableError as unavailable:
        _wait(source, None, unavailable.notice)
        return
    if not methods:
        _wait(source, publication.arena, notices.no_boards())
        return
    heading = st.container()
    arena, method, words = _draw_controls(titles, methods)
    if (asked := unknown_choice("arena")) is not None:
        _draw_notice(notices.unknown_arena(asked, titles[arena]))
    with heading:
        _draw_heading(source, arena, method)
    _draw_board(source, arena, method, words, (tuple(titles.items()), tuple(methods)))
    draw_download(lambda: _csv_of(source, arena, method, words), make_csv_name(arena, method))
    _draw_trend(source, arena, method)


def _draw_controls(titles: dict[str, str], methods: list[str]) -> tuple[str, str, str]:
    """Draw the controls; return arena, method, and the words to find."""
    adopt_choice("method", methods)
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        if len(titles) > 1:
            arena = st.selectbox(
                "Arena",
                list(titles),
                format_func=lambda arena: _arena_label(titles, arena),
                key="arena",
                on_change=forget_unknown,
                args=("arena",),
                width=260,
            )
        else:
            arena = next(iter(titles))
        method = st.segmented_control(
            "Method", methods, format_func=lambda method: describe_method(method).label, key="method", required=True
        )
        assert method is not None  # required
        words = st.text_input(
            "Find", key="find", placeholder="Model, organization or license", width="stretch", live=True
        )
    write_choice("arena", arena)
    write_choice("method", method)
    return arena, method, words


@st.fragment(run_every=BOARD_EVERY)
def _wait(source: Source, arena: str | None, notice: Notice) -> None:
    """Say what is missing, and start anew when it has come."""
    try:
        known = list(source.overview().titles)
        if list_methods(source.publication(arena or known[0])):
            st.rerun()
    except UnavailableError as unavailable:
        notice = unavailable.notice
    _draw_notice(notice)


@st.fragment(run_every=BOARD_EVERY)
def _draw_heading(source: Source, arena: str, method: str) -> None:
    try:
        publication, beat = source.publication(arena), source.heartbeat()
    except UnavailableError:
        return  # the board below says it
    if (board := publication.boards.get(method)) is None:
        return
    freshness = judge_freshness(time.time_ns() // 1_000_000, beat, board.as_of)
    st.html(render_heading(publication.registered, board, freshness))
    if freshness.state == "stalled":
        _draw_notice(notices.stalled(freshness, source.path))


@st.fragment(run_every=BOARD_EVERY)
def _draw_board(
    source: Source, arena: str, method: str, words: str, drawn: tuple[tuple[tuple[str, str], ...], tuple[str, ...]]
) -> None:
    """Draw legend and table; start anew when other arenas or methods are published than `drawn` in the controls."""
    try:
        titles, publication = source.overview().titles, source.publication(arena)
    except UnavailableError as unavailable:
        _draw_notice(unavailable.notice)
        return
    if (tuple(titles.items()), tuple(list_methods(publication))) != drawn:
        st.rerun()
    version = (str(source.path), arena, publication.commit, publication.published_at)
    view, legend, table, hidden = _render(publication, version, method, words)
    note = describe_method(method)
    if not view.rows:
        _draw_notice(notices.no_models())
        return
    if view.prior:
        _draw_notice(notices.no_votes(len(view.rows)))
    if view.board.rebuilding:
        _draw_notice(notices.rebuilding(note.label))
    st.html(legend)
    if table is None:
        _draw_notice(notices.no_match(words))
    else:
        st.html(table)
    if hidden:
        st.html(render_more(hidden))


@st.fragment(run_every=TREND_EVERY)
def _draw_trend(source: Source, arena: str, method: str) -> None:
    try:
        board = source.publication(arena).boards[method]
        top = sorted(board.models, key=lambda rating: rating.rank)[:MODELS]
        models = {rating.model: rating.name or rating.model for rating in top}
        palette = DARK if st.context.theme.type == "dark" else LIGHT
        history = source.history(arena, method, list(models))
    except (UnavailableError, KeyError):
        return
    note = describe_method(method)
    option = make_trend(history, models, method, note, palette.series) if board.votes else None
    if option is None:
        return
    title = f"The first {len(models)} over time" if len(models) > 1 else "Over time"
    names = tell_apart(models)
    st.html(render_section(title, "Times are UTC.") + render_keys([names[model] for model in models]))
    st.echarts_chart(option, height=300, key="trend", alt="Ratings of the first models over time")


@st.cache_resource(max_entries=32, show_spinner=False)
def _render(
    _publication: Publication,
    version: tuple[str, str, int, int],  # noqa: ARG001 - what the cache goes by, together with method and words
    method: str,
    words: str,
) -> tuple[BoardView, str, str | None, int]:
    """Return the view, the legend, the table (None if nothing is found) and how many rows are left out of it.

    Made once for all who watch the same.
    """
    note = describe_method(method)
    view = view_board(_publication, method, note.unit)
    rows = find_rows(view, words)
    shown = rows[:SHOWN]
    table = render_board(view, shown, note) if shown else None
    return view, render_legend(note, view), table, len(rows) - len(shown)


def _csv_of(source: Source, arena: str, method: str, words: str) -> str:
    view = view_board(source.publication(arena), method, describe_method(method).unit)
    return write_csv(find_rows(view, words))


def _arena_label(titles: dict[str, str], arena: str) -> str:
    title = titles.get(arena, arena)
    return title if list(titles.values()).count(title) < 2 else f"{title} ({arena})"


def _draw_notice(notice: Notice) -> None:
    st.html(render_notice(notice))
