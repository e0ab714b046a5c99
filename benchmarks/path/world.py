"""The votes that all parts of this benchmark use: 50 models, K = 4."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.contracts.control import encode_control
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, EventLog, Record
from pipeline.eventlog import open_log
from producers.simulate.world import START_TIME, SimulatedWorld

PARTITIONS = {VOTES: 4, CONTROL: 1, MATCHUPS: 1}
NEVER = threading.Event()


def make_world() -> SimulatedWorld:
    """Return the simulated arena."""
    return SimulatedWorld(models=50, k=4, seed=1)


def make_log(path: Path) -> EventLog:
    """Return a new SQLite log with the arena in it."""
    return prepare_log(open_log(f"sqlite:{path}"))


def prepare_log(log: EventLog, world: SimulatedWorld | None = None) -> EventLog:
    """Create the topics and apply the arena of a world (None: `make_world`); return the log."""
    log.create_topics(PARTITIONS)
    writer = log.writer()
    writer.append(
        CONTROL, [Record(encode_control(event)) for event in (world or make_world()).arena_events(START_TIME)]
    )
    writer.close()
    return log


def fill_log(log: EventLog, votes: int, *, rate: float = 5_000.0, world: SimulatedWorld | None = None) -> None:
    """Append `votes` votes whose own times are `rate` a second."""
    writer = log.writer()
    for batch in (world or make_world()).batches(votes, rate=rate, batch_size=10_000):
        writer.append(VOTES, batch.records())
    writer.close()
