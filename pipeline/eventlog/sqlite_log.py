"""The embedded event log: one SQLite file, many writers and readers in many processes.

Offsets are dense from 0 in each partition and are assigned inside the write transaction, as is the append
time: the larger of the clock and the partition's last one. A record's key chooses its partition as in Kafka;
records without one go, append by append, to the partition with the fewest records.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.log import CONTENT_TYPE, Appended, LogError, Position, Record, TopicPartition
from pipeline.eventlog.blocks import Block, wall_clock_ms
from pipeline.eventlog.merge import BlockMerger
from pipeline.eventlog.partitioner import partitions_of_keys
from pipeline.eventlog.reader import PartitionReader
from pipeline.eventlog.sqlite_file import (
    connect,
    create_file,
    create_topic,
    explained,
    read_identity,
    write_transaction,
)

BUSY_SECONDS = 10.0
_LOOK_SECONDS = 0.02  # how often a waiting reader looks: latency against 0.1 % of a core
_CHUNK = 256  # records between two looks at the size of what was fetched

# The last record of each partition; each subquery is one step down the primary key.
_TAILS = """
    WITH RECURSIVE parts(part) AS (SELECT 0 UNION ALL SELECT part + 1 FROM parts WHERE part + 1 < :partitions)
    SELECT part,
        (SELECT off FROM log WHERE topic = :topic AND log.part = parts.part ORDER BY off DESC LIMIT 1),
        (SELECT appended_at FROM log WHERE topic = :topic AND log.part = parts.part ORDER BY off DESC LIMIT 1)
    FROM parts ORDER BY part
"""
_RECORDS = """
    SELECT appended_at, value, headers FROM log
    WHERE topic = ? AND part = ? AND off >= ? AND off < ? ORDER BY off
"""
_ROW = "(?, ?, ?, ?, ?, ?, ?)"
_TOGETHER = 50  # rows of one statement: about a fifth quicker than one by one; more gains nothing
_INSERT = f"INSERT INTO log VALUES {_ROW}"
_INSERT_TOGETHER = f"INSERT INTO log VALUES {', '.join([_ROW] * _TOGETHER)}"
_OFFSETS = """
    SELECT off FROM log WHERE topic = ? AND part = ? AND off >= ? AND off < ? ORDER BY off LIMIT ?
"""


class SqliteLog:
    """An `EventLog` in one SQLite file.

    Parameters
    ----------
    path : file, existing or to be created by `create_topics`
    clock : returns the wall clock in ms since 1970 UTC
    busy_seconds : how long to wait for another process's write lock before `LogUnavailable`
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], int] = wall_clock_ms,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.url = f"sqlite:{path}"
        self.row_times = False
        self._path = Path(path)
        self._clock = clock
        self._busy_seconds = busy_seconds

    def preflight(self, topics: Sequence[str]) -> None:
        """Check that the file is an event log that has `topics`."""
        source = SqliteSource(self._path, self._busy_seconds, live=True)
        try:
            missing = [topic for topic in topics if not source.ends(topic)]
        finally:
            source.close()
        if missing:
            raise LogError(f"{self.url} has no topic {', '.join(missing)}: wrong file? Else create the topics first.")

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create the file and the topics that are missing."""
        create_file(self._path)
        connection = connect(self._path, self._busy_seconds, mode="rw")
        try:
            with explained(self._path), write_transaction(connection):
                for topic, count in partitions.items():
                    create_topic(connection, topic, count)
        finally:
            connection.close()

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> PartitionReader:
        """Open a reader at `positions`."""
        return PartitionReader(self.url, SqliteSource(self._path, self._busy_seconds, live=live), positions)

    def merged_reader(self, positions: Mapping[TopicPartition, Position], *, until: int | None = None) -> BlockMerger:
        """Open a finite reader that merges votes and control by append time."""
        source = SqliteSource(self._path, self._busy_seconds, live=False)
        return BlockMerger(self.url, source, positions, until=until, clock=self._clock)

    def writer(self, *, patience_s: float | None = None) -> SqliteWriter:
        """Open a writer; its topics must be there."""
        return SqliteWriter(self._path, self._clock, self._busy_seconds if patience_s is None else patience_s)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Next offset of each partition of `topic`."""
        source = SqliteSource(self._path, self._busy_seconds, live=True)
        try:
            return source.ends(topic)
        finally:
            source.close()

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        """Tell the file's id; nothing of a file from before there were ids, until somebody opens it for writing."""
        connection = connect(self._path, self._busy_seconds, mode="ro")
        try:
            with explained(self._path):
                identity = read_identity(connection)
        finally:
            connection.close()
        return {} if identity is None else dict.fromkeys(partitions, identity)


