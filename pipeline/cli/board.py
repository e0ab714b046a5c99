"""`kwise board`: leaderboards, now and in the past."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.output import (
    Column,
    Format,
    examples,
    format_option,
    misuse,
    note,
    print_json,
    print_rows,
    store_option,
)
from pipeline.cli.times import TIME, TIME_HELP, format_time

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.contracts.snapshot import Board, ModelRating

MODEL_KEYS: Final = (
    "rank",
    "rank_low",
    "rank_high",
    "model",
    "name",
    "organization",
    "license",
    "mean",
    "sd",
    "low",
    "high",
    "score",
    "rating",
    "rating_low",
    "rating_high",
    "votes",
    "comparisons",
    "group",
    "p_best",
)
"""Keys of a model in JSON and columns of CSV, in this order: section 6 of the architecture."""

HISTORY_COLUMNS: Final = (
    "time",
    "commit",
    "model",
    "rank",
    "mean",
    "sd",
    "low",
    "high",
    "rating",
    "votes",
)

arena_option = click.option("--arena", metavar="ID", help="Needed if the store has several.")
method_option = click.option(
    "--method", metavar="NAME", help="posterior (default), average, ksort, elo, win_rate: what the job publishes."
)


@click.group()
def command() -> None:
    """Leaderboards: now, at a past time, and their history."""


@command.command(
    epilog=examples(
        "kwise board show --store store", "kwise board show --store store --method ksort --at -1h --format json"
    )
)
@store_option
@arena_option
@method_option
@click.option("--at", type=TIME, metavar="TIME", help=f"The board as published at TIME: {TIME_HELP}")
@format_option
def show(store: Path, arena: str | None, method: str | None, at: int | None, output_format: Format) -> None:
    """Show a leaderboard."""
    from pipeline.cli.published import choose_arena, choose_method, open_store

    reader = open_store(store)
    chosen = choose_arena(reader.arenas(), arena)
    by = choose_method(reader.publication(chosen).boards, method)
    print_board(reader.board(chosen, by, at=at), output_format)


@command.command(epilog=examples("kwise board history --store store --since -1d --format csv"))
@store_option
@arena_option
@method_option
@click.option("--model", "models", multiple=True, metavar="ID", help="Only this model; may be repeated.")
@click.option("--since", type=TIME, metavar="TIME", help=f"From TIME on: {TIME_HELP}")
@click.option("--until", type=TIME, metavar="TIME", help="Up to TIME.")
@format_option
def history(
    store: Path,
    arena: str | None,
    method: str | None,
    models: tuple[str, ...],
    since: int | None,
    until: int | None,
    output_format: Format,
) -> None:
    """Print past ratings, one line a model and commit, oldest first."""
    from pipeline.cli.published import choose_arena, choose_method, open_store

    reader = open_store(store)
    chosen = choose_arena(reader.arenas(), arena)
    publication = reader.publication(chosen)
    by = choose_method(publication.boards, method)
    known = [model.id for model in publication.registered.models]
    if unknown := [model for model in models if model not in known]:
        misuse(f"arena {chosen} has no model {', '.join(unknown)}; it has {', '.join(known) or 'none yet'}")
    table = reader.history(chosen, by, models=list(models) or None, since=since, until=until)
    print_rows(_history_rows(table), HISTORY_COLUMNS, output_format)


def print_board(board: Board, output_format: Format) -> None:
    """Print a board: JSON as in section 6 of the architecture, CSV with its columns, or a table."""
    if output_format == "json":
        print_json(board)
        return
    if board.rebuilding:
        note("this board is being rebuilt after a retraction: votes taken out may still be in it")
    if output_format == "csv":
        print_rows([_full_row(rating) for rating in board.models], MODEL_KEYS, "csv")
        return
    note(describe_board(board))
    rows, columns = tabulate_board(board)
    print_rows(rows, columns, "table")


def describe_board(board: Board) -> str:
    """Return the heading of a board: what it is, as of when, from how many votes."""
    as_of = f"as of {format_time(board.as_of)}" if board.as_of is not None else "no votes yet"
    return (
        f"{board.arena}, by {board.method} ({board.methodology}), {as_of}: "
        f"{board.votes} vote{'s' * (board.votes != 1)}, commit {board.commit}"
    )


def tabulate_board(board: Board) -> tuple[list[Mapping[str, Any]], list[Column]]:
    """Return rows and columns of a board for people.

    On the published scale where the method has one, else in its own units; where ranks do not follow the mean
    (`ksort`), the score that they follow is a column of its own.
    """
    scaled = any(rating.rating is not None for rating in board.models)
    grouped = any(rating.group is not None for rating in board.models)
    scored = any(rating.score not in {None, rating.mean} for rating in board.models)

    def number(value: float) -> str:
        return f"{value:.0f}" if scaled else f"{value:.3f}"

    value = "rating" if scaled else "mean"
    columns = [
        Column("rank", "#"),
        Column("ranks"),
        *([Column("group")] if grouped else []),
        Column("model"),
        Column("organization"),
        *([Column("score", text=number)] if scored and not scaled else []),
        Column("value", value, text=number),
        Column("margin", "±", text=number),
        Column("interval"),
        Column("votes"),
        Column("comparisons"),
    ]
    rows: list[Mapping[str, Any]] = []
    for rating in board.models:
        low, high = (rating.rating_low, rating.rating_high) if scaled else (rating.low, rating.high)
        rows.append(
            {
                "rank": rating.rank,
                "ranks": _rank_span(rating.rank_low, rating.rank_high),
                "group": rating.group,
                "model": rating.name or rating.model,
                "organization": rating.organization,
                "score": rating.score,
                "value": rating.rating if scaled else rating.mean,
                "margin": None if low is None or high is None else (high - low) / 2,
                "interval": _span(low, high, number),
                "votes": rating.votes,
                "comparisons": rating.comparisons,
            }
        )
    return rows, columns


def _rank_span(low: int | None, high: int | None) -> str | None:
    if low is None or high is None:
        return None
    return str(low) if low == high else f"{low}–{high}"


def _span(low: float | None, high: float | None, text: Callable[[float], str]) -> str | None:
    return None if low is None or high is None else f"{text(low)} … {text(high)}"


def _full_row(rating: ModelRating) -> dict[str, Any]:
    return {key: getattr(rating, key) for key in MODEL_KEYS}


def _history_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    ordered = table.sort_by([("commit", "ascending"), ("rank", "ascending")])
    for batch in ordered.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield {**row, "time": format_time(row["log_time"])}
