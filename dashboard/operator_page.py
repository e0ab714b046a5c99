"""The operator page: how the job is. It reads only what the job has published of itself."""

from __future__ import annotations

import time
from typing import Final

import streamlit as st

from dashboard.job_state import judge_job
from dashboard.markup import render_notice, render_section, render_title
from dashboard.operator_html import compare_samples, render_operations, render_panels
from dashboard.operator_trend import HEIGHT, make_operations_trend, write_samples
from dashboard.shell import open_source
from dashboard.source import Source, UnavailableError
from dashboard.theme import DARK, LIGHT

STATUS_EVERY: Final = 1.0
TREND_EVERY: Final = 5.0
"""Seconds between two drawings; a sample is added every 5 s."""

_TITLE: Final = render_title("Operations")


def show_operator_page() -> None:
    """Draw the page."""
    source = open_source()
    _draw_figures(source)
    _draw_trend(source)
    _draw_panels(source)


@st.fragment(run_every=STATUS_EVERY)
def _draw_figures(source: Source) -> None:
    try:
        beat, samples = source.beat(), source.recent()
    except UnavailableError as unavailable:
        st.html(_TITLE + render_notice(unavailable.notice))
        return
    now = time.time_ns() // 1_000_000
    state = judge_job(now, beat, source.path)
    figures = ""
    if beat is not None and beat.status is not None:
        lately = compare_samples(samples, beat.time, beat.status)
        figures = render_operations(beat, beat.status, state, lately, now)
    st.html(_TITLE + figures)
    if state.notice is not None:
        st.html(render_notice(state.notice))


@st.fragment(run_every=TREND_EVERY)
def _draw_trend(source: Source) -> None:
    try:
        samples = source.recent()
    except UnavailableError:
        return  # said above
    option = make_operations_trend(samples, DARK if st.context.theme.type == "dark" else LIGHT)
    if option is None:
        return
    st.html(render_section("The last hour", "Times are UTC. The dashed line is what the project promises."))
    st.echarts_chart(
        option, height=HEIGHT, key="operations", alt="Votes a second, freshness and lag over the last hour"
    )
    st.download_button(
        "Download as CSV",
        data=lambda: write_samples(source.recent()).encode(),
        file_name="operations.csv",
        key="download",
        mime="text/csv",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
    )


@st.fragment(run_every=STATUS_EVERY)
def _draw_panels(source: Source) -> None:
    try:
        beat = source.beat()
    except UnavailableError:
        return
    if beat is None or beat.status is None:
        return
    now = time.time_ns() // 1_000_000
    st.html(render_panels(beat, beat.status, judge_job(now, beat, source.path), source.path, now))
