"""The HTML of a model's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dashboard.board_filter import ACCESS_LABELS
from dashboard.formatting import (
    ABSENT,
    format_chance,
    format_count,
    format_interval,
    format_plural,
    format_rank_interval,
    format_share,
    format_signed,
    format_value,
)
from dashboard.links import BOARD_PAGE, link_model, render_link
from dashboard.markup import Figure, Markup, TableColumn, escape_text, render_figures, render_table
from dashboard.methods import MethodNote, draw_rating
from dashboard.pairs.table import SURPRISE, Pair, PairTable
from dashboard.recent_answers import PromptRecord
from pipeline.contracts.arena import Model
from pipeline.contracts.snapshot import Board, ModelRating

_LINK_SCHEMES: Final = ("https://", "http://")


def render_facts(model: Model, arena: str) -> str:
    """Render what the registry says of a model; each value leads to the board of the models that share it."""
    facts = []
    for facet, value in (("organization", model.organization), ("license", model.license), ("access", model.access)):
        if value:
            label = ACCESS_LABELS.get(value, value) if facet == "access" else value
            facts.append(render_link(label, BOARD_PAGE, arena=arena, **{facet: value}))
    facts += [render_link(tag, BOARD_PAGE, arena=arena, tag=tag) for tag in model.tags]
    url = model.url or ""
    if url.lower().startswith(_LINK_SCHEMES):
        away = 'target="_blank" rel="noopener noreferrer nofollow"'
        facts.append(f'<a class="kw-link" href="{escape_text(url)}" {away}>Website</a>')
    facts.append(f"<code>{escape_text(model.id)}</code>")
    retired = '<span class="kw-tag">retired</span>' if model.retired else ""
    return f'<p class="kw-facts">{"".join(f"<span>{fact}</span>" for fact in facts)}{retired}</p>'


def render_model_figures(rating: ModelRating, board: Board, note: MethodNote, table: PairTable | None) -> str:
    """Render rank, rating, chance to be the best, and what the votes on the model were."""
    drawn = draw_rating(rating, board.method)
    interval = format_interval(drawn.low, drawn.high, note.unit)
    ranks = format_rank_interval(rating.rank_low, rating.rank_high).strip("()")
    prior = board.votes == 0
    rank = Figure(
        "Rank",
        ABSENT if prior else format_count(rating.rank),
        f"credible: {ranks}" if ranks else "no interval by this method",
        unit=f"of {format_count(len(board.models))}",
    )
    figures = [
        rank,
        Figure(
            note.heading,
            format_value(drawn.number, note.unit),
            _say_interval(interval, board),
        ),
        Figure(
            "P(best)",
            ABSENT if prior else format_chance(rating.p_best),
            "of all in the arena" if rating.p_best is not None else "not said by this method",
        ),
        Figure("Votes", format_count(rating.votes), format_plural(rating.comparisons, "comparison")),
    ]
    return render_figures(figures) + ("" if table is None else _render_answers(table, rating.model))


def _say_interval(interval: str, board: Board) -> str:
    if not board.votes:
        return "before the first vote"
    if interval == ABSENT:
        return "no interval"
    return interval if board.method == "ksort" else f"95 %: {interval}"


def _render_answers(table: PairTable, model: str) -> str:
    place = table.index(model)
    bad, skips = int(table.all_bad[place]), int(table.skips[place])
    shown = int(table.shown[place]) + bad + skips
    if not shown:
        return '<p class="kw-legend">It has not been shown so far.</p>'
    met = int((table.votes()[place] > 0).sum())
    return (
        f'<p class="kw-legend">Shown in {format_plural(shown, "answered matchup")}: {format_count(bad)} '
        f"({_share(bad, shown)}) called all bad, {format_count(skips)} ({_share(skips, shown)}) skipped. "
        f"It has met {met} of the other "
        f"{format_plural(len(table.model_ids) - 1, 'model')}.</p>"
    )


def _share(part: int, whole: int) -> str:
    return format_share(part / whole)


def render_opponents(opponents: Sequence[tuple[ModelRating, Pair]], arena: str, title: str) -> str:
    """Render how a model did against each other one: `opponents` in the order of their ranks."""
    columns = (
        TableColumn("Against"),
        TableColumn("Won, tied, lost"),
        TableColumn("Votes", is_number=True, wide_only=True),
        TableColumn("Seen", is_number=True),
        TableColumn("Predicted", is_number=True),
        TableColumn("Stronger", is_number=True, wide_only=True),
    )
    rows: list[list[str | Markup]] = [
        [
            _render_ranked(rating, arena),
            _render_outcomes(pair),
            format_count(pair.votes),
            _mark_surprise(pair),
            format_chance(pair.predicted),
            format_chance(pair.stronger),
        ]
        for rating, pair in opponents
    ]
    return render_table(columns, rows, f"{title} against each other model")


def _render_ranked(rating: ModelRating, arena: str) -> Markup:
    link = link_model(rating.name or rating.model, arena, rating.model).html
    return Markup(f'<i class="kw-place" title="rank {rating.rank}">{rating.rank}</i> {link}')


def _mark_surprise(pair: Pair) -> str | Markup:
    text = format_share(pair.seen)
    if pair.surprise is None or abs(pair.surprise) < SURPRISE:
        return text
    kind, word = ("kw-above", "more") if pair.surprise > 0 else ("kw-below", "less")
    said = f"{word} than predicted by {format_signed(abs(pair.surprise), 1).lstrip('+')} standard errors"
    mark = "▲" if pair.surprise > 0 else "▼"
    return Markup(f'<span class="{kind}" title="{said}"><i aria-label="{said}" role="img">{mark}</i> {text}</span>')


def _render_outcomes(pair: Pair) -> str | Markup:
    if not pair.votes:
        return Markup('<span class="kw-faint">no vote so far</span>')
    said = f"won {pair.wins}, tied {pair.ties}, lost {pair.losses}"
    parts = "".join(
        f'<i class="kw-{name}" style="flex-grow:{count}"></i>'
        for name, count in (("w", pair.wins), ("t", pair.ties), ("l", pair.losses))
        if count
    )
    return Markup(f'<div class="kw-outcomes" role="img" aria-label="{said}" title="{said}">{parts}</div>')


def list_losses(opponents: Sequence[tuple[ModelRating, Pair]], rank: int, limit: int) -> list[tuple[ModelRating, Pair]]:
    """Return the opponents that a model should have beaten, the most surprising first.

    Those it does worse against than predicted, and, where nothing is predicted, those ranked below it that have won
    more often than they lost. `describe_losses` says which.
    """

    def loss(pair: Pair, rating: ModelRating) -> float:
        if pair.surprise is not None:
            return -pair.surprise
        return pair.losses - pair.wins if rating.rank > rank else 0.0

    scored = [(loss(pair, rating), rating, pair) for rating, pair in opponents]
    least = SURPRISE
    found = sorted((each for each in scored if each[0] >= least), key=lambda each: -each[0])
    return [(rating, pair) for _, rating, pair in found[:limit]]


def describe_losses(opponents: Sequence[tuple[ModelRating, Pair]]) -> tuple[str, str]:
    """Return what `list_losses` lists, and what to say where that is none."""
    if not any(pair.votes for _, pair in opponents):
        return "no votes so far", "It has met no other model so far."
    if any(pair.surprise is not None for _, pair in opponents):
        return "less than predicted, by 2 standard errors or more", "No model: it wins as often as predicted."
    return "ranked below it, and won 2 votes more or better", "No model that is ranked below it."


def render_losses(losses: Sequence[tuple[ModelRating, Pair]], arena: str) -> str:
    """Render the opponents that a model should have beaten."""
    columns = (
        TableColumn("Against"),
        TableColumn("Seen", is_number=True),
        TableColumn("Predicted", is_number=True),
        TableColumn("Votes", is_number=True),
    )
    rows: list[list[str | Markup]] = [
        [
            link_model(rating.name or rating.model, arena, rating.model),
            format_share(pair.seen),
            format_chance(pair.predicted),
            format_count(pair.votes),
        ]
        for rating, pair in losses
    ]
    return render_table(columns, rows, "Models against which it falls short")


def render_prompts(records: Sequence[PromptRecord], texts: Mapping[str, str]) -> str:
    """Render the prompts on which a model does worst; `texts` by prompt id."""
    columns = (
        TableColumn("Prompt"),
        TableColumn("Pairs won", is_number=True),
        TableColumn("Votes", is_number=True),
    )
    rows = [
        (
            "typed by voters" if record.prompt is None else texts.get(record.prompt, record.prompt),
            format_share(record.share),
            format_count(record.votes),
        )
        for record in records
    ]
    return render_table(columns, rows, "Prompts on which it does worst")
