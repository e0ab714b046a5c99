"""Appends votes and control events to files: JSON lines, and Parquet."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import asdict

from pipeline.contracts.log import CONTENT_TYPE, VOTES, LogError, LogUnavailable, Record
from pipeline.contracts.vote import VOTE_SCHEMA, Vote
from pipeline.eventlog.blocks import sync_folder
from pipeline.eventlog.parquet_file import APPENDED_AT, SLICE_ROWS
from pipeline.eventlog.partitioner import partitions_of_keys

_COLUMNS = VOTE_SCHEMA.append(pa.field(APPENDED_AT, pa.int64()))


class _FileVote(Vote, frozen=True, kw_only=True):
    """A vote with the time at which a log took it."""

    appended_at: int | None = None


_decode_vote = msgspec.json.Decoder(_FileVote).decode


def encode_line(record: Record, where: str) -> bytes:
    """Return the record as one line; raise `LogError` if it cannot be one.

    Line breaks in a JSON object are white space and become blanks; JSON allows them nowhere else.
    """
    value = record.value
    if any(name.lower() == CONTENT_TYPE and "json" not in kind for name, kind in (record.headers or {}).items()):
        raise LogError(f"{where}: a record with headers {dict(record.headers or {})} does not fit into JSON lines.")
    if b"\n" in value:
        try:
            msgspec.json.decode(value)
        except (ValueError, RecursionError) as error:
            raise LogError(
                f"{where}: a record with a line break that is no JSON does not fit into JSON lines."
            ) from error
        value = value.replace(b"\n", b" ")
    if value in {b"", b"\r"}:
        raise LogError(f"{where}: an empty record does not fit into JSON lines.")
    return value + b"\n"


class JsonLinesWriter:
    """A `LogWriter` to JSON-lines files, one a partition; several processes may append to the same ones.

    Parameters
    ----------
    url : for messages
    paths_of_topic : the files of a topic, in the order of partitions; none if it cannot be held there
    """

    def __init__(self, url: str, paths_of_topic: Callable[[str], Sequence[Path]]) -> None:
        self._url = url
        self._paths_of_topic = paths_of_topic
        self._turn = 0

    def append(self, topic: str, records: Sequence[Record]) -> None:
        """Append all `records`, durably. Each partition gets all of its records or none."""
        if not records:
            return
        paths = self._paths_of_topic(topic)
        if not paths:
            raise LogError(f"{self._url} has no file for topic {topic}: use a folder or sqlite:PATH.")
        lines = [encode_line(record, self._url) for record in records]
        spare = self._turn % len(paths)
        self._turn += 1
        parts = partitions_of_keys([record.key for record in records], len(paths), spare).tolist()
        for number, path in enumerate(paths):
            data = b"".join(line for line, part in zip(lines, parts, strict=True) if part == number)
            if data:
                _append_bytes(path, data)

    def close(self) -> None:
        """Nothing is held between appends."""


def _append_bytes(path: Path, data: bytes) -> None:
    """Append `data` and fsync; take back what was written of it if that fails."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise LogError(f"{path} cannot be opened for appending: {error.strerror}.") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # someone's last line lacks its line break: ours must not join it
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
            if not size:
                sync_folder(path.parent)
        except OSError as error:
            os.ftruncate(fd, size)
            raise LogUnavailable(f"{path}: {error.strerror}; nothing was appended.") from error
    finally:
        os.close(fd)


class ParquetWriter:
    """A `LogWriter` that makes one Parquet file of votes; it is there, and durable, when this is closed."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise LogError(f"{path} exists, and Parquet files cannot be appended to: name a new one.")
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._rows: list[_FileVote] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: pq.ParquetWriter | None = pq.ParquetWriter(self._partial, _COLUMNS, compression="zstd")
        except OSError as error:
            raise LogError(f"{path} cannot be written: {error}") from error

    def append(self, topic: str, records: Sequence[Record]) -> None:
        """Add votes in JSON; raises `LogError` for what is not a vote by its types."""
        if topic != VOTES:
            raise LogError(f"{self._path}: a Parquet file holds votes, not {topic}.")
        try:
            votes = [_decode_vote(record.value) for record in records]
        except (ValueError, RecursionError) as error:
            raise LogError(f"{self._path}: a record is no vote ({error}); JSON lines take anything.") from error
        self._rows += votes
        if len(self._rows) >= SLICE_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and give the file its name."""
        if self._file is None:
            return
        self._flush()
        self._file.close()
        self._file = None
        with self._partial.open("rb") as partial:
            os.fsync(partial.fileno())
        self._partial.rename(self._path)
        sync_folder(self._path.parent)

    def _flush(self) -> None:
        if not self._rows or self._file is None:
            return
        try:
            self._file.write_table(pa.Table.from_pylist(list(map(asdict, self._rows)), schema=_COLUMNS))
        except (pa.ArrowException, TypeError, OverflowError, OSError) as error:
            raise LogError(f"{self._path}: a vote does not fit into the columns ({error}).") from error
        self._rows.clear()
