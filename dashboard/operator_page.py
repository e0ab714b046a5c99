"""The operator page: how the job is. It reads only what the job has published of itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import streamlit as st

from dashboard import notices
from dashboard.arena_frame import arena_label, now_ms, palette_now
from dashboard.download import Picture, draw_downloads
from dashboard.job_state import judge_job
from dashboard.live import draw_live
from dashboard.markup import render_notice, render_section, render_title
from dashboard.operator_html import compare_samples, render_operations, render_panels
from dashboard.operator_letters import SHOWN, list_reasons, render_letters, tabulate_letters
from dashboard.operator_login import draw_login, draw_logout, is_logged_in, password_file
from dashboard.operator_queue import ArenaQueue, fetch_queue, render_queue
from dashboard.operator_trend import HEIGHT, has_operations_trend, make_operations_trend, tabulate_samples
from dashboard.operator_weights import render_weights, tabulate_weights
from dashboard.pace import CHART_EVERY, KEPT_ASKED, TABLE_EVERY
from dashboard.server import PASSWORD_VARIABLE, gateway_url
from dashboard.shell import open_source
from dashboard.source import RECENT_LETTERS, Source, UnavailableError
from pipeline.contracts.snapshot import Board

_TITLE: Final = render_title("Operations")
_ARENAS: Final = 6
"""Arenas whose weights are shown at most."""


def show_operator_page() -> None:
    """Draw the page."""
    source = open_source()
    if not _has_status(source):
        _wait(source)
        _draw_rest(source)
        return
    _draw_figures(source)
    _draw_trend(source)
    draw_downloads(
        lambda: tabulate_samples(source.recent()),
        "operations",
        make_picture=lambda: (
            Picture("operations", "Operations: the last hour") if has_operations_trend(source.recent()) else None
        ),
    )
    _draw_panels(source)
    _draw_rest(source)


def _draw_rest(source: Source) -> None:
    """Draw what the store tells without a job."""
    try:
        titles = source.overview().titles
    except UnavailableError:
        return  # said above
    if (gateway := gateway_url()) is not None:
        _draw_queue(gateway)
    _draw_weights(source)
    if any(board.parameters.get("likelihoods") for _, board in _read_averages(source, titles)):
        draw_downloads(
            lambda: tabulate_weights(_read_averages(source, source.overview().titles)), "weights", "weights-data"
        )
    _draw_letters(source)


@st.fragment(run_every=CHART_EVERY)
def _draw_queue(gateway: str) -> None:
    draw_live("queue", render_queue(_ask_queue(gateway)))


@st.cache_resource(ttl=KEPT_ASKED, max_entries=4, show_spinner=False)
def _ask_queue(gateway: str) -> list[ArenaQueue] | None:
    """Ask once for all who look at the same time."""
    return fetch_queue(gateway)


def _has_status(source: Source) -> bool:
    try:
        beat = source.beat()
    except UnavailableError:
        return False
    return beat is not None and beat.status is not None


@st.fragment(run_every=TABLE_EVERY)
def _wait(source: Source) -> None:
    """Say what is missing, and start anew when it has come."""
    try:
        notice = judge_job(now_ms(), source.beat(), source.path).notice
    except UnavailableError as unavailable:
        notice = unavailable.notice
    if _has_status(source):
        st.rerun()
    st.html(_TITLE + ("" if notice is None else render_notice(notice)))


@st.fragment(run_every=TABLE_EVERY)
def _draw_figures(source: Source) -> None:
    try:
        beat, samples = source.beat(), source.recent()
    except UnavailableError as unavailable:
        st.html(_TITLE + render_notice(unavailable.notice))
        return
    if beat is None or beat.status is None:
        st.rerun()
    now = now_ms()
    state = judge_job(now, beat, source.path)
    lately = compare_samples(samples, beat.time, beat.status)
    draw_live("figures", _TITLE + render_operations(beat, beat.status, state, lately, now))
    if state.notice is not None:
        st.html(render_notice(state.notice))


@st.fragment(run_every=CHART_EVERY)
def _draw_trend(source: Source) -> None:
    try:
        samples = source.recent()
    except UnavailableError:
        return  # said above
    option = make_operations_trend(samples, palette_now())
    if option is None:
        return
    draw_live(
        "trend-title",
        render_section("The last hour", "Times are UTC. The dashed line is what the project promises."),
    )
    st.echarts_chart(
        option, height=HEIGHT, key="operations", alt="Votes a second, freshness and lag over the last hour"
    )


@st.fragment(run_every=TABLE_EVERY)
def _draw_panels(source: Source) -> None:
    try:
        beat = source.beat()
    except UnavailableError:
        return
    if beat is None or beat.status is None:
        return
    now = now_ms()
    draw_live("panels", render_panels(beat, beat.status, judge_job(now, beat, source.path), source.path, now))


@st.fragment(run_every=CHART_EVERY)
def _draw_weights(source: Source) -> None:
    try:
        titles = source.overview().titles
    except UnavailableError:
        return
    if shown := render_weights(islice(_read_averages(source, titles), _ARENAS)):
        draw_live("weights", shown)


def _read_averages(source: Source, titles: dict[str, str]) -> Iterator[tuple[str, Board]]:
    """Read title and board by `average` of each arena that has one, as they are asked for."""
    for arena in titles:
        try:
            board = source.publication(arena).boards["average"]
        except (UnavailableError, KeyError):
            continue
        yield arena_label(titles, arena), board


def _draw_letters(source: Source) -> None:
    """Draw dead letters with what they held, to operators who have logged in."""
    st.html(render_section("Records that could not be used", "with what they held"))
    path = password_file()
    if path is None:
        st.html(render_notice(notices.no_login(PASSWORD_VARIABLE)))
        return
    if not is_logged_in():
        draw_login(path)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        reason = st.selectbox("Reason", ["any", *list_reasons()], key="reason", width=200)
        draw_logout()
    asked = None if reason == "any" else reason
    _draw_found(source, asked)
    draw_downloads(lambda: tabulate_letters(source.dead_letters(RECENT_LETTERS, asked)), "dead-letters", "letters-data")


@st.fragment(run_every=CHART_EVERY)
def _draw_found(source: Source, reason: str | None) -> None:
    if not is_logged_in():
        return
    try:
        letters = source.dead_letters(SHOWN, reason)
    except UnavailableError as unavailable:
        st.html(render_notice(unavailable.notice))
        return
    if not len(letters):
        st.html(render_notice(notices.no_letters()))
        return
    draw_live("letters", render_letters(letters))
