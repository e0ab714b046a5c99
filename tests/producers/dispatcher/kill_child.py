"""A gateway's day in a loop, to be killed: takes proposals in from a real log, makes, shows and votes, and reports."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.eventlog.blocks import wall_clock_ms
from pipeline.eventlog.sqlite_log import SqliteLog
from producers.artifacts.store import open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.intake import Intake
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Showing
from tests.producers.dispatcher.queues import ARENA, finish

SETTINGS = DispatcherSettings(ready_min=30, lease_s=0.3, max_attempts=1_000)


def open_queue(folder: Path) -> Dispatcher:
    """Open the queue of the test as life does: flushed, unguessable."""
    artifacts = open_artifacts(folder / "artifacts", clock=wall_clock_ms)
    return Dispatcher(folder / "queue.db", artifacts, SETTINGS)


def serve_until_killed(folder: Path, report: Connection) -> None:
    """Do everything that a gateway does to its queue; report each showing when it would be answered."""
    dispatcher = open_queue(folder)
    Intake(SqliteLog(folder / "log.db"), dispatcher)
    report.send(None)
    turn = 0
    while True:
        turn += 1
        now = wall_clock_ms()
        finish(dispatcher, dispatcher.lease_jobs("w", max_jobs=8, now=now)[turn % 3 :], now)  # some are never made
        dispatcher.expire(now)
        for voter in range(3):
            showing = dispatcher.show_next(ARENA, f"v{voter}", now)
            if isinstance(showing, Showing):
                report.send(showing.matchup.matchup_id)
                if turn % 2:
                    dispatcher.claim_vote(showing.matchup.matchup_id, f"vote-{turn}-{voter}", now)
                    dispatcher.note_voted(showing.matchup.matchup_id, f"vote-{turn}-{voter}", now)
