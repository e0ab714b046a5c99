"""What happened, ever, by arena: sums that outlive the rows. And the queue as it is now."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from enum import StrEnum

from producers.dispatcher.types import MatchupState


class Total(StrEnum):
    """A sum over the life of the file; the names are those of `types.ArenaCounts`."""

    TAKEN = "taken"
    MADE = "made"
    SHOWN = "shown_ever"
    VOTED = "voted"
    EXPIRED = "expired"
    MADE_NEVER_SHOWN = "made_never_shown"
    CANCELLED = "cancelled"
    JOBS_DONE = "jobs_done"
    JOBS_REFUSED = "jobs_refused"
    JOBS_FAILED = "jobs_failed"
    JOBS_LAPSED = "jobs_lapsed"
    JOBS_DEAD = "jobs_dead"


_ADD = "INSERT INTO totals VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
_STATES = """
    SELECT arena, state, count(*), min(ready_at) FROM matchups INDEXED BY living WHERE state <= 2
    GROUP BY arena, state
"""
_LEASED = """
    SELECT m.arena, count(DISTINCT m.number) FROM jobs j INDEXED BY leases CROSS JOIN slots s ON s.job = j.number
    CROSS JOIN matchups m ON m.number = s.matchup WHERE j.state = 1 AND m.state = 0 GROUP BY m.arena
"""
_JOBS_LEASED = "SELECT arena, count(*) FROM jobs INDEXED BY leases WHERE state = 1 GROUP BY arena"
# Through the matchups: jobs that only ended ones needed do not wait for anybody.
_JOBS_WAITING = """
    SELECT j.arena, count(DISTINCT j.number) FROM matchups m INDEXED BY proposed
    CROSS JOIN slots s ON s.matchup = m.number CROSS JOIN jobs j ON j.number = s.job
    WHERE m.state = 0 AND j.state = 0 GROUP BY j.arena
"""


def add_total(connection: sqlite3.Connection, arena: str, what: Total, n: int = 1) -> None:
    """Add `n` to a sum."""
    connection.execute(_ADD, (arena, what.value, n))


def read_totals(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return all sums, by arena and name."""
    sums: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for arena, what, n in connection.execute("SELECT arena, what, n FROM totals").fetchall():
        sums[arena][what] = n
    return sums


def read_queue(connection: sqlite3.Connection, now: int) -> dict[str, dict[str, int]]:
    """Return what is in which state now, by arena and name of `ArenaCounts`; nothing there is left out."""
    queue: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for arena, state, n, ready_at in connection.execute(_STATES).fetchall():
        queue[arena][MatchupState(state).name.lower()] = n
        if state == MatchupState.READY:
            queue[arena]["oldest_ready_ms"] = max(now - ready_at, 0)
    for arena, n in connection.execute(_LEASED).fetchall():
        queue[arena]["leased"] = n
        queue[arena]["proposed"] -= n
    for name, statement in (("jobs_leased", _JOBS_LEASED), ("jobs_waiting", _JOBS_WAITING)):
        for arena, n in connection.execute(statement).fetchall():
            queue[arena][name] = n
    return queue
