"""The ledger: one DuckDB file that is the truth of a store, and the only place where its SQL is.

One transaction a commit. No indexes: tables are small, and DuckDB's secondary indexes had reports of
corruption. Results are fetched whole, because DuckDB 2 streams and an open result blocks the next statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec
import pyarrow as pa

from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup, decode_matchup, encode_matchup
from pipeline.contracts.store import StoreError
from pipeline.store.count_tables import CountBlob, decode_counts, sum_counts
from pipeline.store.files import move_file, sync_path
from pipeline.store.manifest import (
    FORMAT,
    PositionRow,
    StoreFile,
    decode_positions,
    describe_format,
    encode_positions,
)

LEDGER_NAME: Final = "ledger.duckdb"

# Extensions are never fetched: a store works without a network. One thread: statements touch a few rows.
_CONFIG: Final[dict[str, Any]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
# A checkpoint rewrites what changed: every 100 or so small commits, a few ms.
_CHECKPOINT_AFTER: Final = "4MB"

_ROWS_AT_ONCE: Final = 100

_TABLES: Final = """
create table meta(key varchar, value varchar);
create table head(
    number bigint, log_time bigint, sequence bigint, horizon bigint, positions varchar, created bigint);
create table state(key varchar, value blob);
create table counts(arena varchar, commit bigint, rows bigint, whole boolean, value blob);
create table files(
    path varchar, kind varchar, rows bigint, bytes bigint, level integer, hour varchar,
    first_sequence bigint, last_sequence bigint, first_commit bigint, last_commit bigint,
    first_time bigint, last_time bigint, superseded_at bigint);
