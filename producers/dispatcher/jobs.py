"""Jobs end: done, refused, failed, given back or lapsed; and what follows for the matchups that need them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from producers.artifacts.store import Artifact
from producers.dispatcher.errors import StaleFence
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.totals import Total, add_total
from producers.dispatcher.types import JobState

_REASON_MAX: Final = 500
_LAPSED: Final = "its worker went silent"

_JOB = "SELECT number, arena, state, attempts, fence FROM jobs WHERE job_id = ?"
_LAPSED_JOBS = """
    SELECT number, arena, attempts, fence FROM jobs INDEXED BY leases WHERE state = 1 AND lease_until <= ?
    ORDER BY lease_until, number
"""
_WANTED = """
    SELECT EXISTS (SELECT 1 FROM slots s JOIN matchups m ON m.number = s.matchup WHERE s.job = ? AND m.state = 0)
"""
_END = (
    "UPDATE jobs SET state = ?, sha256 = ?, media_type = ?, reason = ?, touched_at = ?, worker = NULL WHERE number = ?"
)
_GIVE_BACK = """
    UPDATE jobs SET state = ?, attempts = ?, not_before = ?, reason = ?, touched_at = ?, fence = ?, worker = NULL
    WHERE number = ?
"""
_NEEDED_BY = """
    SELECT m.number, m.begun_at FROM slots s JOIN matchups m ON m.number = s.matchup
    WHERE s.job = ? AND m.state = 0 ORDER BY m.number
"""
_ONE_LESS = "UPDATE matchups SET missing = missing - 1 WHERE number = ? RETURNING missing"
_ANY_DONE = """
    SELECT EXISTS (SELECT 1 FROM slots s JOIN jobs j ON j.number = s.job WHERE s.matchup = ? AND j.state = 2)
