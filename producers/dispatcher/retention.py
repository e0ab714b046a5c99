"""Matchups expire, and rows that nobody needs any more are forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from producers.dispatcher.totals import Total, add_total
from producers.dispatcher.types import Expired, MatchupState, Purged

AT_ONCE = 500
"""Rows forgotten in one transaction: voters wait for no longer one."""

_OVERDUE = """
    SELECT number, arena, state FROM matchups INDEXED BY living WHERE state <= 2 AND expires <= ?
    AND (state < 2 OR expires <= ?) ORDER BY expires
"""
_EXPIRE = "UPDATE matchups SET state = 4, ended_at = ? WHERE number = ?"
_ENDED = "SELECT number FROM matchups INDEXED BY ended WHERE state > 2 AND ended_at < ? LIMIT ?"
_UNUSED = """
    SELECT number FROM jobs j INDEXED BY touched WHERE touched_at < ? AND state <> 1
    AND NOT EXISTS (SELECT 1 FROM slots s WHERE s.job = j.number) LIMIT ?
"""


def expire_matchups(connection: sqlite3.Connection, now: int, latest: int) -> Expired:
    """End the matchups that expire by `latest` and were not shown, and those shown that expire by `now`."""
    counts = {MatchupState.PROPOSED: 0, MatchupState.READY: 0, MatchupState.SHOWN: 0}
    for number, arena, state in connection.execute(_OVERDUE, (max(latest, now), now)).fetchall():
        connection.execute(_EXPIRE, (now, number))
        add_total(connection, arena, Total.EXPIRED)
        if state == MatchupState.READY:
            add_total(connection, arena, Total.MADE_NEVER_SHOWN)
        counts[MatchupState(state)] += 1
    return Expired(*counts.values())


def purge_rows(connection: sqlite3.Connection, before: int) -> Purged:
    """Forget up to `AT_ONCE` matchups that ended before `before` (ms), and as many jobs that nothing needs since."""
    matchups = connection.execute(_ENDED, (before, AT_ONCE)).fetchall()
    connection.executemany("DELETE FROM slots WHERE matchup = ?", matchups)
    connection.executemany("DELETE FROM matchups WHERE number = ?", matchups)
    jobs = connection.execute(_UNUSED, (before, AT_ONCE)).fetchall()
    connection.executemany("DELETE FROM jobs WHERE number = ?", jobs)
    return Purged(len(matchups), len(jobs))


def find_referenced(connection: sqlite3.Connection, hashes: Iterable[str]) -> set[str]:
    """Return those of `hashes` that are artifacts of a job."""
    found = set()
    for hashed in hashes:
        if connection.execute("SELECT 1 FROM jobs WHERE sha256 = ? LIMIT 1", (hashed,)).fetchone():
            found.add(hashed)
    return found