create table outbox(matchup_id varchar, matchup blob);
"""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the store stands: the scalars of its last commit. `created` is its wall clock time, ms."""

    number: int = 0
    log_time: int = 0
    sequence: int = 0
    horizon: int = 0
    positions: Mapping[TopicPartition, Position] = field(default_factory=dict)
    created: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One transaction of the ledger. `superseded` files are forgotten by readers now and deleted later.

    `forgotten` files have been deleted. `state` values that are empty delete their key.
    """

    head: Head
    state: Mapping[str, bytes] = field(default_factory=dict)
    counts: Sequence[CountBlob] = ()
    files: Sequence[StoreFile] = ()
    superseded: Sequence[str] = ()
    forgotten: Sequence[str] = ()
    outbox: Sequence[Matchup] = ()
    delivered: Sequence[str] = ()


class Ledger:
    """An open ledger. Not for use by two threads at once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER_NAME
        if not self._path.exists():
            _create_ledger(self._path)
        self._connect()
        rows = self._fetch("select value from meta where key = 'format'")
        if (found := rows[0][0] if rows else "without a number") != str(FORMAT):
            self.close()
            raise StoreError(describe_format(found, self._path))

    def _connect(self) -> None:
        try:
            self._connection = duckdb.connect(str(self._path), config=_CONFIG)
        except duckdb.Error as error:
            raise StoreError(f"cannot open {self._path}: {error}; put back a copy of the store's folder") from error
        self._connection.execute(f"set wal_autocheckpoint = '{_CHECKPOINT_AFTER}'")
        self._state_keys = {row[0] for row in self._fetch("select key from state")}

    def close(self) -> None:
        """Checkpoint and release the file. Idempotent."""
        self._connection.close()

    def head(self) -> Head:
        """Return where the store stands."""
        number, log_time, sequence, horizon, positions, created = self._fetch("select * from head")[0]
        rows = msgspec.json.decode(positions, type=tuple[PositionRow, ...])
        return Head(number, log_time, sequence, horizon, decode_positions(rows), created)

    def state(self) -> dict[str, bytes]:
        """Return all blobs of operator state."""
        return dict(self._fetch("select key, value from state order by key"))

    def state_blob(self, key: str) -> bytes | None:
        """Return one blob of operator state."""
        rows = self._fetch("select value from state where key = ?", [key])
        return rows[0][0] if rows else None

    def count_tables(self, arena: str, *, only_added: bool = False) -> list[pa.Table]:
        """Return the tables whose sum are the counts of `arena`; `only_added` = those since the whole one."""
        rows = self._fetch(
            "select value from counts where arena = ? and not (? and whole) order by commit, rowid",
            [arena, only_added],
        )
        return [decode_counts(row[0]) for row in rows]

    def count_sizes(self) -> dict[str, list[tuple[int, bool]]]:
        """Return by arena the (rows, whole) of its count blobs, oldest first."""
        sizes: dict[str, list[tuple[int, bool]]] = {}
        for arena, rows, whole in self._fetch("select arena, rows, whole from counts order by commit, rowid"):
            sizes.setdefault(arena, []).append((rows, whole))
        return sizes

    def counts(self) -> dict[str, pa.Table]:
        """Return the summed count table of each arena."""
        arenas = [row[0] for row in self._fetch("select distinct arena from counts order by arena")]
        return {arena: sum_counts(self.count_tables(arena)) for arena in arenas}

    def files(self) -> list[tuple[StoreFile, int | None]]:
        """Return all files with the time (ms) at which they were superseded, None for live ones."""
        names = ", ".join(StoreFile.__struct_fields__)
        rows = self._fetch(f"select {names}, superseded_at from files order by first_commit, first_sequence, path")
        return [(StoreFile(**dict(zip(StoreFile.__struct_fields__, row[:-1], strict=True))), row[-1]) for row in rows]

    def outbox(self) -> tuple[Matchup, ...]:
        """Return the proposals that are not known to have been written to `matchups`, oldest first."""
        return tuple(decode_matchup(row[0]) for row in self._fetch("select matchup from outbox order by rowid"))

    def apply(self, change: Change) -> None:
        """Make `change` durable, or raise `StoreError` and leave the ledger as it was."""
        try:
            self._connection.execute("begin")
            self._write(change)
            self._connection.execute("commit")
        except Exception as error:
            if not self._holds(change):
                raise StoreError(f"cannot write commit {change.head.number} to {self._path}: {error}") from error
        self._state_keys.update(key for key, value in change.state.items() if value)
        self._state_keys.difference_update(key for key, value in change.state.items() if not value)

    def _holds(self, change: Change) -> bool:
        """Whether `change` is in the ledger after an error: a commit may fail after it has become durable."""
        try:
            self._connection.execute("rollback")
        except duckdb.Error:
            # Either there is no transaction any more, or the database refuses everything after a fatal error.
            self._connection.close()
            self._connect()
        paths = [file.path for file in change.files]
        there = self._fetch("select count(*) from files where list_contains(?::varchar[], path)", [paths])[0][0]
        return self.head() == change.head and there == len(paths)  # linking files does not move the head

    def _write(self, change: Change) -> None:
        run = self._connection.execute
        head = change.head
        positions = msgspec.json.encode(encode_positions(dict(head.positions))).decode()
        run(
            "update head set number = ?, log_time = ?, sequence = ?, horizon = ?, positions = ?, created = ?",
            [head.number, head.log_time, head.sequence, head.horizon, positions, head.created],
        )
        for key, value in change.state.items():
            if not value:
                run("delete from state where key = ?", [key])
            elif key in self._state_keys:
                run("update state set value = ? where key = ?", [value, key])
            else:
                run("insert into state values (?, ?)", [key, value])
        for blob in change.counts:
            if blob.whole or blob.folded:
                run("delete from counts where arena = ? and (? or not whole)", [blob.arena, blob.whole])
            run(
                "insert into counts values (?, ?, ?, ?, ?)",
                [blob.arena, head.number, blob.rows, blob.whole, blob.value],
            )
        self._write_files(change)
        if change.outbox:
            ids = [matchup.matchup_id for matchup in change.outbox]
            blobs = [encode_matchup(matchup) for matchup in change.outbox]
            run("insert into outbox select unnest(?::varchar[]), unnest(?::blob[])", [ids, blobs])
        if change.delivered:
            run(
                "delete from outbox where list_contains(?::varchar[], matchup_id)",
                [list(change.delivered)],
            )

    def _write_files(self, change: Change) -> None:
        run = self._connection.execute
        if change.forgotten:
            run("delete from files where list_contains(?::varchar[], path)", [list(change.forgotten)])
        if change.superseded:
            run(
                "update files set superseded_at = ? where list_contains(?::varchar[], path)",
                [change.head.created, list(change.superseded)],
            )
        fields = StoreFile.__struct_fields__
        row = f"({', '.join('?' for _ in fields)})"
        for start in range(0, len(change.files), _ROWS_AT_ONCE):
            files = change.files[start : start + _ROWS_AT_ONCE]
            run(
                f"insert into files({', '.join(fields)}) values {', '.join(row for _ in files)}",
                [getattr(file, name) for file in files for name in fields],
            )

    def _fetch(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return self._connection.execute(statement, list(parameters)).fetchall()


def _create_ledger(path: Path) -> None:
    """Create an empty ledger under a temporary name: a crash meanwhile leaves no half of one."""
    temporary = path.with_name(f"{path.name}.tmp")
    for leftover in (temporary, temporary.with_name(f"{temporary.name}.wal")):
        leftover.unlink(missing_ok=True)
    connection = duckdb.connect(str(temporary), config=_CONFIG)
    connection.execute(_TABLES)
    connection.execute("insert into meta values ('format', ?)", [str(FORMAT)])
    connection.execute("insert into head values (0, 0, 0, 0, '[]', 0)")
    connection.close()
    sync_path(temporary)
    move_file(temporary, path)
