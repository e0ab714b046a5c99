"""The page of matchmaking: what is proposed and why, what has been compared, and what votes tell."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import notices
from dashboard.arena_frame import (
    OpenArena,
    choose_arena,
    draw_notice,
    draw_title,
    now_ms,
    open_arena,
    palette_now,
    start_anew_if_changed,
    tell_unknown_arena,
)
from dashboard.download import Picture, draw_downloads, make_file_name
from dashboard.live import draw_live
from dashboard.markup import render_legend, render_section
from dashboard.matchmaking.html import (
    SHOWN,
    render_coverage,
    render_least_known,
    render_policies,
    render_proposals,
    render_ratios,
    render_summary,
)
from dashboard.matchmaking.information import (
    Information,
    describe_lately,
    has_chart,
    make_information_chart,
    measure_information,
    tabulate_information,
)
from dashboard.matchmaking.proposals import Proposal, judge_proposals, tabulate_proposals
from dashboard.pace import CHART_EVERY
from dashboard.pairs.table import PairTable, write_pairs
from dashboard.recent_answers import (
    PolicyRecord,
    RecentAnswers,
    compare_with_chance,
    record_policies,
    tabulate_policies,
)
from dashboard.source import UnavailableError
from pipeline.contracts.snapshot import Publication

_TITLE: Final = "Matchmaking"


@st.fragment
def show_matchmaking_page() -> None:
    """Draw the page."""
    opened = open_arena(_TITLE)
    if opened is None:
        return
    draw_title(opened.source, opened.arena, _TITLE, opened.title)
    if len(opened.titles) > 1:
        with st.container(horizontal=True, vertical_alignment="bottom", key="controls"):
            choose_arena(opened.titles, opened.arena)
    else:
        choose_arena(opened.titles, opened.arena)
    tell_unknown_arena(opened.title)
    _draw_proposals(opened)
    draw_downloads(
        lambda: tabulate_proposals(_judge(opened)[2]), make_file_name(opened.arena, "proposals"), "proposals-data"
    )
    _draw_information(opened)
    draw_downloads(
        lambda: tabulate_information(_measure(opened)),
        make_file_name(opened.arena, "information"),
        "information-data",
        lambda: Picture("information", f"{opened.title}: bits a vote") if has_chart(_measure(opened)) else None,
    )
    _draw_coverage(opened)
    draw_downloads(
        lambda: write_pairs(opened.source.pairs(opened.arena)),
        make_file_name(opened.arena, "pairs"),
        "coverage-data",
        about="Pairs",
    )
    draw_downloads(
        lambda: tabulate_policies(_record_policies(opened)),
        make_file_name(opened.arena, "policies"),
        "policies-data",
        about="Policies",
    )


@st.fragment(run_every=CHART_EVERY)
def _draw_proposals(opened: OpenArena) -> None:
    try:
        start_anew_if_changed(opened)
        publication, table, proposals = _judge(opened)
        information, answers = _measure(opened), opened.source.answers(opened.arena)
    except UnavailableError as unavailable:
        draw_notice(unavailable.notice)
        return
    settings = publication.registered.arena.settings
    draw_live(
        "summary", render_summary(proposals, table, settings, describe_lately(information), _share_unordered(answers))
    )
    if not proposals:
        draw_notice(notices.no_open_matchups(settings.policy))
        return
    aside = f"the newest {SHOWN} of {len(proposals):,}" if len(proposals) > SHOWN else "open matchups"
    draw_live(
        "proposals",
        render_section("Proposed now", aside)
        + render_legend(
            "In doubt: how many bits are open about which models of the set are stronger. Likelihood: how many times "
            "as likely as by chance the policy drew the set."
        )
        + render_proposals(proposals, _names(publication), opened.arena, now_ms()),
    )


@st.fragment(run_every=CHART_EVERY)
def _draw_information(opened: OpenArena) -> None:
    try:
        option = make_information_chart(_measure(opened), palette_now())
    except UnavailableError:
        return  # said above
    title = render_section("Information per vote", "by how much votes sharpened the ratings")
    if option is None:
        draw_live(
            "information-title",
            title + render_legend("It is measured between boards on which the same models have 10 comparisons."),
        )
        return
    draw_live("information-title", title)
    st.echarts_chart(option, height=260, key="information", alt="Bits that a vote told, over the votes so far")


@st.fragment(run_every=CHART_EVERY)
def _draw_coverage(opened: OpenArena) -> None:
    try:
        publication, table, _ = _judge(opened)
        answers = opened.source.answers(opened.arena)
    except UnavailableError:
        return
    ratios = compare_with_chance(answers.sizes.tolist(), answers.propensities, _count_active(publication))
    left = render_section("Coverage", "all votes that count") + render_coverage(table)
    left += render_section("Least known", "models with the fewest comparisons") + render_least_known(
        table, _comparisons(publication), _names(publication), opened.arena
    )
    newest = f"the newest {len(answers):,} votes"
    right = render_section("Propensities", newest)
    right += render_ratios(ratios) if len(answers) else render_legend("No votes yet.")
    if len(answers):
        right += render_section("Policies", newest)
        right += render_policies(_record_policies(opened))
        right += render_legend(
            "Worth: as many votes on sets drawn at random would know as much, when these are "
            "reweighted by their propensities."
        )
    draw_live("coverage", f'<div class="kw-panels"><div>{left}</div><div>{right}</div></div>')


def _judge(opened: OpenArena) -> tuple[Publication, PairTable, list[Proposal]]:
    """Return what is published, the pairs, and the open matchups judged."""
    publication, table = opened.source.publication(opened.arena), opened.source.pairs(opened.arena)
    proposals = judge_proposals(
        publication.open_matchups, table, _count_active(publication), _comparisons(publication), _names(publication)
    )
    return publication, table, proposals


def _measure(opened: OpenArena) -> Information:
    return measure_information(opened.source.precision(opened.arena, opened.methods[0]))


def _record_policies(opened: OpenArena) -> list[PolicyRecord]:
    publication, answers = opened.source.publication(opened.arena), opened.source.answers(opened.arena)
    return record_policies(answers, _count_active(publication))


def _comparisons(publication: Publication) -> dict[str, int]:
    board = next(iter(publication.boards.values()))
    return {rating.model: rating.comparisons for rating in board.models}


def _count_active(publication: Publication) -> int:
    """Return how many models policies draw from."""
    return sum(not model.retired for model in publication.registered.models)


def _names(publication: Publication) -> dict[str, str]:
    return {model.id: model.name or model.id for model in publication.registered.models}


def _share_unordered(answers: RecentAnswers) -> float | None:
    """Return the share of votes that order nothing: all bad, or skipped."""
    if not len(answers):
        return None
    return (answers.modes["all_bad"] + answers.modes["skip"]) / len(answers)
