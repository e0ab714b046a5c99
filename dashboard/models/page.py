"""The page of one model: its rating over time, what it made, how it does against each other model, where it loses."""

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
from dashboard.choices import adopt_choice, forget_unknown, unknown_choice, write_choice
from dashboard.download import Picture, draw_downloads, make_file_name
from dashboard.live import draw_live
from dashboard.markup import render_legend, render_section
from dashboard.methods import describe_method
from dashboard.models.gallery import draw_gallery
from dashboard.models.html import (
    describe_losses,
    list_losses,
    render_facts,
    render_losses,
    render_model_figures,
    render_opponents,
    render_prompts,
)
from dashboard.pace import CHART_EVERY
from dashboard.pairs.table import Pair, write_pairs
from dashboard.recent_answers import PromptRecord, record_prompts, tabulate_prompts
from dashboard.server import gateway_url
from dashboard.source import UnavailableError
from dashboard.trend import has_trend, make_trend
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import Board, ModelRating

_TITLE: Final = "Model"
SHOWN: Final = 200
"""Opponents drawn at most."""
_WORST: Final = 6
"""Opponents and prompts shown at most where it loses."""
_LEAST_VOTES: Final = 5
"""Votes on a prompt below which nothing is said of it."""


@st.fragment
def show_model_page() -> None:
    """Draw the page."""
    opened = open_arena(_TITLE)
    if opened is None:
        return
    models = {model.id: model for model in opened.publication.registered.models}
    if not models:
        draw_title(opened.source, opened.arena, _TITLE, opened.title)
        draw_notice(notices.no_models())
        return
    head = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
        choose_arena(opened.titles, opened.arena)
        model = _choose_model(opened, models)
        method = choose_method(opened)
    tell_unknown_arena(opened.title)
    if (asked := unknown_choice("model")) is not None:
        draw_notice(notices.unknown_model(asked, model.name or model.id))
    with head:
        draw_title(opened.source, opened.arena, model.name or model.id, opened.title)
        draw_live("facts", render_facts(model, opened.arena))
    _draw_figures(opened, model.id, method)
    _draw_history(opened, model.id, method)
    history = (opened.arena, method, [model.id])
    draw_downloads(
        lambda: opened.source.whole_history(*history),
        make_file_name(opened.arena, model.id, method, "history"),
        "history-data",
        lambda: (
            Picture("history", f"{model.name or model.id} over time")
            if has_trend(opened.source.history(*history))
            else None
        ),
        only_with_picture=True,
    )
    work = st.container()
    _draw_opponents(opened, model, method)
    draw_downloads(
        lambda: _table_of(opened, model.id), make_file_name(opened.arena, model.id, "pairs"), "opponents-data"
    )
    _draw_losses(opened, model, method)
    draw_downloads(
        lambda: tabulate_prompts(*_list_prompts(opened, model.id)),
        make_file_name(opened.arena, model.id, "prompts"),
        "prompts-data",
        about="Prompts",
    )
    if (gateway := gateway_url()) is not None:
        with work:  # drawn last: the page does not wait for the gateway
            draw_gallery(gateway, opened.arena, model.id)


def _choose_model(opened: OpenArena, models: dict[str, Model]) -> Model:
    """Draw the choice of the model, in the order of the default board."""
    board = opened.publication.boards[opened.methods[0]]
    ranked = [rating.model for rating in sorted(board.models, key=lambda rating: rating.rank)]
    ids = [model for model in ranked if model in models] + sorted(set(models) - set(ranked))
    adopt_choice("model", ids)
    chosen = st.selectbox(
        "Model",
        ids,
        format_func=lambda model: models[model].name or model if model in models else model,
        key="model",
        on_change=forget_unknown,
        args=("model",),
        width=300,
    )
    write_choice("model", chosen)
    return models[chosen]


@st.fragment(run_every=CHART_EVERY)
def _draw_figures(opened: OpenArena, model: str, method: str) -> None:
    try:
        start_anew_if_changed(opened)
        board, rating = _find_rating(opened, model, method)
        table = opened.source.pairs(opened.arena)
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    if rating is None:
        draw_notice(notices.not_rated(describe_method(method).label))
        return
    if board.rebuilding:
        draw_notice(notices.rebuilding([describe_method(method).label]))
    note = describe_method(method)
    draw_live("figures", render_model_figures(rating, board, note, table if model in table.model_ids else None))