"""
_CANCEL = "UPDATE matchups SET state = 5, ended_at = ? WHERE number = ?"
_READY = "UPDATE matchups SET state = 1, ready_at = ? WHERE number = ?"


class _Held(NamedTuple):
    number: int
    arena: str
    state: JobState
    attempts: int


class Made(NamedTuple):
    """A matchup that became ready, and how long that took from its first lease, ms; None: others made it all."""

    arena: str
    took_ms: int | None


def check_fence(connection: sqlite3.Connection, job_id: str, fence: int) -> None:
    """Raise `StaleFence` unless the job may be handed in, or was, under `fence`."""
    _require_held(connection, job_id, fence, also=JobState.DONE)


def finish_job(connection: sqlite3.Connection, job_id: str, fence: int, artifact: Artifact, now: int) -> list[Made]:
    """Note that a job was done; return the matchups that are ready now. The same call again changes nothing."""
    job = _require_held(connection, job_id, fence, also=JobState.DONE)
    if job.state is JobState.DONE:
        return []
    connection.execute(_END, (JobState.DONE, artifact.sha256, artifact.media_type, None, now, job.number))
    add_total(connection, job.arena, Total.JOBS_DONE)
    return _note_over(connection, job, now)


def refuse_job(connection: sqlite3.Connection, job_id: str, fence: int, reason: str, now: int) -> list[Made]:
    """Note that the model refuses; return the matchups that are ready now. The same call again changes nothing."""
    job = _require_held(connection, job_id, fence, also=JobState.REFUSED)
    if job.state is JobState.REFUSED:
        return []
    connection.execute(_END, (JobState.REFUSED, None, None, reason[:_REASON_MAX], now, job.number))
    add_total(connection, job.arena, Total.JOBS_REFUSED)
    return _note_over(connection, job, now)


def fail_job(
    connection: sqlite3.Connection,
    job_id: str,
    fence: int,
    reason: str,
    now: int,
    *,
    retriable: bool,
    settings: DispatcherSettings,
    rng: random.Random,
) -> JobState:
    """Note a failure: the job waits for its next attempt, or is dead and its matchups are cancelled."""
    job = _require_held(connection, job_id, fence)
    add_total(connection, job.arena, Total.JOBS_FAILED)
    if not retriable or job.attempts >= settings.max_attempts:
        return _bury(connection, job, reason, now)
    not_before = now + draw_backoff(job.attempts, settings, rng)
    connection.execute(
        _GIVE_BACK, (JobState.WAITING, job.attempts, not_before, reason[:_REASON_MAX], now, None, job.number)
    )
    return JobState.WAITING


def release_job(connection: sqlite3.Connection, job_id: str, fence: int, now: int) -> None:
    """Take a job back from a worker who stops: the attempt does not count."""
    job = _require_held(connection, job_id, fence)
    _release(connection, job, now)


def renew_leases(
    connection: sqlite3.Connection, worker: str, held: Iterable[tuple[str, int]], now: int, lease_ms: int
) -> list[str]:
    """Prolong leases; return the ids of jobs that the worker should drop: lost, over, or wanted by nobody."""
    lost = []
    for job_id, fence in held:
        try:
            job = _require_held(connection, job_id, fence)
        except StaleFence:
            lost.append(job_id)
            continue
        if connection.execute(_WANTED, (job.number,)).fetchone()[0]:
            values = (now + lease_ms, worker, job.number)
            connection.execute("UPDATE jobs SET state = 1, lease_until = ?, worker = ? WHERE number = ?", values)
        else:
            _release(connection, job, now)
            lost.append(job_id)
    return lost


def take_back_lapsed(connection: sqlite3.Connection, now: int, settings: DispatcherSettings) -> int:
    """Take back the jobs of workers who went silent; return how many.

    Their fence stays good until somebody else leases them: a worker who was only slow may still hand in.
    """
    rows = connection.execute(_LAPSED_JOBS, (now,)).fetchall()
    for number, arena, attempts, fence in rows:
        job = _Held(number, arena, JobState.LEASED, attempts)
        add_total(connection, arena, Total.JOBS_LAPSED)
        if attempts >= settings.max_attempts:
            _bury(connection, job, _LAPSED, now)
        else:
            connection.execute(_GIVE_BACK, (JobState.WAITING, attempts, now, _LAPSED, now, fence, number))
    return len(rows)


def draw_backoff(attempts: int, settings: DispatcherSettings, rng: random.Random) -> int:
    """Return the pause in ms after that many attempts: doubled each time, of which the upper half is random."""
    longest = min(settings.backoff_s * 2 ** min(attempts - 1, 60), settings.backoff_max_s) * 1000
    return round(float(longest) * (0.5 + 0.5 * rng.random()))


def _require_held(connection: sqlite3.Connection, job_id: str, fence: int, *, also: JobState | None = None) -> _Held:
    """Return the job if it is on loan under `fence`, or in state `also` since; raises `StaleFence`."""
    row: tuple[Any, ...] | None = connection.execute(_JOB, (job_id,)).fetchone()
    if row is None:
        raise StaleFence(f"there is no job {job_id[:64]!r}; drop it and lease others")
    job = _Held(row[0], row[1], JobState(row[2]), row[3])
    if row[4] != fence or job.state not in {JobState.WAITING, JobState.LEASED, also}:
        raise StaleFence(f"job {job_id} is not held under fence {fence}: it was given to another worker or is over")
    return job


def _release(connection: sqlite3.Connection, job: _Held, now: int) -> None:
    connection.execute(_GIVE_BACK, (JobState.WAITING, max(job.attempts - 1, 0), now, None, now, None, job.number))


def _bury(connection: sqlite3.Connection, job: _Held, reason: str, now: int) -> JobState:
    connection.execute(_GIVE_BACK, (JobState.DEAD, job.attempts, 0, reason[:_REASON_MAX], now, None, job.number))
    add_total(connection, job.arena, Total.JOBS_DEAD)
    for number, _ in connection.execute(_NEEDED_BY, (job.number,)).fetchall():
        connection.execute(_CANCEL, (now, number))
        add_total(connection, job.arena, Total.CANCELLED)
    return JobState.DEAD


def _note_over(connection: sqlite3.Connection, job: _Held, now: int) -> list[Made]:
    """Count the job off at the matchups that wait for it; return those that are ready now."""
    made = []
    for number, begun_at in connection.execute(_NEEDED_BY, (job.number,)).fetchall():
        (missing,) = connection.execute(_ONE_LESS, (number,)).fetchone()
        if missing:
            continue
        if connection.execute(_ANY_DONE, (number,)).fetchone()[0]:
            connection.execute(_READY, (now, number))
            add_total(connection, job.arena, Total.MADE)
            made.append(Made(job.arena, None if begun_at is None else now - begun_at))
        else:
            connection.execute(_CANCEL, (now, number))
            add_total(connection, job.arena, Total.CANCELLED)
    return made
