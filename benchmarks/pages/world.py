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

from pipeline.contracts.control import encode_control
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, EventLog, Record
from pipeline.eventlog import open_log
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from producers.simulate.world import START_TIME, SimulatedWorld

ARENA = "simulated"
_LIMIT_S = 900.0
_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Arena:
    """An arena while its job runs."""

    log: EventLog
    store: Path
    world: SimulatedWorld
    job: subprocess.Popen[bytes]


@contextmanager
def run_arena(folder: Path, models: int, votes: int) -> Iterator[Arena]:
    """Fill a log with `votes` votes, and run the job on it while the block runs; it has caught up."""
    world = SimulatedWorld(models=models, seed=1)
    log = open_log(f"sqlite:{folder / 'events.db'}")
    log.create_topics({VOTES: 4, CONTROL: 1, MATCHUPS: 1})
    writer = log.writer()
    writer.append(CONTROL, [Record(encode_control(event)) for event in world.arena_events(START_TIME)])
    for batch in world.batches(votes, rate=1_000.0, batch_size=_BATCH):
        writer.append(VOTES, batch.records())
    writer.close()
    store = folder / "store"
    command = [sys.executable, "-m", "pipeline.cli.main", "pipeline", "run", "--from", log.url, "--store", str(store)]
    job = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for_votes(store, votes)
        yield Arena(log, store, world, job)
    finally:
        job.terminate()
        job.wait(60)


def wait_for_votes(store: Path, votes: int) -> None:
    """Wait until the board counts `votes` votes."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        try:
            if StoreReader(store).board(ARENA).votes >= votes:
                return
        except ReaderError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{votes} votes were not on the board after {_LIMIT_S:g} s")


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
