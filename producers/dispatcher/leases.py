"""Which jobs a worker gets: those of matchups in demand, of one model, so that weights are swapped rarely.

Matchups are looked at in this order: custom prompts, then those already begun, then by priority, then those that expire
last. (What is shown goes by the first expiry; but a matchup that is begun late in its life has little time to find a
voter, and would be wasted in quiet hours.) Custom and begun ones are in the making whatever the demand; of the others
as many are begun as the demand misses.

A matchup that cannot go on for now (a job in its pause after a failure, a model that no worker serves) is passed over
and does not count as being made, so that one broken model does not bring the arena to a halt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.contracts.generation import WorkJob, WorkPrompt
from producers.dispatcher.demand import Demand
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import JobState, Maker

_MOST_LOOKED_AT: Final = 5_000  # proposed matchups of an arena; the job proposes some hundreds

_ARENAS = """
    WITH RECURSIVE next(arena) AS (
        SELECT min(arena) FROM matchups INDEXED BY proposed WHERE state = 0
        UNION ALL
        SELECT (SELECT min(arena) FROM matchups INDEXED BY proposed WHERE state = 0 AND arena > next.arena)
        FROM next WHERE next.arena IS NOT NULL
    ) SELECT arena FROM next WHERE arena IS NOT NULL
"""
_COUNT_READY = (
    "SELECT count(*) FROM matchups INDEXED BY ready WHERE state = 1 AND custom = 0 AND arena = ? AND expires > ?"
)
_COUNT_PROPOSED = (
    "SELECT count(*) FROM matchups INDEXED BY proposed WHERE state = 0 AND custom = 0 AND arena = ? AND expires > ?"
)
_PROPOSED = """
    SELECT number, custom, begun_at, expires FROM matchups INDEXED BY proposed
    WHERE state = 0 AND arena = ? AND expires > ?
    ORDER BY custom DESC, (begun_at IS NULL), priority DESC, expires DESC, number LIMIT ?
"""
_UNFINISHED = """
    SELECT j.number, j.model, j.state, j.not_before FROM slots s JOIN jobs j ON j.number = s.job
    WHERE s.matchup = ? AND j.state <= 1
"""
_LEASE = """
    UPDATE jobs SET state = 1, attempts = attempts + 1, fence = ?, worker = ?, lease_until = ?, touched_at = ?
    WHERE number = ? RETURNING job_id, arena, model, maker, prompt, attempts
