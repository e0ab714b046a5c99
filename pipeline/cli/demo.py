"""`kwise demo`: a whole arena on this machine, with simulated voters whose truth is known."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.cli.output import Format, format_option, note, print_json, print_rows, progress

if TYPE_CHECKING:
    from pipeline.contracts.log import EventLog
    from pipeline.contracts.matchup import Matchup
    from pipeline.contracts.snapshot import Board
    from producers.simulate.world import SimulatedWorld

_STEP_S: Final = 0.1
_END_S: Final = 15.0
_LONGEST_END_S: Final = 120.0  # a job that is asked to stop while it compiles does that first
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
    """Run a whole arena on this machine: simulated voters, event log, job, store, board page.

    Nothing to install or configure. The voters' true order of the models is known, so that you can see how close the
    board comes. Ctrl-C stops everything.
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
            _run_live(world, votes, rate, folder, port)


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
    from pipeline.cli.logs import PARTITIONS

    log.create_topics(PARTITIONS)
    writer = log.writer()
    try:
        _define_arena(world, log)
        for batch in world.batches(votes, start_time=_START_TIME, rate=1000.0, batch_size=_CHUNK):
            writer.append("votes", _records(batch))
            yield len(batch)
    finally:
        writer.close()


def _records(batch: Any) -> list[Any]:
    from pipeline.contracts.log import Record

    return [Record(value, key) for value, key in zip(batch.values, batch.keys, strict=True)]


def _define_arena(world: SimulatedWorld, log: EventLog) -> None:
    from pipeline.contracts.control import encode_control
    from pipeline.contracts.log import CONTROL, Record

    writer = log.writer()
    try:
        writer.append(CONTROL, [Record(encode_control(event)) for event in world.arena_events(_START_TIME)])
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


# ------------------------------------------------------------------------------------------------ live


def _run_live(world: SimulatedWorld, votes: int | None, rate: float, folder: Path, port: int) -> None:
    from dashboard.server import make_address, start_dashboard, stop_dashboard
    from pipeline.cli.logs import open_live_log
    from pipeline.cli.signals import stop_on_signals

    url, store, host = f"sqlite:{folder / 'events.db'}", folder / "store", "127.0.0.1"
    with stop_on_signals() as stop, ExitStack() as stack:
        note(f"log and store in {folder}; starting the job and the page")
        log = open_live_log(url)
        _define_arena(world, log)
        page = start_dashboard(store, port, host)  # first: it is what fails if the port is taken
        stack.callback(stop_dashboard, page)
        reader = stack.enter_context(closing(_ProposalReader(log, store, world.arena_id)))
        job = _start_job(url, store)
        stack.enter_context(_ended(job, "job"))
        parts = {"job": job, "page": page}
        if not _wait_for(lambda: (store / "MANIFEST.json").exists() and _answers(page, port, host), parts, stop):
            return
        note(f"the board: {make_address(host, port)}   (Ctrl-C stops everything)")
        note(f"simulated voters answer the matchmaker's proposals, {rate:g} a second")
        note(f"true order: {', '.join(world.truth)}")
        _vote_live(world, votes, rate, log, reader, parts, stop)
        note("stopping")


def _answers(page: subprocess.Popen[bytes], port: int, host: str) -> bool:
    from dashboard.server import DashboardError, wait_until_ready

    try:
        wait_until_ready(page, port, host, timeout=_STEP_S)
    except DashboardError:
        if page.poll() is not None:
            raise
        return False
    return True


def _start_job(url: str, store: Path) -> subprocess.Popen[bytes]:
    """Start the job in a session of its own, so that Ctrl-C reaches it through us, in order."""
    command_line = [sys.executable, "-m", "pipeline.cli.main", "pipeline", "run", "--from", url, "--store", str(store)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command_line, start_new_session=True, env=environment)


@contextmanager
def _ended(process: subprocess.Popen[bytes], what: str) -> Iterator[None]:
    """End our process at the end of the block."""
    try:
        yield
    finally:
        _end(process, what)


