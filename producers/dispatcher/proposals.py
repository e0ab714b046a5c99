"""Matchups come in: each once, with the jobs that it needs; jobs that others made or are making are shared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from pipeline.contracts.generation import WorkPrompt
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import CUSTOM_PROMPT, Matchup, MatchupPrompt, encode_matchup
from producers.dispatcher.totals import Total, add_total
from producers.dispatcher.types import JobState, Maker, MatchupState

MakerOf = Callable[[str, str], Maker]
"""From arena and model to how the model makes artifacts, as the registry has it now."""

_INSERT = """
    INSERT OR IGNORE INTO matchups (matchup_id, arena, state, custom, priority, expires, missing, record)
    VALUES (?, ?, 0, ?, ?, ?, 0, ?) RETURNING number
"""
_INSERT_JOB = """
    INSERT INTO jobs (job_id, arena, model, maker, prompt, state, touched_at) VALUES (?, ?, ?, ?, ?, 0, ?)
    RETURNING number
"""
_REVIVE = "UPDATE jobs SET state = 0, attempts = 0, fence = NULL, not_before = 0, touched_at = ? WHERE number = ?"
_ENTER = "UPDATE matchups SET state = ?, missing = ?, ready_at = ?, ended_at = ? WHERE number = ?"
_MOVE_ON = """
    INSERT INTO positions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    off = excluded.off, idx = excluded.idx, identity = coalesce(excluded.identity, identity)
    WHERE (excluded.off, excluded.idx) > (off, idx)
"""


@dataclass(frozen=True, slots=True)
class Newcomers:
    """What a batch of proposals was: how many were new, and the arenas of those that were ready at once."""

    taken: int
    ready: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taking:
    """How proposals are taken in.

    Attributes
    ----------
    maker_of : see `MakerOf`
    now : int, ms
    latest : int, ms
        Matchups that expire up to then are too old to be shown, and are passed over.
    rest_ms : int
        A dead job is tried again after so long.
    """

    maker_of: MakerOf
    now: int
    latest: int
    rest_ms: int


def is_custom(matchup: Matchup) -> bool:
    """Whether a voter typed the prompt."""
    return matchup.prompt is not None and matchup.prompt.id.startswith(CUSTOM_PROMPT)


def take_matchups(connection: sqlite3.Connection, matchups: Iterable[Matchup], taking: Taking) -> Newcomers:
    """Take in those of `matchups` that are new and not too old."""
    taken, ready = 0, []
    for matchup in matchups:
        if matchup.expires <= taking.latest:
            continue
        number = insert_matchup(connection, matchup)
        if number is None:
            continue
        taken += 1
        if enter_matchup(connection, number, matchup, taking) is MatchupState.READY:
            ready.append(matchup.arena)
    return Newcomers(taken, tuple(ready))


def insert_matchup(connection: sqlite3.Connection, matchup: Matchup) -> int | None:
    """Insert the row of a matchup and return its number; None if it is known."""
    custom = is_custom(matchup)
    values = (matchup.matchup_id, matchup.arena, custom, matchup.priority, matchup.expires, encode_matchup(matchup))
    row = connection.execute(_INSERT, values).fetchone()
    if row is None:
        return None
    add_total(connection, matchup.arena, Total.TAKEN)
    return int(row[0])


def enter_matchup(connection: sqlite3.Connection, number: int, matchup: Matchup, taking: Taking) -> MatchupState:
    """Give a new matchup its jobs, and the state that follows from them."""
    states = []
    for slot, model in enumerate(matchup.models):
        job, state = _need_job(connection, matchup, model, taking)
        connection.execute("INSERT INTO slots (matchup, slot, job) VALUES (?, ?, ?)", (number, slot, job))
        states.append(state)
    missing = sum(state <= JobState.LEASED for state in states)
    if JobState.DEAD in states or not (missing or JobState.DONE in states):
        entered = MatchupState.CANCELLED
        add_total(connection, matchup.arena, Total.CANCELLED)
    elif missing:
        entered = MatchupState.PROPOSED
    else:
        entered = MatchupState.READY
        add_total(connection, matchup.arena, Total.MADE)
    ready_at = taking.now if entered is MatchupState.READY else None
    ended_at = taking.now if entered is MatchupState.CANCELLED else None
    connection.execute(_ENTER, (entered, missing, ready_at, ended_at, number))
    return entered


def note_positions(
    connection: sqlite3.Connection,
    positions: Mapping[TopicPartition, Position],
    identities: Mapping[TopicPartition, str],
) -> None:
    """Remember how far the log was read; never backwards."""
    for source, position in positions.items():
        values = (source.topic, source.partition, position.offset, position.index, identities.get(source))
        connection.execute(_MOVE_ON, values)


def read_positions(connection: sqlite3.Connection) -> dict[TopicPartition, Position]:
    """Return how far the log was read."""
    rows = connection.execute("SELECT topic, part, off, idx FROM positions").fetchall()
    return {TopicPartition(topic, part): Position(offset, index) for topic, part, offset, index in rows}


def read_identities(connection: sqlite3.Connection) -> dict[TopicPartition, str]:
    """Return which log was read, where that is known."""
    rows = connection.execute("SELECT topic, part, identity FROM positions WHERE identity IS NOT NULL").fetchall()
    return {TopicPartition(topic, part): identity for topic, part, identity in rows}


def _need_job(connection: sqlite3.Connection, matchup: Matchup, model: str, taking: Taking) -> tuple[int, JobState]:
    """Return number and state of the job that makes the artifact of `model`; a new one if there is none."""
    maker = msgspec.json.encode(taking.maker_of(matchup.arena, model))
    prompt = matchup.prompt or MatchupPrompt(id="")
    # A prompt without a text is told by its id.
    asked = [prompt.text] if prompt.text else [None, prompt.id]
    identity = [matchup.arena, model, asked, prompt.seed, maker]
    job_id = sha256(msgspec.msgpack.encode(identity)).hexdigest()[:32]
    row = connection.execute("SELECT number, state, touched_at FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        work = WorkPrompt(id=prompt.id, text=prompt.text, seed=prompt.seed, tags=prompt.tags)
        values = (job_id, matchup.arena, model, maker, msgspec.json.encode(work), taking.now)
        (number,) = connection.execute(_INSERT_JOB, values).fetchone()
        return number, JobState.WAITING
    number, state, touched_at = row[0], JobState(row[1]), row[2]
    if state is not JobState.DEAD:
        connection.execute("UPDATE jobs SET touched_at = ? WHERE number = ?", (taking.now, number))
    elif taking.now - touched_at >= taking.rest_ms:
        connection.execute(_REVIVE, (taking.now, number))
        state = JobState.WAITING
    return number, state
