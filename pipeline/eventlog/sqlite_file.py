"""The SQLite file that holds an event log: its tables, its connections, and what its errors mean.

WAL mode, so that readers and the one writer of the moment do not wait for each other; ``synchronous=FULL``,
so that an append is on the disk when it returns (about 20 % of the speed of appending, measured with batches
of 10,000).
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.contracts.log import LogError, LogUnavailable
from pipeline.eventlog.blocks import sync_folder

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4B57_4C47  # "KWLG", in the file's header: `file` and we tell it from other SQLite files
_PAGE_BYTES = 8192  # 4096 splits too often for batches, 16384 writes too much for single votes
_CACHE_KIB = 32_768  # a batch of 10,000 votes fits; SQLite's 2 MB would write its pages twice
_MAX_PARTITIONS = 1024
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")

_TABLES = """
CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
CREATE TABLE topics (name TEXT PRIMARY KEY, partitions INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE log (
    topic TEXT NOT NULL, part INTEGER NOT NULL, off INTEGER NOT NULL, appended_at INTEGER NOT NULL,
    key TEXT, value BLOB NOT NULL, headers TEXT,
    PRIMARY KEY (topic, part, off)
) WITHOUT ROWID, STRICT;
"""
_IDENTITY = "CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL) STRICT"
_NEW_IDENTITY = "INSERT INTO identity SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM identity)"

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def explain_error(error: sqlite3.Error, path: Path) -> LogError:
    """Return the `LogError` that says what an SQLite error means for the user of the log at `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return LogUnavailable(
            f"{path} was locked by another process for longer than the time limit; try again, "
            "or look for a process that holds it (a backup, a shell with an open transaction)."
        )
    if code == sqlite3.SQLITE_FULL:
        return LogUnavailable(f"{path}: the disk is full; nothing was appended. Make room and try again.")
    if code in _READ_ONLY:
        return LogError(
            f"{path} cannot be opened or written ({error}): the file and its folder must be writable for "
            "everyone who appends or reads (SQLite keeps -wal and -shm files beside it). "
            "Mend the permissions, or copy the log to a folder that is writable."
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return LogError(f"{path} is no SQLite file, or a damaged one ({error}); name another, or restore a copy.")
    return LogError(f"{path}: SQLite failed: {error}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into those of the log."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain_error(error, path) from error


def connect(path: Path, busy_seconds: float, *, mode: str) -> sqlite3.Connection:
    """Open the log at `path` to read (``ro``) or to append (``rw``). Raises `LogError`."""
    if not path.exists():
        raise LogError(f"{path} does not exist: name the log that votes are appended to, or create its topics first.")
    with explained(path):
        # Threads: engines open a reader in one and use it in another, never in two at once.
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA synchronous = FULL")
            _check_schema(connection, path)
            if mode == "rw" and read_identity(connection) is None:
                with write_transaction(connection):
                    _give_identity(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def create_file(path: Path) -> None:
    """Create an empty log unless there is a file.

    It is made under another name and linked, so that nobody sees half of one. Many processes may do this at once;
    creating the tables in place failed then, for the switch to WAL mode does not wait for locks.
    """
    if path.exists():
        return
    if not path.parent.is_dir():
        raise LogError(f"{path.parent} is no folder: create it first.")
    made = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        made.unlink(missing_ok=True)
        with explained(path):
            connection = sqlite3.connect(made, isolation_level=None)
            try:
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_TABLES)
                connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
                _give_identity(connection)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            finally:
                connection.close()
        with suppress(FileExistsError):  # another process was quicker
            path.hardlink_to(made)
        made.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise LogError(f"{path} cannot be created: {error.strerror}.") from error


@contextmanager
def write_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock of the log from the start: what is read inside stays true until the commit."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_topic(connection: sqlite3.Connection, name: str, partitions: int) -> None:
    """Create topic `name` unless it is there; raise `LogError` for a name or a number that cannot be."""
    if not _TOPIC_NAME.fullmatch(name):
        raise LogError(f"topic {name!r}: a name has 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    if not 1 <= partitions <= _MAX_PARTITIONS:
        raise LogError(f"topic {name}: {partitions} partitions; 1 to {_MAX_PARTITIONS} are possible.")
    connection.execute("INSERT OR IGNORE INTO topics VALUES (?, ?)", (name, partitions))


def read_identity(connection: sqlite3.Connection) -> str | None:
    """Return the id that the file got when it was made; None of one from before there were ids."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone():
        return None
    row = connection.execute("SELECT id FROM identity").fetchone()
    return None if row is None else str(row[0])


def _give_identity(connection: sqlite3.Connection) -> None:
    """Give the file a random id, unless it has one: a file made anew under the same name gets another."""
    connection.execute(_IDENTITY)
    connection.execute(_NEW_IDENTITY)


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"schema_version", "topics", "log"} <= tables:
        raise LogError(f"{path} is an SQLite file but no event log: it has no tables topics and log. Name another.")
    versions = [version for (version,) in connection.execute("SELECT version FROM schema_version")]
    if versions != [SCHEMA_VERSION]:
        raise LogError(
            f"{path} has log schema {versions}; this version of kwise reads {SCHEMA_VERSION}: "
            "use the kwise that wrote it, or a newer one."
        )
