"""The board page. Words, numbers and HTML come from modules that know nothing of Streamlit.

The controls are drawn when the reader does something, or when other arenas or methods have been published; heading,
board and trend are fragments that draw themselves again in place.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final

import pyarrow as pa
import streamlit as st

from dashboard import notices
from dashboard.arena_frame import (
    OpenArena,
    choose_arena,
    choose_method,
    draw_notice,
    now_ms,
    open_arena,
    palette_now,
    start_anew_if_changed,
    tell_unknown_arena,
)
from dashboard.board_filter import Facet, filter_rows, label_value, list_facets
from dashboard.board_html import render_board, render_heading, render_keys, render_legend, render_more
from dashboard.board_view import BoardView, Row, find_rows, join_rows, tabulate_rows, view_board
from dashboard.choices import adopt_choices, write_choices
from dashboard.compare import compare_methods, render_comparison, tabulate_comparison
from dashboard.download import Picture, draw_downloads, make_file_name
from dashboard.freshness import judge_freshness
from dashboard.live import draw_live
from dashboard.markup import render_legend as render_words
from dashboard.markup import render_section
from dashboard.methods import describe_method
from dashboard.pace import CHART_EVERY, TABLE_EVERY
from dashboard.source import Source, UnavailableError
from dashboard.trend import MODELS, has_trend, make_trend, tell_apart
from pipeline.contracts.snapshot import Board, Publication

SHOWN: Final = 200
"""Rows drawn at most: each publication sends them all to every reader."""
ALL_METHODS: Final = "all"
"""In place of a method: their boards side by side."""

_RENDERING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Search:
    """What the reader looks for: words, and values by field of models."""

    words: str
    chosen: Mapping[str, tuple[str, ...]]

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for all who look for the same."""
        return self.words, tuple((facet, values) for facet, values in sorted(self.chosen.items()) if values)

    def find(self, view: BoardView) -> tuple[Row, ...]:
        """Return what is found of a board."""
        return join_rows(filter_rows(find_rows(view, self.words), self.chosen))

    def describe(self) -> str:
        """Return what is looked for, in words."""
        values = [label_value(facet, value) for facet, chosen in self.chosen.items() for value in chosen]
        return ", ".join(([self.words] if self.words else []) + values)


@st.fragment
def show_board_page() -> None:
    """Draw the page."""
    opened = open_arena()
    if opened is None:
        return
    heading = st.container()
    method, search = _draw_controls(opened)
    tell_unknown_arena(opened.title)
    shown = opened.methods[0] if method == ALL_METHODS else method
    with heading:
        _draw_heading(opened.source, opened.arena, shown)
    name = make_file_name(opened.arena, method)
    if method == ALL_METHODS:
        _draw_comparison(opened, search)
        draw_downloads(lambda: _table_of_all(opened, search), name)
        return
    _draw_board(opened, method, search)
    draw_downloads(lambda: _table_of(opened, method, search), name)
    _draw_trend(opened.source, opened.arena, method)
    draw_downloads(
        lambda: opened.source.whole_history(
            opened.arena, method, list(_first_models(opened.source, opened.arena, method))
        ),
        make_file_name(opened.arena, method, "history"),
        "trend-data",
        lambda: _picture_of(opened.source, opened.arena, method),
        only_with_picture=True,
    )


def _draw_controls(opened: OpenArena) -> tuple[str, Search]:
    """Draw the controls; return the method, and what to look for."""
    facets = list_facets(opened.publication.registered.models)
    others = {ALL_METHODS: "Side by side"} if len(opened.methods) > 1 else {}
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        choose_arena(opened.titles, opened.arena)
        method = choose_method(opened, others)
        words = st.text_input(
            "Find", key="find", placeholder="Model, organization or license", width="stretch", live="40ms",
            bind="query-params",
        )  # fmt: skip
        chosen = _draw_filters(facets)
    return method, Search(words, chosen)


def _draw_filters(facets: list[Facet]) -> dict[str, tuple[str, ...]]:
    if not facets:
        return {}
    for facet in facets:
        adopt_choices(facet.id, facet.values)
    active = sum(bool(st.session_state[facet.id]) for facet in facets)
    chosen = {}
    with st.popover(f"Filter ({active})" if active else "Filter", icon=":material/filter_list:", key="filters"):
        for facet in facets:
            values = st.multiselect(
                facet.label, facet.values, format_func=partial(label_value, facet.id), key=facet.id, placeholder="Any"
            )
            write_choices(facet.id, values)
            chosen[facet.id] = tuple(values)
    return chosen


@st.fragment(run_every=TABLE_EVERY)
def _draw_heading(source: Source, arena: str, method: str) -> None:
    try:
        publication, beat = source.publication(arena), source.heartbeat()
    except UnavailableError:
        return  # the board below says it
    if (board := publication.boards.get(method)) is None:
        return
    freshness = judge_freshness(now_ms(), beat, board.as_of)
    draw_live("heading", render_heading(publication.registered, board, freshness))
    if freshness.state == "stalled":
        draw_notice(notices.stalled(beat, source.path))


