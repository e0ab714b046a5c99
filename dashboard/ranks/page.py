"""The page of ranks over time."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import streamlit as st

from dashboard import notices
from dashboard.arena_frame import (
    OpenArena,
    choose_arena,
    choose_method,
    draw_notice,
    draw_title,
    open_arena,
    palette_now,
    start_anew_if_changed,
    tell_unknown_arena,
)
from dashboard.choices import adopt_choice, adopt_choices, write_choice, write_choices
from dashboard.download import Picture, draw_downloads, make_file_name
from dashboard.live import draw_live
from dashboard.markup import render_legend
from dashboard.methods import describe_method
from dashboard.pace import CHART_EVERY
from dashboard.ranks.bump import ROW, make_bump
from dashboard.source import UnavailableError
from dashboard.theme import LIGHT
from dashboard.trend import has_trend

_TITLE: Final = "Ranks over time"
_COUNTS: Final = ("10", "20", "40")
_LIT: Final = len(LIGHT.series)
"""Models drawn in colour at most."""


@st.fragment
def show_ranks_page() -> None:
    """Draw the page."""
    opened = open_arena(_TITLE)
    if opened is None:
        return
    draw_title(opened.source, opened.arena, _TITLE, opened.title)
    names = {model.id: model.name or model.id for model in opened.publication.registered.models}
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        choose_arena(opened.titles, opened.arena)
        method = choose_method(opened)
        count = _choose_count(len(names))
        options = sorted(names, key=lambda model: names[model].casefold())
        adopt_choices("models", options, most=_LIT)
        lit = st.multiselect(
            "In colour",
            options,
            format_func=lambda model: names.get(model, model),
            key="models",
            max_selections=_LIT,
            placeholder=f"The first {_LIT}",
            width=300,
        )
        write_choices("models", lit)
    tell_unknown_arena(opened.title)
    asked = (opened, method, count, tuple(lit))
    _draw_ranks(*asked)
    draw_downloads(
        lambda: opened.source.whole_history(opened.arena, method, list(_drawn_models(*asked))),
        make_file_name(opened.arena, method, "ranks"),
        "ranks-data",
        lambda: Picture("ranks", f"{opened.title}: ranks over time") if has_trend(_history_of(*asked)[0]) else None,
        only_with_picture=True,
    )


def _choose_count(models: int) -> int:
    """Draw the choice of how many models are drawn, where there is one."""
    counts = [count for place, count in enumerate(_COUNTS) if place == 0 or int(_COUNTS[place - 1]) < models]
    if len(counts) == 1:
        return min(models, int(counts[0]))
    adopt_choice("count", counts)
    chosen = st.segmented_control(
        "Models", counts, format_func=lambda n: f"First {n}" if int(n) < models else "All", key="count", required=True
    )
    assert chosen is not None  # required
    write_choice("count", chosen)
    return min(models, int(chosen))


@st.fragment(run_every=CHART_EVERY)
def _draw_ranks(opened: OpenArena, method: str, count: int, lit: tuple[str, ...]) -> None:
    try:
        start_anew_if_changed(opened)
        history, models = _history_of(opened, method, count, lit)
        is_rebuilt = opened.source.publication(opened.arena).boards[method].rebuilding
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    if is_rebuilt:
        draw_notice(notices.rebuilding([describe_method(method).label]))
    ranks = max(count, 2)
    option = make_bump(history, models, lit or tuple(models)[:_LIT], ranks, palette_now())
    if option is None:
        draw_notice(notices.no_history())
        return
    draw_live(
        "legend",
        render_legend(
            f"Ranks by {describe_method(method).label}, the best on top. Times are UTC. A line ends where a model "
            f"falls below rank {ranks}."
        ),
    )
    st.echarts_chart(option, height=ROW * ranks + 48, key="ranks", alt="Ranks of the first models over time")


def _history_of(opened: OpenArena, method: str, count: int, lit: tuple[str, ...]) -> tuple[pa.Table, dict[str, str]]:
    """Return past boards of the models that are drawn, and their names by id."""
    models = _drawn_models(opened, method, count, lit)
    return opened.source.history(opened.arena, method, list(models)), models


def _drawn_models(opened: OpenArena, method: str, count: int, lit: tuple[str, ...]) -> dict[str, str]:
    """Return the names, by id, of the first `count` models and of those in colour."""
    board = opened.source.publication(opened.arena).boards[method]
    ranked = sorted(board.models, key=lambda rating: rating.rank)
    return {
        rating.model: rating.name or rating.model
        for place, rating in enumerate(ranked)
        if place < count or rating.model in lit
    }