def _end(
    process: subprocess.Popen[bytes], what: str, first_s: float = _END_S, longest_s: float = _LONGEST_END_S
) -> None:
    """Send SIGTERM and wait; SIGKILL when that does not help or Ctrl-C comes again. Raises `ClickException` then."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        try:
            process.wait(first_s)
        except subprocess.TimeoutExpired:
            note(f"the {what} is not done yet; waiting up to {longest_s:g} s more (Ctrl-C kills it)")
            process.wait(longest_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
        raise click.ClickException(f"the {what} did not stop and was killed; its last commit holds") from None


def _require_running(parts: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for what, process in parts.items():
        if process.poll() is not None:
            raise click.ClickException(f"the {what} ended with exit code {process.returncode}; its message is above")


def _wait_for(
    condition: Callable[[], bool], parts: Mapping[str, subprocess.Popen[bytes]], stop: threading.Event
) -> bool:
    """Wait for the condition; False if we are to stop before."""
    while not condition():
        if stop.wait(_STEP_S):
            return False
        _require_running(parts)
    return not stop.is_set()


def _vote_live(
    world: SimulatedWorld,
    votes: int | None,
    rate: float,
    log: EventLog,
    proposals: _ProposalReader,
    parts: Mapping[str, subprocess.Popen[bytes]],
    stop: threading.Event,
) -> None:
    """Answer proposals at the given rate until stopped, or until `votes` votes are cast; then wait to be stopped."""
    import numpy as np

    from pipeline.contracts.log import VOTES

    rng = np.random.default_rng([world.seed, time.time_ns()])  # with --dir, vote_ids must not come a second time
    waiting: list[Matchup] = []
    cast = 0
    started = time.monotonic()
    with closing(log.writer()) as writer:
        while not stop.wait(_STEP_S):
            _require_running(parts)
            now = time.time_ns() // 1_000_000
            waiting = [matchup for matchup in [*waiting, *proposals.read()] if matchup.expires > now]
            due = int((time.monotonic() - started) * rate) - cast
            if votes is not None:
                due = min(due, votes - cast)
            chosen, waiting = waiting[:due], waiting[due:]
            if chosen:
                writer.append(VOTES, _records(world.answer_matchups(chosen, rng, start_time=now, rate=1e6)))
                cast += len(chosen)


class _ProposalReader:
    """Reads proposals of one arena from now on, after those that are open in the store already: each once."""

    def __init__(self, log: EventLog, store: Path, arena: str) -> None:
        from pipeline.contracts.log import MATCHUPS, Position
        from pipeline.store.errors import ReaderError
        from pipeline.store.reader import StoreReader

        self._arena = arena
        self._reader = log.reader({source: Position(end) for source, end in log.ends(MATCHUPS).items()}, live=True)
        try:
            self._open = list(StoreReader(store).publication(arena).open_matchups)
        except ReaderError:  # a new store
            self._open = []
        # Votes may have come that are not rated or not published yet, and a new job writes some proposals once more.
        answered = _read_answered(log)
        self._open = [matchup for matchup in self._open if matchup.matchup_id not in answered]
        self._known = answered | {matchup.matchup_id for matchup in self._open}

    def read(self) -> list[Matchup]:
        """Return what came since the last call."""
        from pipeline.contracts.log import MATCHUPS
        from pipeline.contracts.matchup import decode_matchup

        first, self._open = self._open, []
        come = [decode_matchup(value) for value in self._reader.poll(MATCHUPS, 10_000, 0.0).values]
        return first + [new for new in come if new.arena == self._arena and new.matchup_id not in self._known]

    def close(self) -> None:
        """Close the log's reader."""
        self._reader.close()


def _read_answered(log: EventLog) -> set[str]:
    """Return the matchups that votes in the log answer."""
    import msgspec

    from pipeline.contracts.log import VOTES
    from pipeline.contracts.vote import Vote

    decoder = msgspec.json.Decoder(Vote)
    answered: set[str] = set()
    with closing(log.reader({}, live=False)) as reader:
        while values := reader.poll(VOTES, 40_000, 0.0).values:
            for value in values:
                with suppress(msgspec.DecodeError, UnicodeDecodeError):  # dead letters
                    answered.add(decoder.decode(value).matchup_id)
    return answered