@st.fragment(run_every=CHART_EVERY)
def _draw_history(opened: OpenArena, model: str, method: str) -> None:
    try:
        history = opened.source.history(opened.arena, method, [model])
    except UnavailableError:
        return  # said above
    title = opened.titles[opened.arena]
    names = {each.id: each.name or each.id for each in opened.publication.registered.models}
    note = describe_method(method)
    option = make_trend(history, {model: names.get(model, model)}, method, note, palette_now().series)
    if option is None:
        draw_live(
            "history-title", render_section("Over time", title) + render_legend("A line begins with the second board.")
        )
        return
    draw_live("history-title", render_section("Over time", "Times are UTC. The band is the interval."))
    st.echarts_chart(option, height=280, key="history", alt="The model's rating over time")


@st.fragment(run_every=CHART_EVERY)
def _draw_opponents(opened: OpenArena, model: Model, method: str) -> None:
    try:
        opponents, _ = _list_opponents(opened, model.id, method)
    except UnavailableError:
        return
    if not opponents:
        return
    aside = f"the first {SHOWN} of {len(opponents)}" if len(opponents) > SHOWN else "as it sees them"
    draw_live(
        "opponents",
        render_section("Against each other model", aside)
        + render_legend(
            "Seen: share of the votes on the pair that it won, ties as half; an arrow marks what differs from the "
            "prediction by more than 2 standard errors. Predicted: the same for the next vote. Stronger: how "
            "probable it is that it is the stronger one."
        )
        + render_opponents(opponents[:SHOWN], opened.arena, model.name or model.id),
    )


@st.fragment(run_every=CHART_EVERY)
def _draw_losses(opened: OpenArena, model: Model, method: str) -> None:
    try:
        opponents, rank = _list_opponents(opened, model.id, method)
        answers = opened.source.answers(opened.arena)
        records, texts = _list_prompts(opened, model.id)
    except UnavailableError:
        return
    losses = list_losses(opponents, rank, _WORST)
    worst = [each for each in records if each.votes >= _LEAST_VOTES][:_WORST]
    what, none = describe_losses(opponents)
    left = render_section("Falls short against", what)
    left += render_losses(losses, opened.arena) if losses else render_legend(none)
    right = render_section("Weak prompts", f"of the newest {len(answers):,} votes") + (
        render_prompts(worst, texts) if worst else render_legend("Too few votes on any prompt so far.")
    )
    draw_live("losses", f'<div class="kw-panels"><div>{left}</div><div>{right}</div></div>')


def _list_prompts(opened: OpenArena, model: str) -> tuple[list[PromptRecord], dict[str, str]]:
    """Return how a model did on each prompt, the worst first, and the prompts' texts by id."""
    records = record_prompts(opened.source.answers(opened.arena), model)
    prompts = opened.source.publication(opened.arena).registered.arena.prompts
    return sorted(records, key=lambda record: record.share), {prompt.id: prompt.text for prompt in prompts}


def _find_rating(opened: OpenArena, model: str, method: str) -> tuple[Board, ModelRating | None]:
    board = opened.source.publication(opened.arena).boards[method]
    return board, next((rating for rating in board.models if rating.model == model), None)


def _list_opponents(opened: OpenArena, model: str, method: str) -> tuple[list[tuple[ModelRating, Pair]], int]:
    """Return the other models by rank with the pair as the model sees it, and the model's own rank."""
    board, rating = _find_rating(opened, model, method)
    table = opened.source.pairs(opened.arena)
    if rating is None or model not in table.model_ids:
        return [], 0
    place = table.index(model)
    places = {other: number for number, other in enumerate(table.model_ids)}
    others = sorted(board.models, key=lambda other: other.rank)
    found = [
        (other, table.pair(place, places[other.model]))
        for other in others
        if other.model != model and other.model in places
    ]
    return found, rating.rank


def _table_of(opened: OpenArena, model: str) -> pa.Table:
    """Return the pairs of a model, as it sees them."""
    table = opened.source.pairs(opened.arena)
    return write_pairs(table, table.index(model) if model in table.model_ids else None)