class _Identity:
    """Notices that the file behind a path was deleted or replaced; SQLite goes on with the old one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = self._look()

    def check(self) -> None:
        """Raise `LogError` unless the path still names the file that was opened."""
        if self._look() != self._inode:
            raise LogError(f"{self._path} was deleted or replaced while it was open; put the log back and start again.")

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


class SqliteSource:
    """A `BlockSource` over one SQLite file; with ``live=False``, over what is in it now."""

    def __init__(self, path: Path, busy_seconds: float, *, live: bool) -> None:
        self._path = path
        self._connection = connect(path, busy_seconds, mode="ro")
        self._identity = _Identity(path)
        self._content_types: dict[str, str | None] = {}
        self._final: dict[str, dict[TopicPartition, int]] | None = None
        self._version = 0
        if not live:
            with explained(path):
                self._connection.execute("BEGIN")  # one state of all topics
                topics = [name for (name,) in self._connection.execute("SELECT name FROM topics")]
                self._final = {topic: self._read_ends(topic) for topic in topics}
                self._connection.execute("COMMIT")

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the next offset of each partition of `topic`; nothing for an unknown topic."""
        if self._final is not None:
            return self._final.get(topic, {})
        with explained(self._path):
            self._version = self._look_version()  # first: an append in between then ends the next wait at once
            ends = self._read_ends(topic)
        self._identity.check()
        return ends

    def read(
        self, source: TopicPartition, start: Position, end: int, limit: int, max_bytes: int, *, by_row: bool
    ) -> Block:
        """Return the records of `source` in ``[start, end)``."""
        del by_row  # every record stands for itself
        times: list[int] = []
        values: list[bytes] = []
        headers: list[str | None] = []
        first, after = start.offset, min(end, start.offset + limit)
        with explained(self._path):
            cursor = self._connection.execute(_RECORDS, (source.topic, source.partition, first, after))
            try:
                while max_bytes > 0 and (rows := cursor.fetchmany(_CHUNK)):
                    chunk_times, chunk_values, chunk_headers = zip(*rows, strict=True)
                    times += chunk_times
                    values += chunk_values
                    headers += chunk_headers
                    max_bytes -= sum(map(len, chunk_values))
            finally:
                cursor.close()  # an open cursor holds an old state and keeps the WAL from being emptied
            at, after = self._read_offsets(source, first, after, len(values), whole=max_bytes > 0)
        types = self._read_content_types(headers)
        return Block(source, at, at + 1, np.array(times, np.int64), values, types, after)

    def complete(self) -> bool:
        """Whether `ends` are final."""
        return self._final is not None

    def wait(self, timeout: float) -> None:
        """Sleep until another connection has committed since `ends` was asked, at most `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with explained(self._path):
            while (left := deadline - time.monotonic()) > 0 and self._look_version() == self._version:
                time.sleep(min(_LOOK_SECONDS, left))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _look_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _read_ends(self, topic: str) -> dict[TopicPartition, int]:
        partitions = _count_partitions(self._connection, topic)
        if partitions is None:
            return {}
        rows = self._connection.execute(_TAILS, {"topic": topic, "partitions": partitions}).fetchall()
        return {TopicPartition(topic, part): 0 if last is None else last + 1 for part, last, _ in rows}

    def _read_offsets(
        self, source: TopicPartition, first: int, after: int, count: int, *, whole: bool
    ) -> tuple[NDArray[np.int64], int]:
        """Return the offsets of the `count` records that were read from `first` on, and where to read on.

        Nearly always there are no holes, and the number of records tells; reading offsets too costs a tenth.
        """
        if whole and count == after - first:
            return np.arange(first, after, dtype=np.int64), after
        rows = self._connection.execute(_OFFSETS, (source.topic, source.partition, first, after, count))
        offsets = np.array([offset for (offset,) in rows], np.int64)
        return offsets, after if whole or not count else int(offsets[-1]) + 1

    def _read_content_types(self, headers: list[str | None]) -> list[str | None] | None:
        if not any(headers):
            return None
        return [self._content_type(text) for text in headers]

    def _content_type(self, headers: str | None) -> str | None:
        if not headers:
            return None
        if headers not in self._content_types:
            if len(self._content_types) >= 1024:
                self._content_types.clear()  # headers that differ record by record
            self._content_types[headers] = _parse_content_type(headers)
        return self._content_types[headers]


class SqliteWriter:
    """A `LogWriter` to one SQLite file; threads may share it."""

    def __init__(self, path: Path, clock: Callable[[], int], busy_seconds: float) -> None:
        self._path = path
        self._clock = clock
        self._connection = connect(path, busy_seconds, mode="rw")
        self._identity = _Identity(path)
        self._lock = threading.Lock()

    def append(self, topic: str, records: Sequence[Record]) -> Appended | None:
        """Append all `records` in one transaction, in order; they are on the disk when this returns."""
        if not records:
            return None
        with self._lock, explained(self._path), write_transaction(self._connection):
            self._identity.check()
            partitions = _count_partitions(self._connection, topic)
            if partitions is None:
                raise LogError(f"{self._path} has no topic {topic}: create it first.")
            rows, appended = self._rows(topic, records, partitions)
            while len(some := list(islice(rows, _TOGETHER))) == _TOGETHER:
                self._connection.execute(_INSERT_TOGETHER, list(chain.from_iterable(some)))
            self._connection.executemany(_INSERT, some)
        return appended

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _rows(
        self, topic: str, records: Sequence[Record], partitions: int
    ) -> tuple[Iterator[tuple[object, ...]], Appended]:
        """Give the rows of `records`, partition by partition: the order of the primary key; and where they lie."""
        tails = self._connection.execute(_TAILS, {"topic": topic, "partitions": partitions}).fetchall()
        nexts = np.array([0 if off is None else off + 1 for _, off, _ in tails], np.int64)
        now = self._clock()
        times = np.array([now if last is None else max(now, last) for _, _, last in tails], np.int64)
        keys = [record.key for record in records]
        parts = partitions_of_keys(keys, partitions, int(nexts.argmin()))
        values = [record.value for record in records]
        headers: Sequence[str | None] | repeat[None] = repeat(None)
        if any(record.headers for record in records):
            headers = [_encode_headers(record.headers) for record in records]
        order = np.arange(len(parts))
        if partitions > 1:
            order = np.argsort(parts, kind="stable")
            parts = parts[order]
            places = order.tolist()
            keys = [keys[place] for place in places]
            values = [values[place] for place in places]
            if not isinstance(headers, repeat):
                headers = [headers[place] for place in places]
        offsets = nexts[parts] + _rank_in_runs(parts)
        columns = (parts.tolist(), offsets.tolist(), times[parts].tolist(), keys, values)
        appended = Appended(np.empty_like(parts), np.empty_like(offsets))
        appended.partitions[order], appended.offsets[order] = parts, offsets
        return zip(repeat(topic), *columns, headers, strict=False), appended


def _rank_in_runs(parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each element within its run of equal ones; `parts` is sorted."""
    return np.arange(len(parts), dtype=np.int64) - np.searchsorted(parts, parts, side="left")


def _count_partitions(connection: sqlite3.Connection, topic: str) -> int | None:
    row = connection.execute("SELECT partitions FROM topics WHERE name = ?", (topic,)).fetchone()
    return None if row is None else int(row[0])


def _encode_headers(headers: Mapping[str, str] | None) -> str | None:
    return json.dumps(dict(headers), sort_keys=True) if headers else None


def _parse_content_type(headers: str) -> str | None:
    """Return the content type in a `headers` column; other programs write there too: it may hold anything."""
    try:
        parsed = json.loads(headers)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    found = next((value for name, value in parsed.items() if name.lower() == CONTENT_TYPE), None)
    return found if isinstance(found, str) else None
