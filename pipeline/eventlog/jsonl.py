r"""JSON lines: records, their byte offsets and their append times.

A record is a line: what lies between two ``\n``, of any bytes, less one ``\r`` at its end. Its offset is that
of its first byte; the next position is the byte after its ``\n``. Empty lines are holes, not records. A line
over `MAX_RECORD_BYTES` is cut to one byte more than that: it is `too_large` all the same, and a file without
a single line break must not fill the memory.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.log import MAX_APPEND_TIME, LogError, Position, TopicPartition
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.blocks import Block, empty_block

_LEAST_READ = 64 << 10
_GUESSED_LINE = 512  # bytes; a wrong guess costs another read, not a record
_CUT = MAX_RECORD_BYTES + 1


class _Times(msgspec.Struct):
    """The two fields of a record that say when the log took it; of any type: the record may be faulty."""

    appended_at: Any = None
    time: Any = None


_decode_times = msgspec.json.Decoder(_Times).decode


def read_append_times(values: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the append time of each record in ms: its field `appended_at`, else its `time`, else 0.

    A field that is no integer from 0 to `MAX_APPEND_TIME` counts as absent: anybody may write a file, and a wrong
    time must not become the log's. A vote whose own `time` is such a one is `bad_time` then.
    A parser, not a search for bytes: texts and nested objects may hold the same words.
    """
    return np.fromiter(map(_append_time, values), np.int64, len(values))


def _append_time(value: bytes) -> int:
    try:
        times = _decode_times(value)
    except (ValueError, RecursionError):  # no JSON object; the decoder downstream says why
        return 0
    for field in (times.appended_at, times.time):
        if type(field) is int and 0 <= field <= MAX_APPEND_TIME:
            return field
    return 0


def split_lines(source: TopicPartition, data: bytes, base: int, limit: int, *, last: bool) -> Block:
    """Return the first `limit` lines of `data`, which starts at byte `base`.

    With `last`, what follows the last line break is a line too; without it, it is left for later.
    """
    lines = data.split(b"\n", limit)
    rest = lines.pop()
    lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    nexts = base + np.cumsum(lengths + 1)
    offsets = nexts - lengths - 1
    if last and rest and len(lines) < limit:
        lines.append(rest)
        lengths = np.append(lengths, len(rest))
        offsets = np.append(offsets, base + len(data) - len(rest))
        nexts = np.append(nexts, base + len(data))
    if not lines:
        return empty_block(source, base)
    if b"\r" in data:
        lines = [line.removesuffix(b"\r") for line in lines]
        lengths = np.fromiter(map(len, lines), np.int64, len(lines))
    end = int(nexts[-1])
    if not lengths.all():
        kept = lengths > 0
        offsets, nexts = offsets[kept], nexts[kept]
        lines = [line for line in lines if line]
    if lengths.max() > MAX_RECORD_BYTES:
        lines = [line[:_CUT] for line in lines]
    return Block(source, offsets, nexts, read_append_times(lines), lines, None, end)


def read_lines(
    source: TopicPartition, fd: int, start: Position, end: int, limit: int, max_bytes: int, *, last: bool
) -> Block:
    """Return up to `limit` lines of the open file `fd` between byte `start` and byte `end`.

    `last` says that nothing will come after `end`: a line that lacks its line break there is complete.
    """
    wanted = max(_LEAST_READ, min(max_bytes, limit * _GUESSED_LINE))
    data = _read_bytes(fd, min(wanted, end - start.offset), start.offset)
    at_end = start.offset + len(data) >= end
    if at_end or b"\n" in data:
        return split_lines(source, data, start.offset, limit, last=last and at_end)
    return _read_long_line(source, fd, start.offset, data, end, last=last)


def _read_long_line(source: TopicPartition, fd: int, offset: int, head: bytes, end: int, *, last: bool) -> Block:
    """Read one line that is longer than `head`, keeping no more of it than tells that it is too large."""
    kept = bytearray(head[: _CUT + 1])
    at = offset + len(head)
    while at < end:
        data = _read_bytes(fd, min(MAX_RECORD_BYTES, end - at), at)
        found = data.find(b"\n")
        kept += data[: found if found >= 0 else len(data)][: _CUT + 1 - len(kept)]
        if found >= 0:
            return make_line(source, offset, at + found + 1, bytes(kept))
        at += len(data)
    return make_line(source, offset, at, bytes(kept)) if last else empty_block(source, offset)


def _read_bytes(fd: int, count: int, at: int) -> bytes:
    data = os.pread(fd, count, at)
    if not data and count:
        raise LogError(f"byte {at} is no longer there: the file was cut short while it was read; start again.")
    return data


def make_line(source: TopicPartition, offset: int, after: int, line: bytes) -> Block:
    """Return a block of one line; `line` may lack what lies beyond the limit."""
    values = [line.removesuffix(b"\r")[:_CUT]]
    return Block(
        source,
        np.array([offset], np.int64),
        np.array([after], np.int64),
        read_append_times(values),
        values,
        None,
        after,
    )
