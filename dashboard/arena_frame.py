"""What the pages about one arena have in common: which arena, which method, and what to say while there is nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from dashboard import notices
from dashboard.board_view import list_methods
from dashboard.choices import adopt_choice, forget_unknown, unknown_choice, write_choice
from dashboard.freshness import judge_freshness
from dashboard.live import draw_live
from dashboard.markup import render_notice, render_title
from dashboard.methods import describe_method
from dashboard.notices import Notice
from dashboard.pace import TABLE_EVERY
from dashboard.shell import open_source
from dashboard.source import Source, UnavailableError
from dashboard.theme import DARK, LIGHT, Palette
from pipeline.contracts.snapshot import Publication

_Shape = tuple[tuple[tuple[str, str], ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OpenArena:
    """The arena that the reader has chosen, and what there is to choose from."""

    source: Source
    titles: dict[str, str]
    arena: str
    methods: list[str]
    publication: Publication

    @property
    def title(self) -> str:
        """The arena's title."""
        return self.titles[self.arena]

    @property
    def shape(self) -> _Shape:
        """What the controls were drawn from."""
        return tuple(self.titles.items()), tuple(self.methods)


def open_arena(page: str = "") -> OpenArena | None:
    """Return the chosen arena; None while nothing of it is published, which is then said in its place.

    `page` is the title above what is said.
    """
    source = open_source()
    try:
        titles, arena = adopt_arena(source)
    except UnavailableError as unavailable:
        _wait(source, None, unavailable.notice, page)
        return None
    try:
        publication = source.publication(arena)
    except UnavailableError as unavailable:
        choose_arena(titles, arena)
        _wait(source, arena, unavailable.notice, page)
        return None
    methods = list_methods(publication)
    if not methods:
        choose_arena(titles, arena)
        _wait(source, arena, notices.no_boards(), page)
        return None
    return OpenArena(source, titles, arena, methods, publication)


def adopt_arena(source: Source) -> tuple[dict[str, str], str]:
    """Return the arenas' titles by id, and the id of the chosen one. Raises `UnavailableError`.

    A link to an arena that was published a moment ago leads there.
    """
    titles = source.overview(wanted=st.query_params.get("arena")).titles
    adopt_choice("arena", list(titles))
    return titles, str(st.session_state["arena"])


def choose_arena(titles: dict[str, str], arena: str) -> None:
    """Draw the choice of the arena, where there is one; `arena` is the one that was adopted."""
    if len(titles) > 1:
        st.selectbox(
            "Arena",
            list(titles),
            format_func=lambda arena: arena_label(titles, arena),
            key="arena",
            on_change=forget_unknown,
            args=("arena",),
            width=260,
        )
    write_choice("arena", arena)


def choose_method(opened: OpenArena, others: dict[str, str] | None = None) -> str:
    """Draw the choice of the method, and of `others` (id -> label) behind them; return it."""
    labels = {method: describe_method(method).label for method in opened.methods} | (others or {})
    adopt_choice("method", list(labels))
    method = st.segmented_control(
        "Method", list(labels), format_func=lambda method: labels[method], key="method", required=True
    )
    assert method is not None  # required
    write_choice("method", method)
    return method


def tell_unknown_arena(shown: str) -> None:
    """Say that a link names an arena that is not there; `shown` is the title of the one that is."""
    if (asked := unknown_choice("arena")) is not None:
        draw_notice(notices.unknown_arena(asked, shown))


@st.fragment(run_every=TABLE_EVERY)
def draw_title(source: Source, arena: str, page: str, about: str) -> None:
    """Draw the title of a page, and below it a warning while the arena is not kept up to date."""
    draw_live("title", render_title(page, about))
    try:
        publication, beat = source.publication(arena), source.heartbeat()
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    newest = max((board.as_of or 0 for board in publication.boards.values()), default=0)
    freshness = judge_freshness(now_ms(), beat, newest or None)
    if freshness.state == "stalled":
        draw_notice(notices.stalled(beat, source.path))


def start_anew_if_changed(opened: OpenArena) -> None:
    """Draw the whole page again if other arenas or methods are published than its controls offer.

    To be called in a fragment. Raises `UnavailableError`.
    """
    titles, publication = opened.source.overview().titles, opened.source.publication(opened.arena)
    if (tuple(titles.items()), tuple(list_methods(publication))) != opened.shape:
        st.rerun()


@st.fragment(run_every=TABLE_EVERY)
def _wait(source: Source, arena: str | None, notice: Notice, page: str) -> None:
    """Say what is missing, and start anew when it has come."""
    if page:
        st.html(render_title(page))
    try:
        known = list(source.overview().titles)
        if list_methods(source.publication(arena or known[0])):
            st.rerun()
    except UnavailableError as unavailable:
        notice = unavailable.notice
    draw_notice(notice)


def draw_notice(notice: Notice) -> None:
    """Draw a notice."""
    st.html(render_notice(notice))


def palette_now() -> Palette:
    """Return the colours of the theme that the reader sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def now_ms() -> int:
    """Return the wall clock in ms since 1970."""
    return time.time_ns() // 1_000_000


def arena_label(titles: dict[str, str], arena: str) -> str:
    """Return an arena's title, with its id where another has the same."""
    title = titles.get(arena, arena)
    return title if list(titles.values()).count(title) < 2 else f"{title} ({arena})"
