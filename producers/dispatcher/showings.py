"""Ready matchups are shown, each once, and voted on."""

from __future__ import annotations

import random
import sqlite3
from base64 import urlsafe_b64encode
from typing import Any, Final

from pipeline.contracts.matchup import Matchup, decode_matchup
from producers.dispatcher.errors import (
    AlreadyVoted,
    CustomCancelled,
    DispatcherError,
    MatchupExpired,
    UnknownMatchup,
    UnknownTicket,
)
from producers.dispatcher.proposals import Taking, enter_matchup, insert_matchup
from producers.dispatcher.totals import Total, add_total
from producers.dispatcher.types import JobState, MatchupState, Showing, ShownSlot

_RANDOM_BYTES: Final = 16

_NEXT = """
    SELECT number FROM matchups INDEXED BY ready WHERE state = 1 AND custom = 0 AND arena = ? AND expires > ?
    ORDER BY priority DESC, expires, number LIMIT 1
"""
_NEXT_CUSTOM = """
    SELECT number FROM matchups INDEXED BY ready_custom
    WHERE state = 1 AND custom = 1 AND voter = ? AND arena = ? AND expires > ? ORDER BY number LIMIT 1
"""
_SHOW = "UPDATE matchups SET state = 2, voter = ?, shown_at = ? WHERE number = ? RETURNING record"
_GIVE_ADDRESS = "UPDATE slots SET address = ? WHERE matchup = ? AND slot = ?"
_SLOTS = """
    SELECT s.slot, s.address, j.state, j.media_type FROM slots s JOIN jobs j ON j.number = s.job
    WHERE s.matchup = ? ORDER BY s.slot
"""
_ROW = "SELECT number, record, state, voter, shown_at, vote_id FROM matchups WHERE "
_ARTIFACT = """
    SELECT j.sha256, j.media_type FROM slots s JOIN jobs j ON j.number = s.job WHERE s.address = ? AND j.state = 2
"""
_RECENT = "SELECT arena, voter, shown_at FROM matchups WHERE shown_at >= ? ORDER BY shown_at"
_ADOPT = "UPDATE matchups SET voter = ?, ticket = ? WHERE number = ?"
_VOTED = "UPDATE matchups SET state = 3, vote_id = ?, ended_at = ? WHERE number = ?"


def show_next(
    connection: sqlite3.Connection, arena: str, voter: str, now: int, latest: int, rng: random.Random
) -> Showing | None:
    """Show the voter's own custom matchup, or the next one, that does not expire by `latest`; None if there is none."""
    row = connection.execute(_NEXT_CUSTOM, (voter, arena, latest)).fetchone()
    row = row or connection.execute(_NEXT, (arena, latest)).fetchone()
    return None if row is None else _show(connection, row[0], voter, now, rng)


def show_ticket(
    connection: sqlite3.Connection, ticket: str, voter: str, now: int, latest: int, rng: random.Random
) -> Showing | str:
    """Show the matchup of a ticket, again if it was shown; the arena's id while it is not ready.

    Raises `UnknownTicket` or `CustomCancelled`.
    """
    row = connection.execute(_ROW + "ticket = ?", (ticket,)).fetchone()
    if row is None or row[3] != voter:
        raise UnknownTicket("there is no such ticket of this voter; ask for a matchup anew")
    number, state = row[0], MatchupState(row[2])
    if state is MatchupState.READY and decode_matchup(row[1]).expires > latest:
        return _show(connection, number, voter, now, rng)
    if state is MatchupState.PROPOSED:
        return decode_matchup(row[1]).arena
    if row[4] is None:
        raise CustomCancelled("the matchup of this prompt could not be made; ask again, perhaps in other words")
    return _make_showing(connection, row)


def find_showing(connection: sqlite3.Connection, matchup_id: str) -> Showing | None:
    """Return the showing of a matchup; None if it was not shown."""
    row = connection.execute(_ROW + "matchup_id = ? AND shown_at IS NOT NULL", (matchup_id,)).fetchone()
    return None if row is None else _make_showing(connection, row)


def find_artifact(connection: sqlite3.Connection, address: str) -> tuple[str, str] | None:
    """Return SHA-256 and media type of the artifact at an address; None if there is none."""
    row = connection.execute(_ARTIFACT, (address,)).fetchone()
    return None if row is None else (row[0], row[1])


def list_showings(connection: sqlite3.Connection, since: int) -> list[tuple[str, str, int]]:
    """Return arena, voter and time of the showings since then, in order. Looks at all rows."""
    return connection.execute(_RECENT, (since,)).fetchall()


