"""`kwise demo`: a whole arena on this machine, with simulated voters whose truth is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeline.cli.output import Format, format_option, note, print_json, print_rows, progress

if TYPE_CHECKING:
    from pipeline.contracts.log import EventLog
    from pipeline.contracts.snapshot import Board
    from producers.simulate.world import SimulatedWorld

_CHUNK: Final = 5_000
_START_TIME: Final = 1_767_225_600_000
"""The headless demo runs at a fixed time, 2026-01-01, so that the same seed gives the same output."""


@click.command(
    name="demo",
    epilog="""\b
Examples:
  kwise demo
  kwise demo --headless --votes 50000 --format json""",
)
@click.option("--headless", is_flag=True, help="No page: rate --votes votes, print the board beside the truth.")
@click.option("--votes", type=click.IntRange(min=1), help="Votes to cast; else 20000 headless, and without end live.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Votes a second, live.")
@click.option("--models", type=click.IntRange(2, 48), default=12, show_default=True, help="Number of models.")
@click.option("--k", type=click.IntRange(2, 8), default=4, show_default=True, help="Models in a matchup.")
@click.option("--noise", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Share of random ballots.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Decides models and voters.")
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Of the page.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep log and store here, and go on from what is there; else a folder that is deleted at the end.",
)
@format_option
def command(
    *,
    headless: bool,
    votes: int | None,
    rate: float,
    models: int,
    k: int,
    noise: float,
    seed: int,
    port: int,
    folder: Path | None,
    output_format: Format,
) -> None:
    """Run a whole arena on this machine: event log, job, store, gateway, pictures, pages, and simulated voters.

    Nothing to install or configure. Vote on the page: demo models draw the pictures. Simulated voters vote beside you,
    until you pause them there; their true order of the models is known, so that you can see how close the board comes.
    Ctrl-C stops everything.
    """
    from producers.simulate.world import SimulatedWorld

    if k > models:
        raise click.UsageError(f"--k {k} needs at least as many --models; there are {models}")
    world = SimulatedWorld(models=models, k=k, noise=noise, seed=seed)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kwise-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        if headless:
            _run_headless(world, votes or 20_000, folder, output_format)
        else:
            from pipeline.cli.demo_live import run_live

            run_live(world, votes, rate, folder, port)


# ------------------------------------------------------------------------------------------------ headless


def _run_headless(world: SimulatedWorld, votes: int, folder: Path, output_format: Format) -> None:
    from pipeline.cli.signals import stop_on_signals
    from pipeline.eventlog import open_log
    from pipeline.operators.rate import RateSettings
    from pipeline.store.duck_store import open_store
    from pipeline.store.reader import StoreReader
    from pipeline.streaming.job import run_job

    note(f"{votes:,} votes of simulated voters on {world.models} models, seed {world.seed}")
    moment = _START_TIME
    log = open_log(f"sqlite:{folder / 'events.db'}", clock=lambda: moment)
    with progress("casting votes", votes) as advance:
        for cast in _cast_votes(world, votes, log):
            moment += cast
            advance(cast)
    store = open_store(folder / "store", holder="kwise demo", clock=lambda: moment)
    with stop_on_signals() as stop:
        try:
            settings = RateSettings(seed=world.seed)
            run_job(
                log,
                store,
                settings,
                owner_key=str(folder / "store"),
                stop=stop,
                announce=note,
                live=False,
                bundle_polls=1,
                clock=lambda: moment,
            )
        finally:
            store.close()
        if stop.is_set():
            raise KeyboardInterrupt
    board = StoreReader(folder / "store").board(world.arena_id)
    _print_beside_truth(board, world, output_format)


def _cast_votes(world: SimulatedWorld, votes: int, log: EventLog) -> Iterator[int]:
    from pipeline.cli.demo_live import define_arena, make_records
    from pipeline.cli.logs import PARTITIONS

    log.create_topics(PARTITIONS)
    writer = log.writer()
    try:
        define_arena(log, world.arena_events(_START_TIME))
        for batch in world.batches(votes, start_time=_START_TIME, rate=1000.0, batch_size=_CHUNK):
            writer.append("votes", make_records(batch))
            yield len(batch)
    finally:
        writer.close()


def _print_beside_truth(board: Board, world: SimulatedWorld, output_format: Format) -> None:
    truth = world.truth
    if output_format == "json":
        print_json({"truth": truth, "board": board})
        return
    place = {model: number for number, model in enumerate(truth, start=1)}
    rows = [
        {
            "rank": row.rank,
            "true_rank": place[row.model],
            "model": row.name or row.model,
            "rating": row.rating,
            "rating_low": row.rating_low,
            "rating_high": row.rating_high,
            "rank_low": row.rank_low,
            "rank_high": row.rank_high,
            "comparisons": row.comparisons,
        }
        for row in board.models
    ]
    print_rows(rows, list(rows[0]), output_format)
    inside = sum((row.rank_low or 1) <= place[row.model] <= (row.rank_high or 1) for row in board.models)
    exact = sum(row.rank == place[row.model] for row in board.models)
    note(
        f"{board.votes:,} votes counted; {exact} of {len(truth)} models at their true rank, {inside} of {len(truth)} "
        "true ranks inside the rank interval"
    )
