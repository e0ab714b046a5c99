"""`kwise matchup`: which models to compare next, from the published state of an arena."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.board import arena_option
from pipeline.cli.output import Column, Format, examples, fail, format_option, misuse, print_rows, store_option

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.contracts.matchup import Matchup
    from pipeline.contracts.snapshot import Publication
    from pipeline.matchmaking.view import ArenaView

_COLUMNS: Final = (
    "schema",
    "matchup_id",
    "arena",
    "models",
    "prompt",
    "policy",
    "propensity",
    "commit",
    "created",
    "expires",
    "priority",
)
_TABLE_COLUMNS: Final = (
    Column("matchup_id"),
    Column("models"),
    Column("prompt", text=lambda prompt: str(prompt.get("text") or prompt["id"])),
    Column("policy"),
    Column("propensity"),
)


@click.group()
def command() -> None:
    """Which models to compare next."""


@command.command(epilog=examples("kwise matchup suggest --store store --count 5 --format json"))
@store_option
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many.")
@arena_option
@click.option("--policy", metavar="NAME", help="gibbs, ksort or random. Default: the arena's own.")
@click.option("--seed", type=click.IntRange(min=0), help="Default: made from arena and commit.")
@format_option
def suggest(
    store: Path,
    count: int,
    arena: str | None,
    policy: str | None,
    seed: int | None,
    output_format: Format,
) -> None:
    """Suggest matchups for the state that the store published last. Nothing is written.

    The matchups that are open count as if answered, and so does each suggestion for the next. The same store,
    policy and seed give the same suggestions. Their time of creation is that of the newest vote.
    """
    import msgspec

    from pipeline.cli.published import choose_arena, open_store

    reader = open_store(store)
    chosen = choose_arena(reader.arenas(), arena)
    publication = reader.publication(chosen)
    matchups = suggest_matchups(publication, reader.counts(chosen), count, policy=policy, seed=seed)
    rows: list[dict[str, Any]] = [msgspec.to_builtins(matchup) for matchup in matchups]
    print_rows(rows, _TABLE_COLUMNS if output_format == "table" else _COLUMNS, output_format)


def suggest_matchups(
    publication: Publication, counts: pa.Table, count: int, *, policy: str | None, seed: int | None
) -> list[Matchup]:
    """Return `count` matchups for a published arena: a function of these arguments alone."""
    import numpy as np

    from pipeline.matchmaking.policies import POLICIES
    from pipeline.matchmaking.propose import propose_matchups
    from pipeline.matchmaking.view import describe_shortage
    from pipeline.rating.errors import RatingError

    registered = publication.registered
    name = policy or registered.arena.settings.policy
    if name not in POLICIES:
        misuse(f"unknown policy {name!r}; choose one with --policy: {', '.join(sorted(POLICIES))}")
    try:
        view = view_publication(publication, counts, policy=name)
    except RatingError as error:
        fail(f"arena {registered.arena.id} cannot be rated, try --policy random: {error}")
    if shortage := describe_shortage(view):
        fail(f"arena {registered.arena.id}: {shortage}")
    rng = np.random.default_rng([publication.commit if seed is None else seed, *registered.arena.id.encode()])
    return propose_matchups(
        registered, view, count, rng, now=publication.log_time, commit=publication.commit, policy=name
    )


def view_publication(publication: Publication, counts: pa.Table, *, policy: str) -> ArenaView:
    """Return a published arena as `policy` sees it. Raises `pipeline.rating.errors.FitError`."""
    import numpy as np

    from pipeline.matchmaking.propose import view_arena
    from pipeline.rating.ksort_filter import KsortState
    from pipeline.rating.pair_counts import PairCounts

    stored = publication.filters.get("ksort", {"mu": [], "s2": []})
    ksort = KsortState(np.array(stored["mu"], np.float64), np.array(stored["s2"], np.float64))
    pair_counts = PairCounts.from_columns(counts)
    return view_arena(publication.registered, pair_counts, ksort, publication.open_matchups, policy=policy)
