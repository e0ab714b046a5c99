"""A big arena that is voted in: its log, and its job."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.path.freshness import StoreReaderWhenThere
from benchmarks.path.world import fill_log, prepare_log
from pipeline.contracts.log import VOTES, EventLog
from pipeline.eventlog import open_log
from producers.simulate.world import SimulatedWorld

_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Arena:
    """An arena while its job runs."""

    log: EventLog
    store: Path
    world: SimulatedWorld


@contextmanager
def run_arena(folder: Path, models: int, votes: int) -> Iterator[Arena]:
    """Fill a log with `votes` votes, and run the job on it while the block runs; it has caught up."""
    world = SimulatedWorld(models=models, seed=1)
    log = prepare_log(open_log(f"sqlite:{folder / 'events.db'}"), world)
    fill_log(log, votes, rate=1_000.0, world=world)
    store = folder / "store"
    command = [sys.executable, "-m", "pipeline.cli.main", "pipeline", "run", "--from", log.url, "--store", str(store)]
    job = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for_votes(store, votes)
        yield Arena(log, store, world)
    finally:
        job.terminate()
        job.wait(60)


def _wait_for_votes(store: Path, votes: int) -> None:
    reader, end = StoreReaderWhenThere(store), time.monotonic() + _LIMIT_S
    while reader.votes() < votes:
        if time.monotonic() >= end:
            raise TimeoutError(f"{votes} votes were not on the board after {_LIMIT_S:g} s")
        time.sleep(0.5)


@contextmanager
def keep_voting(arena: Arena, rate: float) -> Iterator[None]:
    """Append `rate` votes a second while the block runs."""
    ended = threading.Event()

    def vote() -> None:
        writer = arena.log.writer()
        batch = max(1, round(rate / 5))
        more = SimulatedWorld(models=arena.world.models, seed=2).batches(int(1e9), rate=rate, batch_size=batch)
        while not ended.wait(batch / rate):
            writer.append(VOTES, next(more).records())
        writer.close()

    thread = threading.Thread(target=vote)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