def add_custom(connection: sqlite3.Connection, matchup: Matchup, voter: str, ticket: str, taking: Taking) -> str:
    """Take in a matchup whose prompt the voter typed; return its ticket.

    It may have come in from the log already, without its voter. The same call again returns the same ticket.
    """
    number = insert_matchup(connection, matchup)
    if number is not None:
        enter_matchup(connection, number, matchup, taking)
    else:
        number, owner, known = connection.execute(
            "SELECT number, voter, ticket FROM matchups WHERE matchup_id = ?", (matchup.matchup_id,)
        ).fetchone()
        if known is not None and owner == voter:
            return str(known)
        if known is not None or owner is not None:
            raise DispatcherError(f"matchup {matchup.matchup_id} belongs to another voter; draw another id")
    connection.execute(_ADOPT, (voter, ticket, number))
    return ticket


def claim_vote(connection: sqlite3.Connection, matchup_id: str, vote_id: str, now: int) -> Showing:
    """Reserve the matchup for one vote, and return what was shown. The same call again returns the same.

    Raises `UnknownMatchup`, `AlreadyVoted` or `MatchupExpired`.
    """
    row = _require_shown(connection, matchup_id, vote_id)
    showing = _make_showing(connection, row)
    if showing.vote_id is None:
        if showing.matchup.expires <= now:
            raise MatchupExpired(f"matchup {matchup_id} expired; ask for another")
        connection.execute("UPDATE matchups SET vote_id = ? WHERE number = ?", (vote_id, row[0]))
    return showing


def drop_claim(connection: sqlite3.Connection, matchup_id: str, vote_id: str) -> None:
    """Undo a claim whose vote the log refused for good; nothing happens if it was voted on or not claimed so."""
    connection.execute(
        "UPDATE matchups SET vote_id = NULL WHERE matchup_id = ? AND vote_id = ? AND state <> 3", (matchup_id, vote_id)
    )


def note_voted(connection: sqlite3.Connection, matchup_id: str, vote_id: str, now: int) -> None:
    """Note that the log has the vote. The same call again changes nothing. Raises `UnknownMatchup`, `AlreadyVoted`."""
    row = _require_shown(connection, matchup_id, vote_id)
    if row[2] == MatchupState.VOTED:
        return
    connection.execute(_VOTED, (vote_id, now, row[0]))
    add_total(connection, decode_matchup(row[1]).arena, Total.VOTED)


def draw_token(rng: random.Random) -> str:
    """Return 128 random bits as 22 characters that are safe in a URL."""
    return urlsafe_b64encode(rng.randbytes(_RANDOM_BYTES)).rstrip(b"=").decode()


def _show(connection: sqlite3.Connection, number: int, voter: str, now: int, rng: random.Random) -> Showing:
    (record,) = connection.execute(_SHOW, (voter, now, number)).fetchone()
    matchup = decode_matchup(record)
    slots = []
    for slot, _, job, media_type in connection.execute(_SLOTS, (number,)).fetchall():
        done = job == JobState.DONE
        slots.append(ShownSlot(draw_token(rng), media_type) if done else ShownSlot(None, None))
        if done:
            connection.execute(_GIVE_ADDRESS, (slots[-1].address, number, slot))
    add_total(connection, matchup.arena, Total.SHOWN)
    return Showing(matchup, tuple(slots), voter, now, MatchupState.SHOWN)


def _make_showing(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Showing:
    number, record, state, voter, shown_at, vote_id = row
    slots = tuple(
        ShownSlot(address, media_type if job == JobState.DONE else None)
        for _, address, job, media_type in connection.execute(_SLOTS, (number,)).fetchall()
    )
    return Showing(decode_matchup(record), slots, voter, shown_at, MatchupState(state), vote_id)


def _require_shown(connection: sqlite3.Connection, matchup_id: str, vote_id: str) -> tuple[Any, ...]:
    """Return the row of a matchup that was shown and has no other vote."""
    row: tuple[Any, ...] | None = connection.execute(
        _ROW + "matchup_id = ? AND shown_at IS NOT NULL", (matchup_id,)
    ).fetchone()
    if row is None:
        raise UnknownMatchup(f"matchup {matchup_id[:128]!r} was not shown here; ask for a matchup first")
    if row[5] not in {None, vote_id}:
        raise AlreadyVoted(f"matchup {matchup_id} has another vote; ask for another matchup")
    return row
