"""Votes as JSON lines on standard input and output: ``-``."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping, Sequence

from pipeline.contracts.log import VOTES, LogError, Position, Record, TopicPartition
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.blocks import START, Block, empty_block, wall_clock_ms
from pipeline.eventlog.file_writer import encode_line
from pipeline.eventlog.jsonl import make_line, split_lines
from pipeline.eventlog.merge import BlockMerger
from pipeline.eventlog.reader import PartitionReader

_ONLY = TopicPartition(VOTES, 0)
_READ_BYTES = 1 << 20
_MOST_BUFFERED = 16 << 20
_LONG_LINE = MAX_RECORD_BYTES + 2  # a line that long is too large, with or without a \\r at its end


class StdioLog:
    """An `EventLog` on standard input and output, or on other file descriptors.

    It can be read once. It ends where the input ends, live or not. A position says how many bytes to skip, so
    that a stream given again from its beginning is taken up where it was left.
    """

    url = "-"
    row_times = True

    def __init__(
        self,
        *,
        stdin: int = 0,
        stdout: int = 1,
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._clock = clock

    def preflight(self, topics: Sequence[str]) -> None:
        """Nothing can be known of a stream before it is read."""

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Nothing to create."""

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> PartitionReader:
        """Open the reader; `live` makes no difference."""
        del live
        return PartitionReader(self.url, StreamSource(self._stdin, positions.get(_ONLY, START).offset), positions)

    def merged_reader(self, positions: Mapping[TopicPartition, Position], *, until: int | None = None) -> BlockMerger:
        """Open the reader for replay."""
        source = StreamSource(self._stdin, positions.get(_ONLY, START).offset)
        return BlockMerger(self.url, source, positions, until=until, clock=self._clock)

    def writer(self, *, patience_s: float | None = None) -> StreamWriter:  # noqa: ARG002 - the protocol's
        """Open the writer."""
        return StreamWriter(self._stdout)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Nobody knows."""
        del topic
        return {}

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        """Nobody knows."""
        del partitions
        return {}


class StreamSource:
    """A `BlockSource` over a file descriptor that is read once, forwards; `skip` bytes are passed over.

    The buffer starts with the first byte that was not handed out. Of a line longer than any vote only the
    head is kept; `_dropped` counts what is missing before the buffer's first line break.
    """

    def __init__(self, fd: int, skip: int) -> None:
        self._fd = fd
        self._base = 0
        self._buffer = b""
        self._dropped = 0
        self._skip = skip
        self._ended = False

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the end of what has come so far; before that the place where reading starts."""
        if topic != VOTES:
            return {}
        self._pull()
        there = self._base + len(self._buffer) + self._dropped
        return {_ONLY: there if self._ended else max(there, self._skip)}

    def read(
        self, source: TopicPartition, start: Position, end: int, limit: int, max_bytes: int, *, by_row: bool
    ) -> Block:
        """Hand out the lines that have come."""
        del end, max_bytes, by_row
        if self._base < start.offset:
            return empty_block(source, start.offset)
        if self._dropped:
            return self._read_long_line(source)
        block = split_lines(source, self._buffer, self._base, limit, last=self._ended)
        self._buffer = self._buffer[block.end - self._base :]
        self._base = block.end
        return block

    def complete(self) -> bool:
        """Whether the input has ended."""
        return self._ended

    def wait(self, timeout: float) -> None:
        """Wait for input."""
        if not self._ended:
            select.select([self._fd], [], [], timeout)

    def close(self) -> None:
        """The descriptor belongs to the process."""

    def _read_long_line(self, source: TopicPartition) -> Block:
        line, broken, rest = self._buffer.partition(b"\n")
        if not broken and not self._ended:
            return empty_block(source, self._base)
        offset = self._base
        self._base += len(line) + self._dropped + len(broken)
        self._buffer, self._dropped = rest, 0
        return make_line(source, offset, self._base, line)

    def _pull(self) -> None:
        """Take what is there, without waiting, up to a limit."""
        came = [self._buffer]
        size = len(self._buffer)
        while not self._ended and size < _MOST_BUFFERED and select.select([self._fd], [], [], 0)[0]:
            data = os.read(self._fd, _READ_BYTES)
            self._ended = not data
            came.append(data)
            size += len(data)
        self._buffer = b"".join(came)
        passed = min(self._skip - self._base, len(self._buffer))
        if passed > 0:
            self._buffer = self._buffer[passed:]
            self._base += passed
        if size > _LONG_LINE:
            head, broken, rest = self._buffer.partition(b"\n")
            if len(head) > _LONG_LINE:
                self._dropped += len(head) - _LONG_LINE
                self._buffer = head[:_LONG_LINE] + broken + rest


class StreamWriter:
    """A `LogWriter` of votes to a file descriptor. What reads it has to keep it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def append(self, topic: str, records: Sequence[Record]) -> None:
        """Write the records as lines."""
        if topic != VOTES:
            raise LogError(f"standard output takes {VOTES}, not {topic}.")
        view = memoryview(b"".join([encode_line(record, "standard output") for record in records]))
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise LogError(f"standard output cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """The descriptor belongs to the process."""
