"""The event log: what readers and writers of votes and control events promise, whatever holds the records.

A log has topics, a topic has partitions, a partition has records with ascending offsets (holes are allowed) and an
append time. `pipeline.eventlog` implements this for SQLite and files, and later for Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

VOTES = "votes"
CONTROL = "control"
MATCHUPS = "matchups"

CONTENT_TYPE = "content-type"
ARROW_STREAM = "application/vnd.apache.arrow.stream"

MAX_APPEND_TIME = 253_402_300_799_999
"""The last ms of the year 9999. In files, what is later or before 1970 is no append time: see `eventlog.jsonl`."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Position(NamedTuple):
    """A place in a partition: the next vote to read is vote `index` of the record at `offset`."""

    offset: int
    index: int = 0  # type: ignore[assignment]  # hides tuple.index


class Span(NamedTuple):
    """The stretch ``[start, end)`` of one partition that a batch covers; `start` is the last one's `end`."""

    source: TopicPartition
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Record:
    """One record to append. `key` chooses the partition (equal keys, equal partition); None spreads."""

    value: bytes
    key: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where n records of one append lie, in the order in which they were given: int64 (n,) each."""

    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Records read in one go, possibly from several partitions, in the order in which they are to be processed.

    Attributes
    ----------
    spans : tuple of Span
        What was read, one span a partition; a partition without records may still have a span (holes).
    span_of : int16 (n,)
        Index into `spans` of each record.
    offsets, appended_at : int64 (n,)
        Offset, and append time in ms since 1970 UTC.
    values : list of bytes, length n
    content_types : None (no record has one), or a list of str or None, length n
    """

    spans: tuple[Span, ...]
    span_of: NDArray[np.int16]
    offsets: NDArray[np.int64]
    appended_at: NDArray[np.int64]
    values: list[bytes]
    content_types: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.values)


EMPTY_BATCH = LogBatch((), np.zeros(0, np.int16), np.zeros(0, np.int64), np.zeros(0, np.int64), [])


@dataclass(frozen=True, slots=True)
class Poll:
    """What the source emits: control events first, then votes. Both empty: a *tick*.

    `now` is the wall clock in ms when the poll ended. It is for expiry and freshness only; no verdict uses it.
    """

    now: int
    control: LogBatch = field(default=EMPTY_BATCH)
    votes: LogBatch = field(default=EMPTY_BATCH)


class LogReader(Protocol):
    """Reads some topics of a log from given positions. One reader a process and group of partitions."""

    def poll(self, topic: str, max_records: int, timeout: float) -> LogBatch:
        """Return the next records of all partitions of `topic`, waiting up to `timeout` seconds for the first.

        Empty after the time-out. New partitions are picked up from their beginning.
        Raises `LogUnavailable` (a retry may help) or `LogError` (it does not: a truncated topic, lost offsets).
        """
        ...

    def read_to_end(self, topic: str) -> LogBatch:
        """Return all records of `topic` up to the end that it has at this moment; raises as `poll` does."""
        ...

    def note_committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Take note that the store has committed `positions`, for those who watch the lag. Does not wait or raise."""
        ...

    def at_end(self) -> bool:
        """Whether the log is finite and everything in it has been returned. A live log is never at its end."""
        ...

    def close(self) -> None:
        """Release what is held. Idempotent."""
        ...


class LogWriter(Protocol):
    """Appends to a log. Many writers may append at once, from many processes."""

    def append(self, topic: str, records: Sequence[Record]) -> Appended | None:
        """Append all `records`, in order; durable when this returns. Raises `LogUnavailable` or `LogError`.

        Returns where they lie, where the log says so.
        """
        ...

    def close(self) -> None:
        """Flush and release. Idempotent."""
        ...


class EventLog(Protocol):
    """One event log, named by a URL."""

    url: str
    row_times: bool
    """Whether rows of an envelope carry their own append times, and envelopes have any size: logs made of files."""

    def preflight(self, topics: Sequence[str]) -> None:
        """Check within seconds that the log can be read and has `topics`; raise `LogError` that says what to do."""
        ...

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create the topics that are missing with that many partitions; existing ones are left as they are."""
        ...

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> LogReader:
        """Open a reader at `positions`; partitions without one start at their beginning.

        ``live=False`` reads what is there now and then is at its end.
        """
        ...

    def merged_reader(self, positions: Mapping[TopicPartition, Position], *, until: int | None = None) -> MergedReader:
        """Open a finite reader that merges votes and control by append time (raw replay).

        Records whose own append time is after `until` (ms) are passed over.
        """
        ...

    def writer(self, *, patience_s: float | None = None) -> LogWriter:
        """Open a writer whose appends wait up to `patience_s` seconds (None: as long as suits the log) if need be.

        After that they raise `LogUnavailable`.
        """
        ...

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Next offset of each partition of `topic`: the lag's upper end."""
        ...

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        """Tell of `partitions`, from which something was read, which ones they are.

        Another text once a partition was made anew, or its number names another file. Left out: unknown.
        Raises as `LogReader.poll` does.
        """
        ...


class MergedReader(Protocol):
    """Reads a finite log in the one order that does not depend on how it was spread over partitions.

    The order is (append time, control before votes, topic, partition, offset), in which the running maximum of a
    partition stands for the append time. Batches state each record's own append time, as those of a `LogReader` do.
    """

    def polls(self, max_records: int) -> Iterator[Poll]:
        """Iterate over polls in merged order; a control event is in the first poll whose votes come after it."""
        ...

    def close(self) -> None:
        """Release what is held. Idempotent."""
        ...


class LogError(Exception):
    """The log cannot be used as asked. Says what was wrong, where, and what to do; a retry does not help."""

    retriable = False


class LogUnavailable(LogError):  # noqa: N818 - the standard word for it
    """The log is out of reach for now; a retry may help."""

    retriable = True