"""
_TAKE_FENCES = "UPDATE fences SET last = last + ? RETURNING last"
_BEGIN = "UPDATE matchups SET begun_at = ? WHERE number = ? AND begun_at IS NULL"


@dataclass(frozen=True, slots=True)
class Request:
    """What a worker asks for: jobs of any model and arena where None, but none of the excluded models."""

    worker: str
    resident: frozenset[str]
    models: frozenset[str] | None
    exclude: frozenset[str]
    arenas: frozenset[str] | None
    max_jobs: int

    def takes(self, arena: str, model: str) -> bool:
        """Whether the worker makes artifacts of a model."""
        return (
            (self.arenas is None or arena in self.arenas)
            and (self.models is None or model in self.models)
            and model not in self.exclude
        )


@dataclass(slots=True)
class Candidate:
    """A job that may be leased now, and the matchups in demand that need it.

    `late_at`: when the first of them will have been in the making for the lead time, ms; None: it is not begun.
    """

    number: int
    arena: str
    model: str
    custom: bool
    late_at: int | None
    matchups: list[int]


def lease_jobs(
    connection: sqlite3.Connection,
    request: Request,
    now: int,
    *,
    demand: Demand,
    is_served: Callable[[str, str], bool],
    settings: DispatcherSettings,
) -> tuple[WorkJob, ...]:
    """Lease a batch of jobs, all of one arena and model; none if nothing is wanted that this worker can make."""
    candidates: list[Candidate] = []
    for arena in list_arenas(connection):
        if request.arenas is None or arena in request.arenas:
            candidates += find_candidates(connection, arena, now, demand, is_served, settings)
    able = [each for each in candidates if request.takes(each.arena, each.model)]
    batch = choose_batch(able, request.resident, now)[: request.max_jobs]
    if not batch:
        return ()
    (last,) = connection.execute(_TAKE_FENCES, (len(batch),)).fetchone()
    until = now + round(settings.lease_s * 1000)
    jobs = []
    for fence, candidate in enumerate(batch, last - len(batch) + 1):
        row = connection.execute(_LEASE, (fence, request.worker, until, now, candidate.number)).fetchone()
        connection.executemany(_BEGIN, [(now, matchup) for matchup in candidate.matchups])
        jobs.append(_make_job(row, fence))
    return tuple(jobs)


def list_arenas(connection: sqlite3.Connection) -> list[str]:
    """Return the arenas that have proposed matchups: one step down an index each."""
    return [arena for (arena,) in connection.execute(_ARENAS).fetchall()]


def count_supply(connection: sqlite3.Connection, arena: str, latest: int) -> tuple[int, int]:
    """Return how many matchups of an arena are ready, and proposed, that do not expire by `latest`."""
    (ready,) = connection.execute(_COUNT_READY, (arena, latest)).fetchone()
    (proposed,) = connection.execute(_COUNT_PROPOSED, (arena, latest)).fetchone()
    return ready, proposed


def find_candidates(
    connection: sqlite3.Connection,
    arena: str,
    now: int,
    demand: Demand,
    is_served: Callable[[str, str], bool],
    settings: DispatcherSettings,
) -> list[Candidate]:
    """Return the jobs of an arena that may be leased now, the most urgent first."""
    latest = now + round(settings.min_vote_s * 1000)
    lead_ms = round(demand.lead_s(arena) * 1000)
    (supply,) = connection.execute(_COUNT_READY, (arena, latest)).fetchone()
    found: dict[int, Candidate] = {}
    room: int | None = None  # of matchups to begin; known when those that were begun are counted
    # A row at a time, in the order of the index: most often the walk ends after a few.
    for matchup, custom, begun_at, expires in connection.execute(_PROPOSED, (arena, latest, _MOST_LOOKED_AT)):
        jobs = connection.execute(_UNFINISHED, (matchup,)).fetchall()
        if any(
            state == JobState.WAITING and (pause > now or not is_served(arena, model))
            for _, model, state, pause in jobs
        ):
            continue
        if not custom and begun_at is not None:
            supply += 1
        elif not custom:
            if room is None:
                room = demand.missing(arena, supply, now)
            if room <= 0:
                break
            if expires <= latest + lead_ms:
                continue
            room -= 1
        late_at = None if begun_at is None else begun_at + lead_ms
        for number, model, state, _ in jobs:
            if state == JobState.WAITING:
                candidate = found.setdefault(number, Candidate(number, arena, model, bool(custom), late_at, []))
                candidate.matchups.append(matchup)
    return list(found.values())


def choose_batch(candidates: list[Candidate], resident: Collection[str], now: int) -> list[Candidate]:
    """Return the candidates of the one arena and model to work on, the most urgent first.

    The model of a custom prompt goes first; then that of the matchup that is late longest, or one with a rare model
    would wait for ever; then a resident one; and of those the one with most to do.
    """
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.arena, candidate.model), []).append(candidate)
    if not groups:
        return []
    late = [each for each in candidates if each.late_at and each.late_at < now]
    longest = min(late, key=lambda each: each.late_at or 0, default=None)  # of equals the first, as below
    late_group = longest and (longest.arena, longest.model)

    def rank(group: tuple[str, str]) -> tuple[bool, bool, bool, int]:
        members = groups[group]
        return any(each.custom for each in members), group == late_group, group[1] in resident, len(members)

    return groups[max(groups, key=rank)]  # of equals the first, which has the most urgent job


def _make_job(row: tuple[Any, ...], fence: int) -> WorkJob:
    job_id, arena, model, maker_json, prompt, attempts = row
    maker = msgspec.json.decode(maker_json, type=Maker)
    return WorkJob(
        job_id=job_id,
        fence=fence,
        arena=arena,
        model=model,
        generator=maker.generator,
        generation=maker.generation,
        format=maker.format,
        prompt=msgspec.json.decode(prompt, type=WorkPrompt),
        attempt=attempts,
    )
