"""`kwise matchup`: which models to compare next, and what votes say apart from who met whom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.board import arena_option
from pipeline.cli.output import (
    Column,
    Format,
    examples,
    fail,
    format_option,
    misuse,
    note,
    print_json,
    print_rows,
    store_option,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.contracts.matchup import Matchup
    from pipeline.contracts.snapshot import Publication
    from pipeline.rating.reweighting import OffPolicyCheck

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
    """Which models to compare next, and checks of what was compared."""


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
    from pipeline.matchmaking.propose import propose_matchups, view_publication
    from pipeline.matchmaking.view import describe_shortage
    from pipeline.rating.errors import RatingError
    from pipeline.rating.pair_counts import PairCounts

    registered = publication.registered
    name = policy or registered.arena.settings.policy
    if name not in POLICIES:
        misuse(f"unknown policy {name!r}; choose one with --policy: {', '.join(sorted(POLICIES))}")
    try:
        view = view_publication(publication, PairCounts.from_columns(counts), policy=name)
    except RatingError as error:
        fail(f"arena {registered.arena.id} cannot be rated, try --policy random: {error}")
    if shortage := describe_shortage(view):
        fail(f"arena {registered.arena.id}: {shortage}")
    rng = np.random.default_rng([publication.commit if seed is None else seed, *registered.arena.id.encode()])
    return propose_matchups(
        registered, view, count, rng, now=publication.log_time, commit=publication.commit, policy=name
    )


@command.command(epilog=examples("kwise matchup audit --store store"))
@store_option
@arena_option
@format_option
def audit(store: Path, arena: str | None, output_format: Format) -> None:
    """Check the votes of a store apart from who met whom and in which slot.

    A matchmaker shows near models to each other, so the share of pairs that a model won says whom it met. Reweighted
    by the propensities of their matchups, votes say what uniformly random matchups would have shown; votes without a
    propensity are left out. Slots are random: each should win half of its pairs.
    """
    from pipeline.cli.published import choose_arena, open_store
    from pipeline.operators.off_policy import check_archive

    reader = open_store(store)
    chosen = choose_arena(reader.arenas(), arena)
    registered = reader.publication(chosen).registered
    retractions = reader.retractions()
    check = check_archive(
        reader.read_archive(),
        chosen,
        [model.id for model in registered.models],
        choose_retracted=retractions.affect if retractions else None,
    )
    _print_check(check, chosen, [model.id for model in registered.models], output_format)


def _print_check(check: OffPolicyCheck, arena: str, model_ids: list[str], output_format: Format) -> None:
    models = [
        {"model": model, "win_rate": plain, "reweighted": found.share, "low": found.low, "high": found.high}
        for model, plain, found in zip(model_ids, check.plain, check.reweighted, strict=True)
    ]
    models.sort(key=lambda row: (row["reweighted"] is None, -float(row["reweighted"] or 0.0), row["model"]))
    slots = [
        {"slot": slot, "win_rate": found.share, "low": found.low, "high": found.high}
        for slot, found in enumerate(check.slots, start=1)
        if found.share is not None
    ]
    totals = {
        "votes": check.votes,
        "without_propensity": check.without_propensity,
        "effective_votes": check.effective_votes,
    }
    if output_format == "json":
        print_json({"arena": arena, **totals, "models": models, "slots": slots})
        return
    print_rows(models, list(models[0]) if models else [], output_format)
    note(
        f"{check.votes:,} votes with an order; {check.without_propensity:,} without a propensity are left out of the "
        f"reweighted ones, the others are worth {check.effective_votes:,.0f} votes on uniform matchups"
    )
    for row in slots:
        low, high = row["low"], row["high"]
        biased = low is not None and high is not None and not float(low) <= 0.5 <= float(high)
        between = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
        note(f"slot {row['slot']} won {row['win_rate']:.3f}{between} of its pairs{': position bias' if biased else ''}")