@st.fragment(run_every=TABLE_EVERY)
def _draw_board(opened: OpenArena, method: str, search: Search) -> None:
    """Draw legend and table."""
    try:
        start_anew_if_changed(opened)
        publication = opened.source.publication(opened.arena)
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    published = (str(opened.source.path), opened.arena, publication.commit, publication.published_at)
    view, legend, table, hidden = _render(_Asked(published, method, search.key, publication, search))
    if not _tell_state(view.board):
        return
    draw_live("legend", legend)
    if table is None:
        draw_notice(notices.no_match(search.describe()))
    else:
        draw_live("board", table)
    if hidden:
        draw_live("more", render_more(hidden))


@st.fragment(run_every=TABLE_EVERY)
def _draw_comparison(opened: OpenArena, search: Search) -> None:
    """Draw all methods side by side."""
    try:
        start_anew_if_changed(opened)
        publication = opened.source.publication(opened.arena)
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    boards = [publication.boards[method] for method in opened.methods]
    first = boards[0]
    if not _tell_state(*boards):
        return
    rows = search.find(view_board(publication, first.method, describe_method(first.method).unit))
    if not rows:
        draw_notice(notices.no_match(search.describe()))
        return
    label = describe_method(first.method).label
    draw_live(
        "comparison",
        render_words(
            f"Each method's rank, and below it its own number and credible ranks. Arrows say by how many places "
            f"the rank differs from that of {label}."
        )
        + render_comparison(publication, opened.methods, rows[:SHOWN]),
    )
    if len(rows) > SHOWN:
        draw_live("more", render_more(len(rows) - SHOWN))


def _tell_state(board: Board, *others: Board) -> bool:
    """Say what is to be known of boards before they are read; return whether there is anything to read."""
    if not board.models:
        draw_notice(notices.no_models())
        return False
    if board.votes == 0:
        draw_notice(notices.no_votes(len(board.models)))
    if labels := [describe_method(each.method).label for each in (board, *others) if each.rebuilding]:
        draw_notice(notices.rebuilding(labels))
    return True


@st.fragment(run_every=CHART_EVERY)
def _draw_trend(source: Source, arena: str, method: str) -> None:
    try:
        history, models = _history_of(source, arena, method)
    except (UnavailableError, KeyError):
        return
    option = make_trend(history, models, method, describe_method(method), palette_now().series)
    if option is None:
        return
    names = [tell_apart(models)[model] for model in models]
    draw_live("trend-title", render_section(_title_of_trend(len(models)), "Times are UTC.") + render_keys(names))
    st.echarts_chart(option, height=300, key="trend", alt="Ratings of the first models over time")


def _history_of(source: Source, arena: str, method: str) -> tuple[pa.Table, dict[str, str]]:
    """Return past boards of the first models, and their names by id. Raises `UnavailableError` and KeyError."""
    models = _first_models(source, arena, method)
    return source.history(arena, method, list(models)), models


def _first_models(source: Source, arena: str, method: str) -> dict[str, str]:
    board = source.publication(arena).boards[method]
    top = sorted(board.models, key=lambda rating: rating.rank)[:MODELS]
    return {rating.model: rating.name or rating.model for rating in top}


def _picture_of(source: Source, arena: str, method: str) -> Picture | None:
    history, models = _history_of(source, arena, method)
    if not has_trend(history):
        return None
    names = [tell_apart(models)[model] for model in models]
    return Picture("trend", _title_of_trend(len(models)), list(zip(names, palette_now().series, strict=False)))


def _title_of_trend(count: int) -> str:
    return f"The first {count} over time" if count > 1 else "Over time"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be drawn. Two are equal if the same comes out: by what was published when, method, and search."""

    published: tuple[str, str, int, int]
    method: str
    words: tuple[Any, ...]
    publication: Publication = field(compare=False)
    search: Search = field(compare=False)


def _render(asked: _Asked) -> tuple[BoardView, str, str | None, int]:
    """Return the view, the legend, the table (None if nothing is found) and how many rows are left out of it.

    Made once for all who watch the same.
    """
    with _RENDERING:
        return _render_anew(asked)


# Not Streamlit's cache: that keeps a lock of each key for ever, and looks at the function's signature each time.
@lru_cache(maxsize=32)
def _render_anew(asked: _Asked) -> tuple[BoardView, str, str | None, int]:
    note = describe_method(asked.method)
    view = view_board(asked.publication, asked.method, note.unit)
    rows = asked.search.find(view)
    shown = rows[:SHOWN]
    table = render_board(view, shown, note) if shown else None
    return view, render_legend(note, view), table, len(rows) - len(shown)


def _table_of(opened: OpenArena, method: str, search: Search) -> pa.Table:
    view = view_board(opened.source.publication(opened.arena), method, describe_method(method).unit)
    return tabulate_rows(search.find(view))


def _table_of_all(opened: OpenArena, search: Search) -> pa.Table:
    publication = opened.source.publication(opened.arena)
    view = view_board(publication, opened.methods[0], describe_method(opened.methods[0]).unit)
    models = [row.rating.model for row in search.find(view)]
    return tabulate_comparison(compare_methods(publication, opened.methods), models)
