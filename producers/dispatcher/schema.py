"""The SQLite file of the dispatcher: its tables, and how it is opened.

WAL mode: readers never wait. Partial indexes hold what is looked for and nothing else, so that asking for the next
matchup costs the same with ten matchups and with a million; statements name the index that they need, for the planner,
which knows no figures, may prefer to read a whole table in the right order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producers.dispatcher.errors import DispatcherError, DispatcherUnavailable

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0
_APPLICATION_ID = 0x4B57_4451  # "KWDQ", in the file's header

# States are those of `types.MatchupState` and `types.JobState`: 0 is proposed, 1 ready, 2 shown, above 2 ended.
_TABLES = """
CREATE TABLE matchups (
    number INTEGER PRIMARY KEY,
    matchup_id TEXT NOT NULL UNIQUE,
    arena TEXT NOT NULL,
    state INTEGER NOT NULL,
    custom INTEGER NOT NULL,    -- a voter typed its prompt: it is shown to that voter only
    priority INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    missing INTEGER NOT NULL,   -- jobs that are not over
    begun_at INTEGER,           -- when the first job was leased for it
    record BLOB NOT NULL,       -- as on the wire
    voter TEXT,                 -- who typed the prompt, or whom it was shown to
    ticket TEXT,
    ready_at INTEGER,
    shown_at INTEGER,
    ended_at INTEGER,
    vote_id TEXT
) STRICT;
CREATE INDEX proposed ON matchups (arena, custom DESC, (begun_at IS NULL), priority DESC, expires DESC, number)
    WHERE state = 0;
CREATE INDEX ready ON matchups (arena, priority DESC, expires, number) WHERE state = 1 AND custom = 0;
CREATE INDEX ready_custom ON matchups (voter, arena) WHERE state = 1 AND custom = 1;
CREATE INDEX living ON matchups (expires, state, arena, ready_at) WHERE state <= 2;
CREATE INDEX ended ON matchups (ended_at) WHERE state > 2;
CREATE UNIQUE INDEX tickets ON matchups (ticket) WHERE ticket IS NOT NULL;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL UNIQUE,
    arena TEXT NOT NULL,
    model TEXT NOT NULL,
    maker BLOB NOT NULL,        -- JSON of types.Maker
    prompt BLOB NOT NULL,       -- JSON of contracts.generation.WorkPrompt
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    fence INTEGER,              -- of the last lease, until it is given back
    worker TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT,
    media_type TEXT,
    reason TEXT,                -- of the last failure or refusal
    touched_at INTEGER NOT NULL -- when a matchup last needed it, or it last changed
) STRICT;
CREATE INDEX leases ON jobs (lease_until) WHERE state = 1;
CREATE INDEX touched ON jobs (touched_at);
CREATE INDEX artifacts ON jobs (sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE slots (
    matchup INTEGER NOT NULL REFERENCES matchups (number),
    slot INTEGER NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (number),
    address TEXT,               -- given when it is shown
    PRIMARY KEY (matchup, slot)
) WITHOUT ROWID, STRICT;
CREATE INDEX slots_of_job ON slots (job);
CREATE UNIQUE INDEX addresses ON slots (address) WHERE address IS NOT NULL;

CREATE TABLE positions (
    topic TEXT NOT NULL, part INTEGER NOT NULL, off INTEGER NOT NULL, idx INTEGER NOT NULL, identity TEXT,
    PRIMARY KEY (topic, part)
) WITHOUT ROWID, STRICT;

CREATE TABLE totals (
    arena TEXT NOT NULL, what TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (arena, what)
) WITHOUT ROWID, STRICT;

CREATE TABLE fences (last INTEGER NOT NULL) STRICT;
INSERT INTO fences VALUES (0);
"""

# An index that older files lack: made when a file is opened. An older version can still use a file that has it.
_MADE = "CREATE INDEX IF NOT EXISTS made ON jobs (arena, model, number) WHERE state = 2"

_FOR_NOW = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


def open_connection(path: Path) -> sqlite3.Connection:
    """Open the file at `path`, and make it if it is new. The connection may be handed from thread to thread.

    Raises `DispatcherError` for a file that is something else or newer.
    """
    with explained(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if not version:
                _create_tables(connection, path)
            elif version != SCHEMA_VERSION or _application(connection) != _APPLICATION_ID:
                raise DispatcherError(
                    f"{path} is no queue of matchups that this version of kwise reads (version {version}, "
                    f"not {SCHEMA_VERSION}): name another file, or use the kwise that wrote it."
                )
            connection.execute(_MADE)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the dispatcher's."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain_error(error, path) from error


def explain_error(error: sqlite3.Error, path: Path) -> DispatcherError:
    """Return what an SQLite error means for whoever uses the dispatcher at `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _FOR_NOW:
        return DispatcherUnavailable(
            f"{path}: the queue cannot be written for now ({error}); nothing was changed. "
            "If this stays so: make room on the disk, or end the process that holds the file."
        )
    return DispatcherError(
        f"{path}: the queue cannot be used ({error}): the file and its folder must be writable, and on a local disk."
    )


def _application(connection: sqlite3.Connection) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return int(application)


def _create_tables(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise DispatcherError(f"{path} is an SQLite file of something else: name another for the queue of matchups.")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:  # another opening may have been quicker
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
